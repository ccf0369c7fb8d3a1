"""The contract of the front ends: from waveforms to features, stating what their channels and frames are."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from deepfake.features.denoise import Denoise
from deepfake.features.normalise import Normalise


class FrontEnd(nn.Module):
    """Base of the front ends: `extract` denoises and computes the feature, `normalise` scales it.

    By default it is an embedding: its channels have no order and stand for no frequency.

    Args:
        n_channels: Channels (bands, coefficients) of the feature.
        frames_per_second: Frames that one second of audio becomes.
        start_seconds: Where the first frame begins: half a frame before the clip, where a frame is centred on its time.
        normalise: `none`, `utterance` or `train_stats`; see `Normalise`.
        denoise: By how much stationary noise is reduced first, in training and in scoring; 0 is off. See `Denoise`.
        sample_rate: In hertz.

    Attributes:
        kind: Kind of channels, for networks that do not take every one: `raw audio` (one, the waveform), `spectrum`
            (bands or coefficients, in order, so that convolutions may slide over them) or `embedding`.
        n_stacked: Layers of its network whose channels stand one after another, as many of each; 1 without a stack.
        band_edges_hz: Edges in hertz of the channels that are bands, the first K of C, `[K + 1]`; None where none are.

    Shape:
        waveform `[B, T]` -> features `[B, C, L]`
    """

    kind: ClassVar[str] = "embedding"

    def __init__(
        self,
        *,
        n_channels: int,
        frames_per_second: float,
        start_seconds: float = 0.0,
        normalise: str = "none",
        denoise: float = 0.0,
        sample_rate: int = 16_000,
    ) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.frames_per_second = frames_per_second
        self.start_seconds = start_seconds
        self.n_stacked = 1
        self.band_edges_hz: NDArray[np.float64] | None = None
        self.denoise = Denoise(denoise, sample_rate)
        self.normalise = Normalise(normalise, n_channels)

    @classmethod
    def completed(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings of a new detector's front end, with those that a file named in them tells."""
        return settings

    def pretrain(self) -> None:
        """Read the weights that a training starts from, where there are any."""

    def extract(self, waveform: Tensor) -> Tensor:
        """The feature of `self.denoise(waveform)` before normalisation, `[B, T]` -> `[B, C, L]`."""
        raise NotImplementedError

    def forward(self, waveform: Tensor) -> Tensor:
        return self.normalise(self.extract(waveform))
