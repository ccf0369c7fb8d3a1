"""Log spectrogram in bands of equal width."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepfake.features.spectral import SpectralFrontEnd
from deepfake.features.spectrogram import Spectrogram, triangles

FLOOR = 1e-10  # of power


class LinearBands(SpectralFrontEnd):
    """Logarithm of the power in triangular bands equally spaced in hertz, up to half the sample rate.

    High frequencies, where vocoders leave their traces, keep the resolution that a mel scale gives up (Sahidullah,
    Kinnunen and Hanilci, 2015).

    Args:
        sample_rate: In hertz.
        n_bands: Bands.
        n_fft: Length of the transform in samples.
        win_length: Samples of the Hamming window (320: 20 ms at 16 kHz).
        hop_length: Samples between frames (160: 10 ms).
        **common: `normalise` and `denoise`, see `FrontEnd`.

    Shape:
        waveform `[B, T]` -> features `[B, n_bands, 1 + T // hop_length]`

    Raises:
        InputError: Bands, window and transform that do not fit each other.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 16_000,
        n_bands: int = 80,
        n_fft: int = 512,
        win_length: int = 320,
        hop_length: int = 160,
        **common: Any,
    ) -> None:
        super().__init__(n_bands, sample_rate, hop_length, **common)
        self.spectrogram = linear_spectrogram(sample_rate, n_bands, n_fft, win_length, hop_length)
        self.band_edges_hz = self.spectrogram.edges_hz

    def spectral(self, waveform: Tensor) -> Tensor:
        return (self.spectrogram(waveform) + FLOOR).log()  # [B, n_bands, L]


def linear_spectrogram(sample_rate: int, n_bands: int, n_fft: int, win_length: int, hop_length: int) -> Spectrogram:
    """Power in `n_bands` equal triangles from 0 Hz to half the sample rate, through a Hamming window."""
    filterbank = triangles(np.linspace(0, sample_rate / 2, n_bands + 2), n_fft, sample_rate)
    return Spectrogram(torch.hamming_window(win_length), filterbank, sample_rate, n_fft, hop_length)
