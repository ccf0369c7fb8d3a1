"""Terminal output of commands: progress and tables; stdout is for results alone."""

from __future__ import annotations

import io
import logging
import os
import sys
import textwrap
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TextIO, TypeVar

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.progress import track
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from deepfake.errors import printable

log = logging.getLogger(__name__)
EVERY_SECONDS = 30.0  # between lines of progress in a log
LOG_WIDTH = 160  # columns, where the output is no terminal

T = TypeVar("T")


def progress(items: Iterable[T], what: str, *, total: int | None = None) -> Iterator[T]:
    """Iterate over items with a progress bar in a terminal, or a line every 30 s in a log.

    Args:
        items: Items to iterate over.
        what: Description of the bar.
        total: Number of items; None if they have a length.
    """
    total = len(items) if total is None else total  # type: ignore[arg-type]
    if sys.stderr.isatty():
        yield from track(items, what, total=total, console=Console(stderr=True), transient=True)
        return
    last = time.monotonic()
    for i, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last > EVERY_SECONDS:
            last = time.monotonic()
            log.info("%s: %d of %d", what, i, total)


def table(
    headings: Iterable[str], rows: Sequence[Sequence[str]], *, title: str = "", left: Collection[int] = (0,)
) -> Table:
    """A table in which only the first column is folded where the terminal is narrow: a number stays on its line.

    Args:
        headings: Headings of the columns; broken over lines where they are wider than their cells.
        rows: The cells, as plain text.
        title: Title of the table.
        left: The columns that are aligned on the left.
    """
    view = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=Text(title, style="bold") if title else None)
    for i, heading in enumerate(headings):
        widest = max((len(line) for row in rows for line in row[i].split("\n")), default=0)
        lines = textwrap.wrap(heading, max(widest, 8), break_long_words=False, break_on_hyphens=False)
        justify = "left" if i in left else "right"
        view.add_column(Text("\n".join(lines)), justify=justify, overflow="fold", no_wrap=i > 0)
    for row in rows:
        view.add_row(*map(Text, row))
    return view


def with_notes(views: Iterable[RenderableType], notes: Iterable[str]) -> Group:
    """Tables, and sentences below them."""
    return Group(*views, *(Padding(Text(note, style="yellow"), (0, 2)) for note in notes))


def summary(
    title: str, tables: Iterable[tuple[str, Sequence[str], Sequence[Sequence[str]]]], notes: Iterable[str]
) -> Group:
    """Tables below each other, and notes below them.

    Args:
        title: Above the first table.
        tables: Heading of the first column, of the others, and the rows of each.
        notes: Sentences.
    """
    views = [
        table((first, *headings), rows, title="" if i else title) for i, (first, headings, rows) in enumerate(tables)
    ]
    return with_notes(views, notes)


def show(*views: RenderableType, stdout: bool = False) -> None:
    """Print tables, as wide as the terminal (or `COLUMNS`), `LOG_WIDTH` in a log; on stderr unless `stdout`."""
    adapts = (sys.stdout if stdout else sys.stderr).isatty() or "COLUMNS" in os.environ
    Console(stderr=not stdout, width=None if adapts else LOG_WIDTH).print(*map(_Printable, views))


class _Printable:
    """What is shown, without the control characters that names in it may have."""

    def __init__(self, view: RenderableType) -> None:
        self.view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.view, options):
            yield segment if segment.control else Segment(printable(segment.text, lines=True), segment.style)


def write(text: str, out: TextIO) -> None:
    """Write a text at once: unchanged into a file or a pipe, printable on a terminal."""
    out.write(printable(text, lines=True) if out.isatty() else text)
    out.flush()


class _Record(logging.LogRecord):
    """A line of a log, without the control characters that names in it may have."""

    def getMessage(self) -> str:
        return printable(super().getMessage(), lines=True)


def prepare() -> None:
    """Make stdout take names that its encoding cannot hold, and every log leave out control characters."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.setLogRecordFactory(_Record)


def shortened(text: str, most: int) -> str:
    """A text of at most `most` characters: a longer one is shortened in the middle.

    >>> shortened("recordings/interview_2024_final.wav", 20)
    'recordings…final.wav'
    """
    return text if len(text) <= most else f"{text[: most // 2]}…{text[most // 2 + 1 - most :]}"
