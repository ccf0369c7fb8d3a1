"""Train, judge and use detectors of spoofed speech."""

from pathlib import Path

__version__ = "0.1.0"

_installed = Path(__file__).parent / "conf"  # where a wheel has the configs; a checkout has them beside the package
CONF = _installed if _installed.is_dir() else _installed.parents[1] / "conf"
