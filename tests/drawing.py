"""Figures that are not looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from deepfake.figures.layout import Layout


@contextmanager
def blank_figures() -> Iterator[None]:
    """Figures are made and saved in their sizes, with nothing on them.

    Drawing them takes most of the time of a command on a second of audio: for tests of what else it does.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "draw", lambda figure, renderer: None)
        for layout in (Layout, ConstrainedLayoutEngine):
            patch.setattr(layout, "execute", lambda engine, figure: None)
        yield
