"""How the page looks: what Streamlit lacks for pictures, tables and contrast, in light and dark and on a phone."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st

# Text of Streamlit's own that has less than 4.5:1 is given the colour of the page's text. A picture keeps its white
# ground and a width at which its labels can be read: on a phone it scrolls sideways.
STYLE = """<style>
[data-testid="stMainBlockContainer"] {padding-top: 3rem} h1 {font-size: 2rem !important}
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] *,
[data-testid="stFileUploaderDropzoneInstructions"] *, [data-testid="stFileUploaderFile"] *,
[data-testid="stAudioInputWaveformTimeCode"] {color: inherit !important; opacity: 1 !important}
.verdict {color: #fff; border-radius: .5rem; padding: .9rem 1.1rem; margin-bottom: .3rem}
.verdict b {font-size: 1.6rem; line-height: 1.25; display: block}
.verdict span {font-size: 1rem}
.facts {display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .6rem 1.2rem}
.facts, .facts dd {margin: 0 !important; padding: 0 !important; overflow-wrap: anywhere} .facts dt {font-weight: 600}
.wide {overflow-x: auto; border-radius: .3rem}
.picture {margin: 0} .picture img {background: #fff; width: 100%; min-width: 38rem; display: block}
.picture figcaption {font-size: .9rem; margin-top: .2rem}
.rows {border-collapse: collapse; font-size: .9rem; width: 100%}
.rows th, .rows td {text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #8888;
  overflow-wrap: anywhere}
.rows th:empty {width: 1.5rem}
.rows tr.marked {font-weight: 700}
</style>"""


def apply() -> None:
    """Put the style on the page."""
    st.html(STYLE)


def plain(text: str) -> str:
    """Text of others, for Markdown: nothing in it is markup."""
    return re.sub(r"([\\`*_{}\[\]<>()#+\-.!|$:~^&])", r"\\\1", " ".join(text.split()))


def banner(title: str, below: str, colour: str) -> None:
    """A verdict: white on a colour that allows 4.5:1, and never told by the colour alone."""
    st.html(
        f'<div class="verdict" role="status" style="background:{colour}"><b>{escape(title)}</b>'
        f"<span>{escape(below)}</span></div>"
    )


def facts(rows: Mapping[str, str]) -> None:
    """Names and values, in as many columns as there is room for."""
    st.html(f'<dl class="facts">{"".join(map(_fact, rows.items()))}</dl>')


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]], *, marked: int | None = None) -> None:
    """A small table that is read at once; `marked` is the row that is set in bold and pointed at."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = ""
    for i, row in enumerate(rows):
        cells = "".join(f"<td>{escape(str(cell))}</td>" for cell in row)
        body += f"<tr{' class=marked' if i == marked else ''}>{cells}</tr>"
    st.html(f'<div class="wide" tabindex="0"><table class="rows"><tr>{head}</tr>{body}</table></div>')


def picture(png: bytes, words: str) -> None:
    """A figure, with what it shows in words."""
    data, words = base64.b64encode(png).decode(), escape(words)
    image = f'<img src="data:image/png;base64,{data}" alt="{words}">'
    st.html(
        f'<figure class="picture"><div class="wide" tabindex="0">{image}</div><figcaption>{words}</figcaption></figure>'
    )


def _fact(row: tuple[str, str]) -> str:
    name, value = row
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
