"""Allocator settings: the C library keeps the memory that tensors free."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # <malloc.h>


def keep_freed_memory() -> bool:
    """Stop glibc from returning large freed blocks to the kernel, and from mapping each large tensor afresh.

    By default every activation above 32 MiB is mapped, faulted in page by page and unmapped again, which takes nearly
    half of the CPU time of AASIST's forward pass (measured by `experiments/benchmarks/cpu.py`). Results do not change.
    The process does not return its memory, which peaks up to 1.4 times higher; blocks above 1 GiB are still returned.

    Returns:
        Whether the settings were accepted; without glibc nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    return all(
        mallopt(*setting) for setting in ((_MMAP_THRESHOLD, 1 << 30), (_TRIM_THRESHOLD, -1), (_TOP_PAD, 64 << 20))
    )
