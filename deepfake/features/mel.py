"""Mel spectrogram."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from deepfake.errors import InputError
from deepfake.features.spectral import SpectralFrontEnd
from deepfake.features.spectrogram import Spectrogram, triangles

SCALES = ("unit", "log")
RANGE_DB = 80.0
FLOOR = 1e-10  # of power


class Mel(SpectralFrontEnd):
    """Power in triangular bands equally spaced in mel, each of the same area (Slaney, 1998), on a logarithmic scale.

    Equal to librosa's `melspectrogram` and, for `unit`, its `power_to_db(ref=max, top_db=80)`. With the defaults, 5 s
    at 16 kHz are 128 x 157.

    Args:
        sample_rate: In hertz.
        n_bands: Mel bands.
        n_fft: Length of the transform in samples.
        hop_length: Samples between frames.
        win_length: Samples of the Hann window; None is `n_fft`.
        f_min: Lower edge of the first band in hertz.
        f_max: Upper edge of the last band in hertz; None is half the sample rate.
        scale: `unit`: decibels below the clip's loudest point, cut at 80 dB and mapped to 0 ... 1, so that the level
            of the recording is lost. `log`: the natural logarithm of the power, which keeps it.
        **common: `normalise` and `denoise`, see `FrontEnd`.

    Shape:
        waveform `[B, T]` -> features `[B, n_bands, 1 + T // hop_length]`

    Raises:
        InputError: An unknown scale, or bands, window and transform that do not fit each other.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 16_000,
        n_bands: int = 128,
        n_fft: int = 2048,
        hop_length: int = 512,
        win_length: int | None = None,
        f_min: float = 0.0,
        f_max: float | None = None,
        scale: str = "unit",
        **common: Any,
    ) -> None:
        super().__init__(n_bands, sample_rate, hop_length, **common)
        if scale not in SCALES:
            raise InputError(f"features.scale={scale}: one of {', '.join(SCALES)} was expected")
        self.scale = scale
        filterbank = mel_filterbank(n_bands, n_fft, sample_rate, f_min, f_max)
        window = torch.hann_window(win_length or n_fft)
        self.spectrogram = Spectrogram(window, filterbank, sample_rate, n_fft, hop_length)
        self.band_edges_hz = self.spectrogram.edges_hz

    def spectral(self, waveform: Tensor) -> Tensor:
        power = self.spectrogram(waveform)  # [B, n_bands, L]
        if self.scale == "log":
            return (power + FLOOR).log()
        decibels = 10.0 * power.clamp(min=FLOOR).log10()
        relative = decibels - decibels.amax(dim=(1, 2), keepdim=True)
        return relative.clamp(min=-RANGE_DB) / RANGE_DB + 1.0


def mel_filterbank(
    n_bands: int, n_fft: int, sample_rate: int, f_min: float = 0.0, f_max: float | None = None
) -> np.ndarray:
    """Triangular filters of area 1, equally spaced in mel, `[n_bands, n_fft // 2 + 1]`; see `Mel` for the arguments."""
    corners_hz = mel_to_hz(np.linspace(hz_to_mel(f_min), hz_to_mel(f_max or sample_rate / 2), n_bands + 2))
    heights = 2.0 / (corners_hz[2:] - corners_hz[:-2])
    return triangles(corners_hz, n_fft, sample_rate) * heights[:, None]


def hz_to_mel(hz: ArrayLike) -> np.ndarray:
    """Slaney's mel scale: 3 mel each 200 Hz up to 1 kHz, logarithmic above, 27 mel for each factor of 6.4."""
    hz = np.asarray(hz, dtype=np.float64)
    return np.where(hz < 1000, 3 * hz / 200, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4))


def mel_to_hz(mel: ArrayLike) -> np.ndarray:
    """The inverse of `hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < 15, 200 * mel / 3, 1000 * 6.4 ** ((mel - 15) / 27))
