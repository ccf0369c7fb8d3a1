"""Terminal output of commands: progress and tables; stdout is for results alone."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import track
from rich.table import Table
from rich.text import Text

log = logging.getLogger(__name__)
EVERY_SECONDS = 30.0  # between lines of progress in a log
LOG_WIDTH = 160  # columns, where the output is no terminal

T = TypeVar("T")


def progress(items: Iterable[T], what: str, *, total: int | None = None) -> Iterator[T]:
    """Iterate over items with a progress bar in a terminal, or a line every 30 s in a log.

    Args:
        items: Items to iterate over.
        what: What is done with them, as the bar's description.
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


def show(*views: RenderableType, stdout: bool = False) -> None:
    """Print tables, as wide as the terminal or, in a log, `LOG_WIDTH`; on stderr unless they are the result."""
    interactive = (sys.stdout if stdout else sys.stderr).isatty()
    Console(stderr=not stdout, width=None if interactive else LOG_WIDTH).print(*views)


def summary(
    title: str, tables: Iterable[tuple[str, Sequence[str], Iterable[Sequence[str]]]], notes: Iterable[str]
) -> Table:
    """Tables of text below each other, and notes below them.

    Args:
        title: Above the first table.
        tables: Heading of the first column, of the others, and the rows of each.
        notes: Sentences.
    """
    grid = Table.grid()
    for i, (first, headings, rows) in enumerate(tables):
        view = Table(first, box=box.SIMPLE_HEAD, title=None if i else Text(title, style="bold"))
        for heading in headings:
            view.add_column(Text(heading), justify="right")
        for row in rows:
            view.add_row(*map(Text, row))
        grid.add_row(view)
    for note in notes:
        grid.add_row(Padding(Text(note, style="yellow"), (0, 2)))
    return grid


def shortened(text: str, most: int) -> str:
    """A text of at most `most` characters: a longer one is shortened in the middle.

    >>> shortened("recordings/interview_2024_final.wav", 20)
    'recordings…final.wav'
    """
    return text if len(text) <= most else f"{text[: most // 2]}…{text[most // 2 + 1 - most :]}"
