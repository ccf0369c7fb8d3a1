"""The file that each loader process reads, kept where it survives the process."""

from __future__ import annotations

import mmap
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from typing import Any

import torch

from deepfake.errors import InputError

SLOTS, BYTES = 256, 4096  # of processes, by their ids; of the longest path
SHARED = "/dev/shm"
DIED = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:exited|is (killed by signal: [\w ]+))")
_shared = mmap.mmap(-1, SLOTS * BYTES)  # loader processes are forked: they write to the same memory
_main = os.getpid()


def note(path: str) -> None:
    """Called in a loader process before it reads a file."""
    if (pid := os.getpid()) != _main:
        start = pid % SLOTS * BYTES
        _shared[start : start + BYTES] = f"{pid} {path}".encode(errors="surrogateescape")[:BYTES].ljust(BYTES, b"\0")


def last_read(pid: int) -> str | None:
    """The file that a loader process read last, None if unknown."""
    start = pid % SLOTS * BYTES
    owner, _, path = _shared[start : start + BYTES].rstrip(b"\0").decode(errors="surrogateescape").partition(" ")
    return path if owner == str(pid) else None


class LoaderDied(InputError):
    """A loader process ended, which the message names, with the file that it read."""


@contextmanager
def deaths_explained() -> Iterator[None]:
    """Make one sentence of the errors with which torch reports that a loader process ended.

    Raises:
        LoaderDied: One ended within the block.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError, FileNotFoundError) as error:
        words = f"{error.__cause__} {error}"  # the cause may say more
        if not (died := DIED.search(words) or DIED.search(words := _report_of_torch())):
            raise
        files = [file for pid in died[1].split(",") if (file := last_read(int(pid)))]
        if SHARED in files or "Bus error" in words:
            message = f"{SHARED} is too small for the loader processes"
        else:
            how = f"was {died[2]}" if died[2] else "ended"
            where = f" while or after it read {files[0]}" if files else ""
            message = f"a loader process {how}{where}: little memory is the usual cause"
        raise LoaderDied(f"{message}; num_workers=0 does without them") from error


def _report_of_torch() -> str:
    """What torch says of an ended loader process, where the first error was only that its batch did not come."""
    try:
        for _ in range(20):
            torch._C._error_if_any_worker_fails()  # type: ignore[attr-defined]
            time.sleep(0.01)  # or torch's handler of the signal raises the error
    except RuntimeError as error:
        return str(error)
    return ""


def end_where_memory_is_short(worker: int) -> None:
    """For `worker_init_fn`: end a loader process that cannot send a batch, for which the others would wait forever."""

    def end(error: Exception, batch: Any) -> None:
        note(SHARED)
        os._exit(1)

    Queue._on_queue_feeder_error = staticmethod(end)  # type: ignore[attr-defined]
