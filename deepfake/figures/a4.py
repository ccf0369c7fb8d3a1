"""Text, tables and pictures on A4 pages of a PDF file, measured before they are drawn: nothing is cut or overlaps."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.image import imread
from matplotlib.patches import Rectangle

from deepfake.errors import InputError

WIDTH, HEIGHT = 595.28, 841.89  # A4 in points, as all lengths here
MARGIN, BOTTOM = 50.0, 58.0
INNER = WIDTH - 2 * MARGIN
LEADING = 1.38  # of the font's size
SANS, MONO = "DejaVu Sans", "DejaVu Sans Mono"
OTHER_SCRIPTS = (  # fonts of CJK and much else that systems have; the first ones found are used after DejaVu Sans
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("Droid Sans Fallback", "IPAexGothic", "IPAGothic", "Arial Unicode MS", "Microsoft YaHei", "Yu Gothic"),
    *("Malgun Gothic", "PingFang SC", "Hiragino Sans", "NanumGothic", "Noto Sans Devanagari", "Noto Sans Thai"),
)
BREAKS = "/\\_-.,:;=&?@"  # a long word is broken after one of these where it can be
INK, QUIET, RULE, BAND = "#222222", "#555555", "#cccccc", "#eef3f8"


@lru_cache
def families() -> list[str]:
    """The fonts that text is set in, each for what those before it have no letters for."""
    installed = {font.name for font in fontManager.ttflist}
    return [SANS, *[name for name in OTHER_SCRIPTS if name in installed]]


@lru_cache
def _letters() -> frozenset[int]:
    """Code points that can be drawn."""
    return _sans_letters().union(*(_codes(name, "normal") for name in families()[1:]))


@lru_cache
def _sans_letters() -> frozenset[int]:
    return _codes(SANS, "normal") & _codes(SANS, "bold")


def _codes(family: str, weight: str) -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=[family], weight=weight))).get_charmap())


def drawable(text: str) -> str:
    """Text with each character that cannot be drawn, or that hides itself or others, as its code: `[U+202E]`.

    No two texts look the same, whatever fonts there are.
    """
    letters = _letters()
    return "".join(c if c.isprintable() and ord(c) in letters else f"[U+{ord(c):04X}]" for c in text)


@lru_cache(maxsize=20_000)
def width_of(text: str, size: float, weight: str = "normal", family: str = SANS) -> float:
    """Width of drawn text in points."""
    width, _, _ = _ruler().get_text_width_height_descent(text, _font(text, size, weight, family), ismath=False)
    return float(width) / 10


@lru_cache
def _ruler() -> RendererAgg:
    return RendererAgg(1, 1, 720)  # ten times the size, so that no rounding to pixels is left


def _font(text: str, size: float, weight: str, family: str) -> FontProperties:
    if family == SANS and not _sans_letters().issuperset(map(ord, text)):
        return FontProperties(family=families(), size=size)  # other scripts' fonts often have one weight
    return FontProperties(family=[family], size=size, weight=weight)


def wrapped(text: str, width: float, size: float, weight: str = "normal", family: str = SANS) -> list[str]:
    """The lines of drawable text that is no wider than `width` points; what is too long for a line is broken."""
    lines, line = [], ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if width_of(joined, size, weight, family) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        while width_of(word, size, weight, family) > width and len(word) > 1:
            fits = _fitting(word, width, size, weight, family)
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line]


def _fitting(word: str, width: float, size: float, weight: str, family: str) -> int:
    """How many letters of a word to put on a line of their own, at least one."""
    low, high = 1, len(word) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width_of(word[:middle], size, weight, family) <= width else (low, middle - 1)
    after = max(word.rfind(mark, low // 2, low) for mark in BREAKS) + 1
    return after or low


def _high(lines: list[list[str]], size: float) -> float:
    """Height of a row of cells of these lines."""
    return max(map(len, lines)) * size * LEADING + 3


class Pages:
    """A document that grows downwards, page by page.

    Args:
        footer: Stands at the foot of each page, beside the page's number.

    Attributes:
        figures: The pages so far.
        y: Where the next thing goes, in points from the top of the page.
    """

    def __init__(self, *, footer: str) -> None:
        self.footer = drawable(footer)
        self.figures: list[Figure] = []
        self.page()

    def page(self) -> None:
        """Begin a new page."""
        self.figures.append(Figure(figsize=(WIDTH / 72, HEIGHT / 72)))
        self.y = MARGIN

    def room(self, height: float) -> None:
        """Begin a new page if less than this is left; what is higher than a page gets one of its own."""
        if self.y + height > HEIGHT - BOTTOM and self.y > MARGIN:
            self.page()

    def heading(self, text: str, *, size: float = 12.0, keep: float = 60.0) -> None:
        """A heading, never the last thing on a page: `keep` points after it are on the same."""
        lines = wrapped(drawable(text), INNER, size, "bold")
        self.room(len(lines) * size * LEADING + keep)
        self.y += 0.9 * size if self.y > MARGIN else 0
        self._lines(lines, MARGIN, size, weight="bold")
        self.y += 3

    def paragraph(
        self, text: str, *, size: float = 9.5, colour: str = INK, weight: str = "normal", bullet: str = ""
    ) -> None:
        """Text over the whole width, or beside a bullet; it may go on on the next page."""
        indent = width_of(f"{bullet} ", size) if bullet else 0.0
        for at, line in enumerate(wrapped(drawable(text), INNER - indent, size, weight)):
            self.room(size * LEADING)
            if bullet and at == 0:
                self._text(bullet, MARGIN, self.y + size, size, colour)
            self._lines([line], MARGIN + indent, size, colour=colour, weight=weight)
        self.y += 0.35 * size

    def banner(self, words: str, below: Sequence[str], *, colour: str) -> None:
        """Large white words, and lines below them, on a field of colour."""
        lines = [(line, 20.0, "bold") for line in wrapped(drawable(words), INNER - 28, 20.0, "bold")]
        lines += [(line, 10.0, "normal") for text in below for line in wrapped(drawable(text), INNER - 28, 10.0)]
        height = sum(size * LEADING for _, size, _ in lines) + 20
        self.room(height)
        self._field(MARGIN, self.y, INNER, height, colour)
        end = self.y + height
        self.y += 9
        for line, size, weight in lines:
            self._lines([line], MARGIN + 14, size, colour="white", weight=weight)
        self.y = end + 8

    def table(
        self,
        rows: Iterable[Sequence[str]],
        widths: Sequence[float],
        *,
        header: Sequence[str] = (),
        marked: int | None = None,
        mono: bool = False,
        size: float = 8.5,
    ) -> None:
        """Rows of cells, each broken into as many lines as it needs; the header comes again on a new page.

        Args:
            rows: Texts, one for each column.
            widths: Of the columns, in parts of the whole.
            header: Of the columns.
            marked: Row on a field of colour, with an arrow before it.
            mono: Set all but the first column in letters of one width.
            size: Of the letters, in points.
        """
        spans = np.array(widths, dtype=float) / sum(widths) * INNER
        if header:
            self._row([drawable(cell) for cell in header], spans, size, weight="bold")
        for at, row in enumerate(rows):
            cells = [drawable(cell) for cell in row]
            if at == marked:
                cells[0] = f"▶ {cells[0]}"
            weight, page = "bold" if at == marked else "normal", len(self.figures)
            self.room(_high(self._cut(cells, spans, size, weight, mono), size))
            if header and len(self.figures) > page:
                self._row([drawable(cell) for cell in header], spans, size, weight="bold")
            self._row(cells, spans, size, weight=weight, mono=mono, field=at == marked)
        self.y += 5

    def picture(self, source: Path | bytes, caption: str, *, name: str, highest: float = 330.0) -> None:
        """A picture as wide as the text, or `highest` points high, and the words below it.

        Raises:
            InputError: It cannot be read as a PNG.
        """
        try:
            pixels = imread(io.BytesIO(source) if isinstance(source, bytes) else source, format="png")
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"the picture {name} of a report cannot be read as a PNG: {error}") from None
        n_rows, n_columns = pixels.shape[:2]
        scale = min(INNER / n_columns, highest / n_rows)
        wide, high = n_columns * scale, n_rows * scale
        lines = wrapped(drawable(caption), INNER, 8.0)
        self.room(high + len(lines) * 8 * LEADING + 8)
        box = (MARGIN + (INNER - wide) / 2) / WIDTH, 1 - (self.y + high) / HEIGHT, wide / WIDTH, high / HEIGHT
        axes = self.figures[-1].add_axes(box)
        axes.axis("off")
        axes.imshow(pixels[..., :3] if pixels.ndim == 3 else pixels, interpolation="none", aspect="auto", cmap="gray")
        self.y += high + 2
        self._lines(lines, MARGIN, 8.0, colour=QUIET)
        self.y += 6

    def write(self, *, title: str) -> bytes:
        """The PDF file, the same bytes for the same contents, with fonts that text can be found and copied from."""
        for number, figure in enumerate(self.figures, start=1):
            if not any(text.get_gid() == "foot" for text in figure.texts):
                self._foot(figure, number)
        file = io.BytesIO()
        facts = {"Title": drawable(title), "Creator": "deepfake", "CreationDate": None}
        with rc_context({"pdf.fonttype": 42, "text.usetex": False}), PdfPages(file, metadata=facts) as pdf:
            for figure in self.figures:
                pdf.savefig(figure, dpi=72)
        return file.getvalue()

    def _foot(self, figure: Figure, number: int) -> None:
        words, size = f"page {number} of {len(self.figures)}", 7.0
        room = INNER - width_of(words, size) - 20
        text, half = self.footer, len(self.footer) // 2
        while (wide := width_of(text, size)) > room:  # the start and the end of a long one stay
            half = min(half - 1, int(half * room / wide))
            text = f"{self.footer[:half]}…{self.footer[-half:]}"
        for at, line, side in ((MARGIN, text, "left"), (WIDTH - MARGIN, words, "right")):
            font = _font(line, size, "normal", SANS)
            look = {"fontproperties": font, "color": QUIET, "parse_math": False, "gid": "foot"}
            figure.text(at / WIDTH, 30 / HEIGHT, line, ha=side, va="baseline", **look)

    def _row(self, cells, spans, size, *, weight="normal", mono=False, field=False) -> None:
        lines = self._cut(cells, spans, size, weight, mono)
        high = _high(lines, size)
        if field:
            self._field(MARGIN, self.y, INNER, high, BAND)
        for at in range(max(map(len, lines))):  # line by line: a row higher than a page goes on on the next
            self.room(size * LEADING)
            for column, cell in enumerate(lines):
                if at < len(cell):
                    family = MONO if mono and column else SANS
                    x = MARGIN + 3 + spans[:column].sum()
                    self._text(cell[at], x, self.y + 1.5 + size, size, INK, weight, family)
            self.y += size * LEADING
        self.y += 3
        self.figures[-1].add_artist(
            Rectangle((MARGIN / WIDTH, 1 - self.y / HEIGHT), INNER / WIDTH, 0, edgecolor=RULE, linewidth=0.5)
        )

    def _cut(self, cells, spans, size, weight, mono) -> list[list[str]]:
        return [
            wrapped(cell, span - 9, size, weight, MONO if mono and column and cell.isascii() else SANS)
            for column, (cell, span) in enumerate(zip(cells, spans, strict=True))
        ]

    def _lines(self, lines: list[str], x: float, size: float, *, colour: str = INK, weight: str = "normal") -> None:
        for line in lines:
            self._text(line, x, self.y + size, size, colour, weight)
            self.y += size * LEADING

    def _text(self, text, x, y, size, colour=INK, weight="normal", family=SANS) -> None:
        look = {"fontproperties": _font(text, size, weight, family), "color": colour, "parse_math": False}
        self.figures[-1].text(x / WIDTH, 1 - y / HEIGHT, text, ha="left", va="baseline", **look)

    def _field(self, x: float, y: float, wide: float, high: float, colour: str) -> None:
        field = Rectangle((x / WIDTH, 1 - (y + high) / HEIGHT), wide / WIDTH, high / HEIGHT, color=colour, linewidth=0)
        self.figures[-1].add_artist(field)
