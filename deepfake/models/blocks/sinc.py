"""The fixed band-pass filterbank of AASIST and RawNet2."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.errors import InputError

MOST_WEIGHTS = 1 << 24
LONG = 512  # taps from which the Fourier transform is the faster way
N_FFT = 4  # its length, in filters
STEP = 3072  # samples of which `pooled` computes the bands at a time, so that they stay in the cache


class SincFilters(nn.Module):
    r"""Convolution of raw audio with windowed-sinc band-pass filters, equally spaced in mel and not learned.

    Filter \(i\) passes from \(f_i\) to \(f_{i+1}\), where \(f\) are `n_filters + 1` points from 0 Hz to half the
    sample rate, equidistant in mel (RawNet2: Tak et al., 2021, after SincNet: Ravanelli and Bengio, 2018):

    \[ h_i[n] = w[n] \left( \tfrac{2 f_{i+1}}{f_s} \operatorname{sinc} \tfrac{2 f_{i+1} n}{f_s}
       - \tfrac{2 f_i}{f_s} \operatorname{sinc} \tfrac{2 f_i n}{f_s} \right) \]

    with a Hamming window \(w\). The filters are computed once; they follow the module between devices but are no part
    of its state dict, because published checkpoints do not hold them.

    Args:
        n_filters: Number of bands.
        n_taps: Length of a filter in samples; odd, so that it is symmetric.
        sample_rate: In hertz.

    Shape:
        waveform `[B, 1, T]` -> bands `[B, n_filters, T - n_taps + 1]`

    Raises:
        InputError: No filter, an even or non-positive number of taps, or more weights than memory is for.
    """

    filters: Tensor

    def __init__(self, n_filters: int, n_taps: int, sample_rate: int = 16000) -> None:
        super().__init__()
        if n_filters < 1 or n_taps < 1 or n_taps % 2 == 0 or n_filters * n_taps > MOST_WEIGHTS:
            raise InputError(
                f"model.n_filters={n_filters}, filter_taps={n_taps}: at least 1 filter and an odd number of taps were "
                f"expected, and at most {MOST_WEIGHTS:,} weights"
            )
        edges_hz = _equal_mel(n_filters + 1, sample_rate / 2)[:, None]
        # The authors' argument of the sinc is a float32. Its rounding moves their published logits by up to 2e-5.
        n = np.arange(n_taps, dtype=np.float32) - n_taps // 2
        cycles = (2 * edges_hz).astype(np.float32) * n / np.float32(sample_rate)
        low_pass = 2 * edges_hz / sample_rate * np.sinc(cycles)  # [n_filters + 1, n_taps]
        self.edges_hz = edges_hz[:, 0]  # [n_filters + 1]
        filters = np.hamming(n_taps).astype(np.float32) * np.diff(low_pass, axis=0).astype(np.float32)
        self.register_buffer("filters", torch.from_numpy(filters)[:, None], persistent=False)  # [n_filters, 1, n_taps]

    def forward(self, waveform: Tensor) -> Tensor:
        if self.filters.shape[-1] < LONG:
            return F.conv1d(waveform, self.filters)  # [B, n_filters, T - n_taps + 1]
        with torch.autocast(waveform.device.type, enabled=False):
            return self._overlap_save(waveform.to(self.filters.dtype))

    def pooled(self, waveform: Tensor, size: int) -> Tensor:
        """Largest magnitude in each square of `size` bands and samples, `[1, 1, T]` -> `[1, bands, frames]`.

        As `max_pool2d` of the magnitude of `forward`, in half the time: no band is stored, and as filters are
        symmetric, the two samples that share a weight are added first.
        """
        n_taps, n_rows = self.filters.shape[-1], len(self.filters) // size
        centre, n_out = n_taps // 2, (waveform.shape[-1] - n_taps + 1) // size * size
        half = self.filters[: n_rows * size, 0, : centre + 1]
        frames = []
        for start in range(0, n_out, STEP // size * size):
            n = min(STEP // size * size, n_out - start)
            taps = waveform[0, 0, start : start + n + n_taps - 1].unfold(0, n, 1)  # [n_taps, n]
            pairs = torch.cat([taps[:centre] + taps[centre + 1 :].flip(0), taps[centre : centre + 1]])
            bands = (half @ pairs).abs_().view(n_rows, size, n)
            frames.append(F.max_pool1d(bands.amax(1), size))
        return torch.cat(frames, dim=1)[None]

    def _overlap_save(self, waveform: Tensor) -> Tensor:
        """The same in blocks, by the Fourier transform: with 1,025 taps, 5 times faster on a CPU."""
        n_taps = self.filters.shape[-1]
        n_out = waveform.shape[-1] - n_taps + 1
        n_fft = 1 << (N_FFT * n_taps - 1).bit_length()
        step = n_fft - n_taps + 1
        n_blocks = -(-n_out // step)
        padded = F.pad(waveform, (0, (n_blocks - 1) * step + n_fft - waveform.shape[-1]))
        spectrum = torch.fft.rfft(padded.unfold(2, n_fft, step))  # [B, 1, n_blocks, bins]
        response = torch.fft.rfft(self.filters, n_fft).conj()  # [n_filters, 1, bins]
        filtered = torch.fft.irfft(spectrum * response, n_fft)[..., :step]  # [B, n_filters, n_blocks, step]
        return filtered.flatten(2)[..., :n_out]


def _equal_mel(n_points: int, highest_hz: float) -> np.ndarray:
    """Frequencies in hertz from 0 to `highest_hz`, equidistant on the mel scale (2595 log10(1 + f/700))."""
    mel = np.linspace(0, 2595 * np.log10(1 + highest_hz / 700), n_points)
    return 700 * (10 ** (mel / 2595) - 1)
