"""A page that opens anywhere: one HTML file without scripts and without anything to load."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from deepfake.atomic import write_atomically
from deepfake.errors import InputError

TEMPLATES = Environment(  # each beside the module that fills it; they extend `figures/page.html`
    loader=PackageLoader("deepfake", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_page(
    path: Path, template: str | Template, *, title: str, provenance: Mapping[str, Any], **facts: Any
) -> None:
    """Write an HTML page; all that is not in the template is text, never markup.

    Args:
        path: Of the file.
        template: By its path in the package, such as `audit/report.html`, or one that `TEMPLATES` made.
        title: Of the page.
        provenance: The table at its end: what was measured with what; printed as it stands.
        facts: What else the template names; it names nothing that is not given.
    """
    write_atomically(path, TEMPLATES.get_template(template).render(title=title, provenance=provenance, **facts))


def pictures(folder: Path, figures: Mapping[str, Callable[[], Figure]]) -> dict[str, str]:
    """Draw figures into a folder as PNG and SVG, and give each PNG in base64, for `figure` of `parts.html`.

    A figure that the data does not allow is left out; one of an earlier report is then removed.

    Args:
        folder: Where `<name>.png` and `<name>.svg` go.
        figures: By name, how it is drawn (raises InputError where the data does not allow it).
    """
    drawn = {}
    for name, draw in figures.items():
        stem = re.sub(r"[^\w-]", "_", name)  # a column of somebody's file may be named as a path is
        files = {suffix: folder / f"{stem}.{suffix}" for suffix in ("png", "svg")}
        try:
            figure = draw()
        except InputError:
            for path in files.values():
                path.unlink(missing_ok=True)
            continue
        content = {suffix: saved(figure, suffix) for suffix in files}
        for suffix, path in files.items():
            write_atomically(path, content[suffix])
        drawn[name] = base64.b64encode(content["png"]).decode()
    return drawn


def saved(figure: Figure, form: str) -> bytes:
    """The bytes of a figure as `png` or `svg`, the same for the same figure."""
    if (layout := figure.get_layout_engine()) is not None:
        layout.execute(figure)
        figure.set_layout_engine(None)  # found once for all its files, without drawing to find it
    file = io.BytesIO()
    if form == "png":
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(file, "png", compress_level=3)
        return file.getvalue()
    with rc_context({"svg.hashsalt": "deepfake", "svg.fonttype": "none"}):  # the same data gives the same file
        figure.savefig(file, format=form, metadata={"Date": None})
    return file.getvalue()
