"""Text, tables and pictures on the A4 pages of a PDF file, with embedded fonts, so that its text can be searched."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, cast

import matplotlib
from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.enums import MethodReturnValue, XPos, YPos
from fpdf.fonts import FontFace
from matplotlib.font_manager import fontManager
from PIL import Image

from deepfake.errors import InputError

logging.getLogger("fontTools").setLevel(logging.ERROR)  # it lists the glyphs it embeds and the tables it drops
MARGIN, BOTTOM = 50.0, 58.0  # points, as all lengths here
LEADING = 1.38  # height of a line by the size of its font
ROW_LINES = 40  # of a table's row that are kept together; longer rows go on in the next one
SANS, MONO = "sans", "mono"
FONTS = {(SANS, ""): "DejaVuSans", (SANS, "B"): "DejaVuSans-Bold", (MONO, ""): "DejaVuSansMono"}  # of matplotlib
LINUX = ("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "IPAexGothic", "IPAGothic")
WINDOWS = ("Arial Unicode MS", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic")
NOTO = ("NanumGothic", "Noto Sans Devanagari", "Noto Sans Thai")
OTHER_SCRIPTS = (*LINUX, *WINDOWS, *NOTO)  # fonts of CJK and much else, for what DejaVu Sans has no glyphs for
INK, QUIET, RULE, BAND = "#222222", "#555555", "#cccccc", "#eef3f8"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
N_PAGES = "\0nb"  # stands for the number of pages; `drawable` lets no text contain it


@lru_cache
def fallbacks() -> dict[str, str]:
    """Files of the fonts for other scripts that are installed and can be embedded (TrueType outlines), by name."""
    files = {font.name: font.fname for font in fontManager.ttflist if font.name in OTHER_SCRIPTS}
    return {name: files[name] for name in OTHER_SCRIPTS if name in files and _has_outlines(files[name])}


def _has_outlines(file: str) -> bool:
    with TTFont(file, fontNumber=0) as font:
        return "glyf" in font


def own_font(name: str) -> Path:
    """File of a font that comes with matplotlib."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"


@lru_cache
def _glyphs() -> frozenset[int]:
    """Code points that can be drawn."""
    normal, bold = (_covered(str(own_font(FONTS[SANS, style]))) for style in ("", "B"))
    return (normal & bold).union(*map(_covered, fallbacks().values()))


def _covered(file: str) -> frozenset[int]:
    with TTFont(file, fontNumber=0) as font:
        return frozenset(font.getBestCmap() or {})


def drawable(text: str) -> str:
    """Text with each character that cannot be drawn, or that hides itself or others, as its code: `[U+202E]`.

    No two texts look the same, whatever fonts there are, but for what the order of right-to-left letters hides.
    """
    glyphs = _glyphs()
    return "".join(c if c.isprintable() and ord(c) in glyphs else f"[U+{ord(c):04X}]" for c in text)


