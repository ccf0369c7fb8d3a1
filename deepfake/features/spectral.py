"""What the front ends that stand on a short-time Fourier transform share."""

from __future__ import annotations

import torch
from torch import Tensor

from deepfake.features.frontend import FrontEnd


class SpectralFrontEnd(FrontEnd):
    """Base of the front ends whose frames are centred on multiples of a hop; a subclass has `spectral`.

    Args:
        n_channels: Bands, or coefficients.
        sample_rate: In hertz.
        hop_length: Samples between frames.
        normalise: `none`, `utterance` or `train_stats`; see `Normalise`.
        denoise: By how much stationary noise is reduced first, 0 is off; see `Denoise`.

    Shape:
        waveform `[B, T]` -> features `[B, C, 1 + T // hop_length]`
    """

    kind = "spectrum"

    def __init__(self, n_channels: int, sample_rate: int, hop_length: int, normalise: str, denoise: float) -> None:
        rate = sample_rate / hop_length
        super().__init__(
            n_channels=n_channels,
            frames_per_second=rate,
            start_seconds=-0.5 / rate,
            normalise=normalise,
            denoise=denoise,
            sample_rate=sample_rate,
        )

    def extract(self, waveform: Tensor) -> Tensor:
        with torch.autocast(waveform.device.type, enabled=False):
            return self.spectral(self.denoise(waveform))

    def spectral(self, waveform: Tensor) -> Tensor:
        """The feature of a waveform that is already denoised, in its own precision, `[B, T]` -> `[B, C, L]`."""
        raise NotImplementedError
