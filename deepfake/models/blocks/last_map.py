"""The map that Grad-CAM weighs, and what of the input its cells stand for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import nn


class LastMap(NamedTuple):
    """The last convolutions' map of a network, `[B, D, rows, frames]`.

    Row r stands for the channels r x `bands` to (r + 1) x `bands` of the network's input, frame l for the frames from
    `start` + l x `frames` on (samples, for raw audio).

    Attributes:
        module: Whose output the map is.
        bands: Channels of the input that a row stands for.
        frames: Frames of the input that a frame of the map stands for.
        start: Frame of the input where the first frame of the map begins.
        hz: Edges of the rows where the network itself splits the waveform into bands, `[at least rows + 1]`.
    """

    module: nn.Module
    bands: float
    frames: int
    start: int = 0
    hz: np.ndarray | None = None
