"""Atomic writing: a file exists whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


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
