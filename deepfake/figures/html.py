"""A page that opens anywhere: one HTML file without scripts and without anything to load."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from deepfake.atomic import write_atomically
from deepfake.errors import InputError

Pictures = Mapping[str, tuple[Callable[[], Figure], str]]


def page(title: str, headline: str, *sections: str) -> str:
    """The whole document; the title and the headline are text, the sections HTML."""
    body = f"<h1>{escape(title)}</h1>\n<p class=headline>{escape(headline)}</p>\n" + "\n".join(filter(None, sections))
    head = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{VIEWPORT}\n<title>{escape(title)}</title>'
    )
    return f"{head}\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"


def heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>\n"


def paragraph(text: str, *, note: bool = False) -> str:
    return f"<p{' class=note' if note else ''}>{escape(text)}</p>\n"


def html_table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, left: Sequence[int] = (0,)) -> str:
    """A table of texts; the first cell of a row names it.

    Args:
        headings: Of the columns; empty for none.
        rows: As many cells each.
        left: The columns that hold words, the others hold numbers.
    """

    def cell(tag: str, scope: str, column: int, value: Any) -> str:
        return f"<{tag}{scope}{'' if column in left else ' class=n'}>{escape(str(value))}</{tag}>"

    top = "".join(cell("th", " scope=col", i, h) for i, h in enumerate(headings))
    lines = [f"<tr>{top}</tr>\n"] if top else []
    for row in rows:
        first, *others = row
        cells = "".join(cell("td", "", i, value) for i, value in enumerate(others, start=1))
        lines.append(f"<tr><th scope=row>{escape(str(first))}</th>{cells}</tr>\n")
    explained = " class=explained" if max(left) > 1 else ""  # words after numbers: below them on a phone
    return f"<div class=wide><table{explained}>\n{''.join(lines)}</table></div>\n" if lines else ""


def pictures(folder: Path, drawn: Pictures) -> dict[str, str]:
    """Draw figures into a folder as PNG and SVG, and give the HTML that holds each PNG.

    A figure that the data does not allow is left out; one of an earlier report is then removed.

    Args:
        folder: Where `<name>.png` and `<name>.svg` go.
        drawn: By name, how it is drawn (raises InputError where the data does not allow it) and what stands below it.
    """
    html = {}
    for name, (draw, caption) in drawn.items():
        stem = re.sub(r"[^\w-]", "_", name)  # a column of somebody's file may be named as a path is
        files = {suffix: folder / f"{stem}.{suffix}" for suffix in ("png", "svg")}
        try:
            figure = draw()
        except InputError:
            for path in files.values():
                path.unlink(missing_ok=True)
            continue
        content = {"png": saved(figure, "png")}
        figure.set_layout_engine("none")  # it has found its layout
        content["svg"] = saved(figure, "svg")
        for suffix, path in files.items():
            write_atomically(path, content[suffix])
        data = base64.b64encode(content["png"]).decode()
        html[name] = (
            f'<figure><img alt="{escape(name.replace("_", " "))}" src="data:image/png;base64,{data}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>\n"
        )
    return html


def saved(figure: Figure, form: str) -> bytes:
    """The bytes of a figure as `png` or `svg`, the same for the same figure."""
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": "deepfake", "svg.fonttype": "none"}):  # the same data gives the same file
        figure.savefig(file, format=form, metadata={"Software": None} if form == "png" else {"Date": None})
    return file.getvalue()


VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'
STYLE = """
body {
  font: 1rem/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 60rem; margin: 0 auto; padding: 1rem;
}
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ccc; }
.headline { font-size: 2.2rem; line-height: 1.2; font-weight: 700; color: #0072b2; margin: .5rem 0; }
.note { border-left: 4px solid #e69f00; background: #fff8e8; padding: .4rem .8rem; margin: .5rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #eee; }
th { font-weight: 600; }
td { overflow-wrap: anywhere; }
.n { font-variant-numeric: tabular-nums; white-space: nowrap; text-align: right; }
figure {
  display: inline-block; vertical-align: top; width: 100%; max-width: 29rem; margin: .5rem 0; break-inside: avoid;
}
img { width: 100%; height: auto; }
figcaption { font-size: .85rem; color: #555; }
@media (max-width: 40rem) {
  .explained tr { display: grid; grid-template-columns: 1fr auto auto; column-gap: .8rem; }
  .explained tr { border-bottom: 1px solid #eee; }
  .explained th, .explained td { border: 0; padding-right: 0; }
  .explained td:last-child { grid-column: 1 / -1; padding-top: 0; color: #555; }
}
@media print {
  html { font-size: 11px; }
  body { max-width: none; padding: 0; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  h2 { break-after: avoid; }
  tr { break-inside: avoid; }
  figure { width: 48%; }
}
"""
