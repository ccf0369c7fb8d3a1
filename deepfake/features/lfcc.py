"""Linear frequency cepstral coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor
from torch.nn import functional as F

from deepfake.features.linear import linear_spectrogram
from deepfake.features.spectral import SpectralFrontEnd

PRE_EMPHASIS = 0.97
FLOOR = torch.finfo(torch.float32).eps  # of power, as in the baseline


class LFCC(SpectralFrontEnd):
    """Cepstrum of a linear filterbank with its first and second differences: the ASVspoof baseline's front end.

    Pre-emphasis, 20 ms Hamming windows each 10 ms, power in 20 triangles up to half the sample rate, log10, orthonormal
    DCT-II (Sahidullah, Kinnunen and Hanilci, 2015; the ASVspoof 2019 LFCC-GMM and 2021 LFCC-LCNN baselines). The
    differences are theirs too: d[l] = c[l + 1] - c[l - 1], not divided, the edge frames repeated.

    Args:
        sample_rate: In hertz.
        n_coefficients: Static coefficients, and bands; three times as many channels come out.
        n_fft: Length of the transform in samples.
        win_length: Samples of the window (320: 20 ms at 16 kHz).
        hop_length: Samples between frames (160: 10 ms).
        **common: `normalise` and `denoise`, see `FrontEnd`.

    Shape:
        waveform `[B, T]` -> features `[B, 3 * n_coefficients, 1 + T // hop_length]`

    Raises:
        InputError: Bands, window and transform that do not fit each other.
    """

    dct: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 16_000,
        n_coefficients: int = 20,
        n_fft: int = 512,
        win_length: int = 320,
        hop_length: int = 160,
        **common: Any,
    ) -> None:
        super().__init__(3 * n_coefficients, sample_rate, hop_length, **common)
        self.spectrogram = linear_spectrogram(sample_rate, n_coefficients, n_fft, win_length, hop_length)
        cosines = dct(np.eye(n_coefficients), axis=0, norm="ortho")
        self.register_buffer("dct", torch.from_numpy(cosines).float(), persistent=False)

    def spectral(self, waveform: Tensor) -> Tensor:
        waveform = waveform.to(self.dct.dtype)
        emphasised = waveform - PRE_EMPHASIS * F.pad(waveform, (1, 0))[:, :-1]
        log_power = (self.spectrogram(emphasised) + FLOOR).log10()  # [B, n_coefficients, L]
        static = self.dct @ log_power
        delta = difference(static)
        return torch.cat((static, delta, difference(delta)), dim=1)  # [B, 3 * n_coefficients, L]


def difference(features: Tensor) -> Tensor:
    """d[l] = x[l + 1] - x[l - 1], the edge frames repeated, `[B, C, L]` -> `[B, C, L]`."""
    padded = F.pad(features, (1, 1), mode="replicate")
    return padded[..., 2:] - padded[..., :-2]
