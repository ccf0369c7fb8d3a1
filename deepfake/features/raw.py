"""The waveform itself as a front end."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from deepfake.features.frontend import FrontEnd


class Raw(FrontEnd):
    """The waveform, denoised where that is asked for, as one channel: for networks with filters of their own.

    Args:
        sample_rate: In hertz; also the frame rate.
        **common: `normalise` and `denoise`, see `FrontEnd`.

    Shape:
        waveform `[B, T]` -> features `[B, 1, T]`
    """

    kind = "raw audio"

    def __init__(self, *, sample_rate: int = 16_000, **common: Any) -> None:
        super().__init__(n_channels=1, frames_per_second=sample_rate, sample_rate=sample_rate, **common)

    def extract(self, waveform: Tensor) -> Tensor:
        return self.denoise(waveform).unsqueeze(1)  # [B, 1, T]
