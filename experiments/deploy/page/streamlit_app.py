"""The page, where a platform runs Streamlit itself: the run folder is that of `DEEPFAKE_RUN`, or `detector`."""

import os
from pathlib import Path

from deepfake.app.page import page

page(Path(os.environ.get("DEEPFAKE_RUN", "detector")))
