"""Mel spectrogram and linear frequency cepstral coefficients of the same frames."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deepfake.features.lfcc import LFCC
from deepfake.features.mel import Mel
from deepfake.features.spectral import SpectralFrontEnd


class MelLFCC(SpectralFrontEnd):
    """The bands of `Mel`, then the coefficients of `LFCC`, on one axis of channels: for networks that take both.

    One transform, window length and hop for either, so that their frames are the same moments.

    Args:
        sample_rate: In hertz.
        n_mels: Mel bands, the first channels.
        n_coefficients: Static coefficients of the LFCC; three times as many channels follow the bands.
        n_fft: Length of the transforms in samples.
        win_length: Samples of the windows (320: 20 ms at 16 kHz).
        hop_length: Samples between frames (160: 10 ms).
        scale: Of the mel bands, `unit` or `log`; see `Mel`.
        **common: `normalise` and `denoise`, see `FrontEnd`.

    Shape:
        waveform `[B, T]` -> features `[B, n_mels + 3 * n_coefficients, 1 + T // hop_length]`

    Raises:
        InputError: An unknown scale, or bands, window and transform that do not fit each other.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 16_000,
        n_mels: int = 80,
        n_coefficients: int = 20,
        n_fft: int = 512,
        win_length: int = 320,
        hop_length: int = 160,
        scale: str = "unit",
        **common: Any,
    ) -> None:
        super().__init__(n_mels + 3 * n_coefficients, sample_rate, hop_length, **common)
        frames: dict[str, Any] = {"n_fft": n_fft, "win_length": win_length, "hop_length": hop_length}
        self.mel = Mel(sample_rate=sample_rate, n_bands=n_mels, scale=scale, **frames)
        self.lfcc = LFCC(sample_rate=sample_rate, n_coefficients=n_coefficients, **frames)
        self.band_edges_hz = self.mel.band_edges_hz  # the coefficients after them are no bands

    def spectral(self, waveform: Tensor) -> Tensor:
        return torch.cat((self.mel.spectral(waveform), self.lfcc.spectral(waveform)), dim=1)