class Pages(FPDF):
    """A document that grows downwards, page by page; the same bytes for the same contents. A context manager.

    Args:
        foot: Stands at the foot of each page, beside the page's number.
    """

    def __init__(self, *, foot: str) -> None:
        super().__init__(unit="pt", format="A4")
        self.foot = drawable(foot)
        self.set_margin(MARGIN)
        self.set_auto_page_break(True, BOTTOM)
        self.set_creation_date(EPOCH)
        self.alias_nb_pages(N_PAGES)
        for (family, style), name in FONTS.items():
            self.add_font(family, style, own_font(name))
        if find_spec("uharfbuzz"):  # otherwise letters of right-to-left scripts stand unjoined, from left to right
            self.set_text_shaping(direction="ltr")
        else:
            self._add_fallbacks()  # which the library asks for character by character only where it shapes text
        self.add_page()

    def get_fallback_font(self, char: str, style: str = "") -> str | None:
        """Called by the library for a character that the font at hand has no glyph for.

        Only then are the fonts for other scripts read, which takes longer than all else of a short document.
        """
        if not self._fallback_font_ids:
            self._add_fallbacks()
        return super().get_fallback_font(char, style)

    def _add_fallbacks(self) -> None:
        for name, file in fallbacks().items():
            self.add_font(name, "", file)
        self.set_fallback_fonts(list(fallbacks()), exact_match=False)

    def file_id(self) -> Any:
        """None, which would hold the time."""
        return None

    def footer(self) -> None:
        """Called by the library at the end of each page."""
        self._pen(7.0, QUIET)
        room = self.epw - 90
        text, half = self.foot, len(self.foot) // 2
        while (wide := self.get_string_width(text)) > room:  # the start and the end of a long one stay
            half = min(half - 1, int(half * room / wide))
            text = f"{self.foot[:half]}…{self.foot[-half:]}"
        self.set_xy(MARGIN, -36)
        self.cell(room, 10, text)
        self.cell(90, 10, f"page {self.page_no()} of {N_PAGES}", align="R")

    def heading(self, text: str, *, size: float = 12.0, keep: float = 60.0) -> None:
        """A heading, never the last thing on a page: `keep` points after it are on the same."""
        self._room(size * LEADING + keep)
        if self.y > MARGIN:
            self.ln(0.9 * size)
        self._pen(size, INK, "B")
        self._flow(text, size)
        self.ln(3)

    def paragraph(self, text: str, *, size: float = 9.5, colour: str = INK, bullet: str = "") -> None:
        """Text over the whole width, or beside a bullet; it may go on on the next page."""
        self._pen(size, colour)
        if bullet:
            self._room(size * LEADING)
            self.cell(1.4 * size, size * LEADING, bullet)
        self.set_left_margin(self.x)
        self._flow(text, size)
        self.set_left_margin(MARGIN)
        self.ln(0.35 * size)

    def banner(self, words: str, below: Sequence[str], *, colour: str) -> None:
        """Large white words, and lines below them, on a field of colour."""
        self.set_fill_color(colour)
        for size, style, text in ((20.0, "B", words), *((10.0, "", line) for line in below)):
            self._pen(size, "#ffffff", style)
            self._flow(text, size, fill=True, padding=(2, 14))
        self.ln(8)

    def columns(
        self,
        rows: Iterable[Sequence[str]],
        widths: Sequence[float],
        *,
        header: Sequence[str] = (),
        marked: int | None = None,
        mono: bool = False,
        size: float = 8.5,
    ) -> None:
        """A table; the header comes again on a new page.

        Args:
            rows: Texts, one for each column.
            widths: Of the columns, in parts of the whole.
            header: Of the columns.
            marked: Row on a field of colour, with an arrow before it.
            mono: Set all but the first column in letters of one width.
            size: Of the letters, in points.
        """
        self._pen(size, INK)
        self.set_draw_color(RULE)
        self.set_fill_color("#ffffff")
        band = FontFace(emphasis="BOLD", fill_color=BAND)
        style = {"borders_layout": "HORIZONTAL_LINES", "line_height": size * LEADING, "padding": (1.5, 4)}
        style |= {"first_row_as_headings": bool(header), "text_align": "LEFT"}
        with self.table(col_widths=tuple(widths), **style) as table:
            if header:
                table.row([drawable(cell) for cell in header])
            for at, row in enumerate(rows):
                cells = [f"{'▶ ' * (at == marked and not i)}{drawable(cell)}" for i, cell in enumerate(row)]
                for part in self._parts(cells, widths, size):
                    line = table.row()
                    for i, cell in enumerate(part):
                        family = MONO if mono and i and cell.isascii() else SANS
                        line.cell(cell, style=band if at == marked else FontFace(family=family))
        self.ln(5)

    def picture(self, source: Path | IO[bytes], caption: str, *, name: str, highest: float = 330.0) -> None:
        """A picture as wide as the text, or `highest` points high, and the words below it.

        Raises:
            InputError: It cannot be read as a PNG.
        """
        try:
            image = Image.open(source, formats=["PNG"])
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"the picture {name} of a report cannot be read as a PNG: {error}") from None
        scale = min(self.epw / image.width, highest / image.height)
        wide, high = image.width * scale, image.height * scale
        self._pen(8.0, QUIET)
        lines = self._lines(0, drawable(caption))
        self._room(high + len(lines) * 8 * LEADING + 8)
        self.image(image.convert("RGB"), x=MARGIN + (self.epw - wide) / 2, w=wide, h=high, alt_text=drawable(caption))
        self.ln(2)
        self._flow(caption, 8.0)
        self.ln(6)

    def write_bytes(self, *, title: str) -> bytes:
        """The PDF file."""
        self.set_title(drawable(title))
        self.set_creator("deepfake")
        return bytes(self.output())

    def __enter__(self) -> Pages:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files of the fonts, which the library leaves open."""
        for font in self.fonts.values():
            cast(Any, font).ttfont.close()

    def _pen(self, size: float, colour: str, style: str = "") -> None:
        self.set_font(SANS, style, size)
        self.set_text_color(colour)

    def _flow(self, text: str, size: float, **look: Any) -> None:
        self.multi_cell(0, size * LEADING, drawable(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT, **look)

    def _lines(self, width: float, text: str) -> list[str]:
        """Text as it would be broken into lines."""
        lines = self.multi_cell(width, 1, text, align="L", dry_run=True, output=MethodReturnValue.LINES)
        return cast(list[str], lines) or [""]

    def _room(self, height: float) -> None:
        """Begin a new page if less than this is left."""
        if self.y > MARGIN and self.will_page_break(height):
            self.add_page()

    def _parts(self, cells: Sequence[str], widths: Sequence[float], size: float) -> list[list[str]]:
        """A row in parts that each fit on a page."""
        spans = [width / sum(widths) * self.epw - 12 for width in widths]
        if all(self.get_string_width(cell) < ROW_LINES / 2 * span for cell, span in zip(cells, spans, strict=True)):
            return [list(cells)]
        lines = [self._lines(span, cell) for cell, span in zip(cells, spans, strict=True)]
        starts = range(0, max(map(len, lines)), ROW_LINES)
        return [["\n".join(cell[at : at + ROW_LINES]) for cell in lines] for at in starts]
