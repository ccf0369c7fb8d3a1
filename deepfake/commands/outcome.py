"""The outcome of a command, whichever it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """The outcome of a command.

    Attributes:
        content: Of the JSON file that it wrote; of several files, by input.
        folder: The folder it wrote.
        table: For the terminal, None for none.
        skipped: Whether some inputs could not be used.
    """

    content: dict[str, Any]
    folder: Path
    table: Any = None
    skipped: bool = False
