"""Atomic writing: a file exists whole or not at all; and CSV that a spreadsheet does not calculate."""

from __future__ import annotations

import csv
import errno
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

FORMULA = re.compile(r"'*[=+@\t\r-]")  # of which a spreadsheet makes one, or a cell that was marked as none


@contextmanager
def written_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write, so that neither a reader nor a crash, of the machine either, finds half of it.

    It is a temporary one beside `path`, which is brought to the disk and renamed at the end; after an error nothing is
    left of it.

    Args:
        path: Path of the file; its folder is created if needed.

    Raises:
        OSError: The disk is full, say; it names this file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes | memoryview | str) -> None:
    """Write bytes, or text to be encoded in UTF-8, see `written_atomically`."""
    with written_atomically(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def save_atomically(path: Path, content: Any) -> None:
    """Write tensors and plain data as `torch.save` does, straight to the disk, see `written_atomically`.

    Torch makes a RuntimeError of an error of the file and of an interruption: these are raised instead.
    """
    import torch  # what only decodes does without

    with written_atomically(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError | KeyboardInterrupt):
                raise error.__context__ from None
            raise


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


@contextmanager
def named_disk(path: Path) -> Iterator[None]:
    """Give an error of the system that names no file, as of libraries that write below a folder, that folder."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
            error.filename = str(path)
        raise


def write_csv(path: Path, rows: Iterable[Sequence[Any]], lineterminator: str = "\r\n") -> None:
    """Write rows as CSV, atomically; None is an empty cell."""
    write_atomically(path, csv_text(rows, lineterminator))


def csv_text(rows: Iterable[Sequence[Any]], lineterminator: str = "\r\n") -> str:
    """Rows as CSV, with an apostrophe before what a spreadsheet would calculate; `restored` takes it off.

    >>> csv_text([["=1+1", "-2.5", -2.5, "-", None]], "|")
    "'=1+1,-2.5,-2.5,-,|"
    """
    text = io.StringIO()
    odd = csv.QUOTE_MINIMAL
    rows = [list(map(_defused, row)) for row in rows]
    if "\r" not in lineterminator and any("\r" in cell for row in rows for cell in row if isinstance(cell, str)):
        odd = csv.QUOTE_ALL  # or a carriage return would end the line
    csv.writer(text, lineterminator=lineterminator, quoting=odd).writerows(rows)
    return text.getvalue()


def _defused(cell: Any) -> Any:
    if not isinstance(cell, str) or cell == "-" or not FORMULA.match(cell):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def restored(cell: str) -> str:
    """A cell of `csv_text` as it was given.

    >>> [restored(cell) for cell in ("'=1+1", "''=1+1", "'tis", "-2.5")]
    ['=1+1', "'=1+1", "'tis", '-2.5']
    """
    return cell[1:] if cell[:1] == "'" and FORMULA.match(cell) else cell
