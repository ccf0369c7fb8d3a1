"""The script that Streamlit runs for each visitor and after each of their actions: `script.py RUNS`."""

from __future__ import annotations

import sys
from pathlib import Path

from deepfake.app.page import page

FILE = Path(__file__)

if __name__ == "__main__":
    page(Path(sys.argv[1]))
