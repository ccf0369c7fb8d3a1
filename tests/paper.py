"""Pages of a PDF report read back, for the tests."""

from __future__ import annotations

import io

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure

from deepfake.figures.a4 import BOTTOM, HEIGHT, MARGIN, WIDTH

RENDERER = RendererAgg(round(10 * WIDTH), round(10 * HEIGHT), 720)


def texts(figure):
    """Every text of a page with its box in points, y from the bottom."""
    figure.set_dpi(720)
    boxes = [(text.get_text(), text.get_window_extent(RENDERER), text.get_gid()) for text in figure.texts]
    return [(text, box.x0 / 10, box.x1 / 10, box.y0 / 10, box.y1 / 10, gid) for text, box, gid in boxes]


def within_and_apart(document):
    """That no text of any page leaves the margins or touches another one."""
    for figure in document.figures:
        found = [text for text in texts(figure) if text[0].strip()]
        for text, left, right, bottom, top, gid in found:
            assert left >= MARGIN - 1 and right <= WIDTH - MARGIN + 1, text
            assert top <= HEIGHT - MARGIN + 4 and bottom >= (25 if gid == "foot" else BOTTOM - 8), text
        for i, a in enumerate(found):
            for b in found[:i]:
                across = min(a[2], b[2]) - max(a[1], b[1])
                along = min(a[4], b[4]) - max(a[3], b[3])
                assert across <= 0.5 or along <= 0.5, (a[0], b[0])
    return document


def said(document):
    return [[text for text, *_, gid in texts(figure) if gid != "foot"] for figure in document.figures]


def picture(width, height):
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    figure.patch.set_facecolor("#123456")
    file = io.BytesIO()
    figure.savefig(file)
    return file.getvalue()
