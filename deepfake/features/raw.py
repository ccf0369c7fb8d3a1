"""The waveform itself as a front end."""

from __future__ import annotations

from torch import Tensor

from deepfake.features.frontend import FrontEnd


class Raw(FrontEnd):
    """The waveform, unchanged, as one channel: for networks that learn or fix their own filters.

    Args:
        sample_rate: In hertz; also the frame rate.
        normalise: `none`, `utterance` or `train_stats`; see `Normalise`.

    Shape:
        waveform `[B, T]` -> features `[B, 1, T]`
    """

    def __init__(self, *, sample_rate: int = 16_000, normalise: str = "none") -> None:
        super().__init__(n_channels=1, frames_per_second=sample_rate, normalise=normalise)

    def extract(self, waveform: Tensor) -> Tensor:
        return waveform.unsqueeze(1)  # [B, 1, T]
