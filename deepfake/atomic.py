"""Atomic writing: a file exists whole or not at all."""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def write_atomically(path: Path, data: bytes | memoryview | str) -> None:
    """Write a file so that neither a reader nor a crash, of the machine either, finds half of it.

    A temporary file beside it is brought to the disk and renamed to it.

    Args:
        path: Path of the file; its folder is created if needed.
        data: Bytes, or text to be encoded in UTF-8.

    Raises:
        OSError: The disk is full, say; it names this file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring the entries of a folder to the disk, where its file system can do that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def write_csv(path: Path, rows: Iterable[Sequence[Any]], lineterminator: str = "\r\n") -> None:
    """Write rows as CSV, atomically; None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator=lineterminator).writerows(rows)
    write_atomically(path, text.getvalue())
