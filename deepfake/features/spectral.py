"""The base of the front ends on a short-time Fourier transform."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deepfake.features.frontend import FrontEnd


class SpectralFrontEnd(FrontEnd):
    """Base of the front ends whose frames are centred on multiples of a hop; a subclass has `spectral`.

    Args:
        n_channels: Bands, or coefficients.
        sample_rate: In hertz.
        hop_length: Samples between frames.
        **common: `normalise` and `denoise`, see `FrontEnd`.

    Shape:
        waveform `[B, T]` -> features `[B, C, 1 + T // hop_length]`
    """

    kind = "spectrum"

    def __init__(self, n_channels: int, sample_rate: int, hop_length: int, **common: Any) -> None:
        rate = sample_rate / hop_length
        common |= {"start_seconds": -0.5 / rate, "sample_rate": sample_rate}
        super().__init__(n_channels=n_channels, frames_per_second=rate, **common)

    def extract(self, waveform: Tensor) -> Tensor:
        with torch.autocast(waveform.device.type, enabled=False):
            return self.spectral(self.denoise(waveform))

    def spectral(self, waveform: Tensor) -> Tensor:
        """The feature of a denoised waveform, in its own precision, `[B, T]` -> `[B, C, L]`."""
        raise NotImplementedError
