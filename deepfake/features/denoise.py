"""Spectral gating of stationary noise, before a feature is computed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.errors import InputError

# The defaults of noisereduce 3, which are fixed here.
N_FFT = 1024
HOP = N_FFT // 4
N_DEVIATIONS = 1.5  # that a cell must stand above the mean of its frequency
SMOOTH_HZ, SMOOTH_MS = 500, 50
RANGE_DB = 80.0
PADDING = 30_000  # samples of silence before the clip, on which the position of the frames depends
FLOOR = float(np.finfo(np.float64).eps)  # of amplitude


class Denoise(nn.Module):
    """Stationary spectral gating: turns down the cells of a spectrum that lie within the recording's noise floor.

    The stationary, non-torch form of noisereduce (Sainburg, Thielk and Gentner, PLOS Computational Biology 2020) with
    its defaults, the noise being estimated from the clip itself: cells of the short-time spectrum that do not exceed
    mean + 1.5 deviations (in dB) of their frequency are multiplied by 1 - `proportion`, the mask having been smoothed.
    Clips of up to 600,000 samples come out as there; longer ones are cut into pieces there and not here. It runs where
    the waveform is and in batches, and a gradient passes through it, exactly: the mask is constant but where a cell
    crosses its threshold.

    Args:
        proportion: By how much noise is reduced, `prop_decrease` there: 0 leaves the waveform alone, 1 silences such
            cells.
        sample_rate: In hertz, from 5,120 to 256,000.

    Shape:
        waveform `[B, T]` -> `[B, T]`

    Raises:
        InputError: A proportion outside [0, 1], or a sample rate for which the smoothing is not defined.
    """

    window: Tensor
    over_hz: Tensor
    over_time: Tensor

    def __init__(self, proportion: float, sample_rate: int) -> None:
        super().__init__()
        if not 0 <= proportion <= 1:
            raise InputError(f"features.denoise={proportion}: a number from 0 (off) to 1 was expected")
        self.proportion = proportion
        if proportion == 0:
            return
        n_bins, n_frames = int(SMOOTH_HZ / (sample_rate / (N_FFT / 2))), int(SMOOTH_MS / (1000 * HOP / sample_rate))
        if n_bins < 1 or n_frames < 1:
            raise InputError(
                f"features.denoise={proportion}: at {sample_rate} Hz its smoothing is not defined; set it to 0"
            )
        # Not saved: they follow from the configuration.
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        self.register_buffer("over_hz", _triangle(n_bins)[None, None, :, None], persistent=False)
        self.register_buffer("over_time", _triangle(n_frames)[None, None, None, :], persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        if self.proportion == 0:
            return waveform
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.to(self.window.dtype)
            before = PADDING % HOP + 2 * N_FFT  # enough of it for the same frames
            spectrum = self._spectrum(F.pad(waveform, (before, 2 * N_FFT)))  # [B, bins, L]
            denoised = torch.istft(spectrum * self._mask(waveform, spectrum), N_FFT, HOP, window=self.window)
            return denoised[:, before : before + waveform.shape[1]]

    @torch.no_grad()
    def _mask(self, waveform: Tensor, spectrum: Tensor) -> Tensor:
        """The gain of each cell, `[B, bins, L]`."""
        noise = self._decibels(self._spectrum(waveform))
        deviation, mean = torch.std_mean(noise, dim=-1, keepdim=True, correction=0)
        kept = (self._decibels(spectrum) > mean + N_DEVIATIONS * deviation).to(spectrum.real.dtype)
        mask = kept * self.proportion + (1 - self.proportion)
        smooth = F.conv2d(mask[:, None], self.over_hz, padding=(self.over_hz.shape[2] // 2, 0))
        return F.conv2d(smooth, self.over_time, padding=(0, self.over_time.shape[3] // 2))[:, 0]

    def _decibels(self, spectrum: Tensor) -> Tensor:
        """Amplitude in dB, no lower than 80 dB below the loudest frame of each frequency."""
        decibels = 20 * torch.log10(spectrum.abs() / self.window.sum() + FLOOR)
        return torch.maximum(decibels, decibels.amax(dim=-1, keepdim=True) - RANGE_DB)

    def _spectrum(self, waveform: Tensor) -> Tensor:
        return torch.stft(waveform, N_FFT, HOP, window=self.window, pad_mode="constant", return_complex=True)


def _triangle(n: int) -> Tensor:
    """Weights that sum to 1 of a smoothing over 2n + 1 cells, rising a little more steeply than they fall."""
    rising, falling = np.linspace(0, 1, n + 1, endpoint=False), np.linspace(1, 0, n + 2)
    weights = np.concatenate([rising, falling])[1:-1]
    return torch.from_numpy(weights / weights.sum()).float()
