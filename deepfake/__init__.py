"""Train, judge and use detectors of spoofed speech."""

import os
from pathlib import Path

__version__ = "0.1.0"

_installed = Path(__file__).parent / "conf"  # where a wheel has the configs; a checkout has them beside the package
CONF = _installed if _installed.is_dir() else _installed.parents[1] / "conf"

if "OMP_WAIT_POLICY" not in os.environ:  # read when torch is loaded
    # Idle threads spin for 0.1 ms instead of 5. Where cores are shared, spinning takes most of the time of small
    # operations: one clip by a small network took 165 to 640 ms at a load of 7, and takes 34 to 60.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
