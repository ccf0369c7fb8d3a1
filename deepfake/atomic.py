"""Atomic writing: a file exists whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a file so that neither a reader nor a crash finds half of it: a temporary file beside it is renamed to it.

    Args:
        path: Path of the file; its folder is created if needed.
        data: Bytes, or text to be encoded in UTF-8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data.encode() if isinstance(data, str) else data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_csv(path: Path, rows: Iterable[Sequence[Any]], lineterminator: str = "\r\n") -> None:
    """Write rows as CSV, atomically; None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator=lineterminator).writerows(rows)
    write_atomically(path, text.getvalue())
