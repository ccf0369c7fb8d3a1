"""PDF reports read back, for the tests."""

from __future__ import annotations

import io
import re

from matplotlib.figure import Figure
from pypdf import PdfReader


def pages(data):
    """The text of each page, without its line ends."""
    return [" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(data)).pages]


def sizes(data):
    """For each page the sizes in pixels of its pictures."""
    return [[image.image.size for image in page.images] for page in PdfReader(io.BytesIO(data)).pages]


def places(data):
    """For each page where its pieces of text begin: left edge and baseline in points, from the lower left corner."""
    found = []
    for page in PdfReader(io.BytesIO(data)).pages:
        found.append([])

        def visit(text, cm, tm, font, size, here=found[-1]):
            if text.strip():
                here.append((text.strip(), cm[0] * tm[4] + cm[4], cm[3] * tm[5] + cm[5]))

        page.extract_text(visitor_text=visit)
    return found


def drawn(data):
    """Width and height in points of the picture on the first page that has one."""
    for page in PdfReader(io.BytesIO(data)).pages:
        if found := re.search(rb"([\d.]+) 0 0 ([\d.]+) [\d.]+ [\d.]+ cm /I\d+ Do", page.get_contents().get_data()):
            return float(found[1]), float(found[2])


def picture(width, height):
    """A PNG file of one colour, in memory."""
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    figure.patch.set_facecolor("#123456")
    file = io.BytesIO()
    figure.savefig(file)
    return file
