"""The file that each loader process reads, kept where it survives the process."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepfake.errors import InputError

SLOTS, BYTES = 256, 4096  # of processes, by their ids; of the longest path
_shared = mmap.mmap(-1, SLOTS * BYTES)  # loader processes are forked: they write to the same memory
_main = os.getpid()


def note(path: Path) -> None:
    """Called in a loader process before it reads a file."""
    if (pid := os.getpid()) != _main:
        start = pid % SLOTS * BYTES
        _shared[start : start + BYTES] = f"{pid} {path}".encode(errors="surrogateescape")[:BYTES].ljust(BYTES, b"\0")


def last_read(pid: int) -> str | None:
    """The file that a loader process read last, None if unknown."""
    start = pid % SLOTS * BYTES
    owner, _, path = _shared[start : start + BYTES].rstrip(b"\0").decode(errors="surrogateescape").partition(" ")
    return path if owner == str(pid) else None


@contextmanager
def deaths_explained(remedy: str = "") -> Iterator[None]:
    """Make one sentence of the error with which torch reports that a loader process ended.

    Args:
        remedy: What the user can do then, beside leaving out loader processes.

    Raises:
        InputError: One ended within the block; it names the file that the process read last.
    """
    try:
        yield
    except RuntimeError as error:
        died = re.search(
            r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (exited|is killed by signal: [\w ]+)", str(error)
        )
        if not died:
            raise
        files = [file for pid in died[1].split(",") if (file := last_read(int(pid)))]
        where = f" while or after it read {files[0]}" if files else ""
        how = died[2].removeprefix("is ").replace("exited", "ended").strip()
        likely = "/dev/shm is too small" if "Bus error" in how else "little memory is the usual cause"
        raise InputError(
            f"a loader process was {how}{where}: {likely}; num_workers=0 does without them{remedy}"
        ) from error
