"""Let the C library keep the memory that tensors free."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # <malloc.h>


def keep_freed_memory() -> bool:
    """Stop glibc from returning large freed blocks to the kernel, and from mapping each large tensor afresh.

    By default every activation above 32 MiB is mapped, faulted in page by page and unmapped again; in AASIST's forward
    pass this is nearly half of the CPU time (`experiments/benchmarks/cpu.py` measures it). Results do not change; the
    process keeps what it once needed, up to 1.4 times the peak that it would have had. Blocks above 1 GiB go back.

    Returns:
        Whether the C library took the settings; elsewhere than on glibc nothing is done.
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
