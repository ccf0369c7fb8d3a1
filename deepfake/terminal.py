"""What a command shows on the terminal while it works and when it is done; results alone go to stdout."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console, RenderableType
from rich.progress import track

log = logging.getLogger(__name__)
EVERY_SECONDS = 30.0  # a line in a log
LOG_WIDTH = 160  # columns, where nobody watches

T = TypeVar("T")


def progress(items: Iterable[T], what: str, *, total: int | None = None) -> Iterator[T]:
    """The same items, with a bar in a terminal, and in a log a line every 30 s.

    Args:
        items: To go through.
        what: That is done with them.
        total: Number of them; None where they have a length.
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
    """Print tables: as wide as the terminal, or wide enough for a log; on stderr unless they are the result."""
    watched = (sys.stdout if stdout else sys.stderr).isatty()
    Console(stderr=not stdout, width=None if watched else LOG_WIDTH).print(*views)


def shortened(text: str, most: int) -> str:
    """A name of at most so many characters: a long one loses its middle.

    >>> shortened("recordings/interview_2024_final.wav", 20)
    'recordings…final.wav'
    """
    return text if len(text) <= most else f"{text[: most // 2]}…{text[most // 2 + 1 - most :]}"
