"""The long-term spectrum of samples that come in blocks, and the cues that are read from it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

WINDOW_SECONDS = 0.032
LOWEST_DB = -150.0
TOP_POWER = 1e-6  # 60 dB below the peak
QUIET_DB = 40.0  # below the loudest frame
HOLE_DB = 20.0
WINDOWS_AT_ONCE = 1024  # whose powers are summed by themselves
WINDOWS_IN_CACHE = 64  # of which so many are transformed together, in memory that is soon used again

Floats = NDArray[np.float64]


class LongTermSpectrum:
    """Mean power of half overlapping Hann windows, after the mean of all samples is removed.

    That mean is known only at the end. A constant, times a Hann window, has power in the two lowest bins alone, so that
    it is taken out of their sums.

    Args:
        rate: In hertz.
        band_bins: Width of the bands whose power is kept window by window; 0 for none.

    Attributes:
        size: Of a window in samples, a power of two.
        bands: Power of bands `[L, bands]`, a portion of the windows each.
    """

    def __init__(self, rate: int, band_bins: int = 0) -> None:
        self.size, self.band_bins = 2 ** round(math.log2(WINDOW_SECONDS * rate)), band_bins
        self.bands: list[Floats] = []
        self._taper = np.hanning(self.size + 1)[:-1]
        self._total, self._lowest = np.zeros(self.size // 2 + 1), np.zeros(2, np.complex128)
        self._rest, self._n_windows = np.zeros(0), 0
        self._offset, self._sum, self._n_samples = 0.0, 0.0, 0  # the sum is of samples less the offset

    def take(self, samples: NDArray[np.floating]) -> None:
        """Take the next block `[T]`."""
        if not self._n_samples and len(samples):
            self._offset = float(np.mean(samples, dtype=np.float64))  # little is left to correct
        samples = np.subtract(samples, self._offset, dtype=np.float64)
        self._sum += float(samples.sum())
        self._n_samples += len(samples)
        self._rest = np.concatenate([self._rest, samples])
        n = max(0, len(self._rest) // (self.size // 2) - 1)
        if n:
            windows = np.lib.stride_tricks.sliding_window_view(self._rest, self.size)[:: self.size // 2]  # [L, size]
            for i in range(0, n, WINDOWS_AT_ONCE):
                self._add(windows[i : i + WINDOWS_AT_ONCE])
            self._rest = self._rest[n * (self.size // 2) :]

    def _add(self, windows: NDArray[np.floating]) -> None:
        total, lowest = np.zeros((1, len(self._total))), np.zeros((1, 2), np.complex128)
        for i in range(0, len(windows), WINDOWS_IN_CACHE):
            transformed = np.fft.rfft(windows[i : i + WINDOWS_IN_CACHE] * self._taper, axis=1)
            power = transformed.real**2 + transformed.imag**2
            total = np.concatenate([total, power]).sum(axis=0, keepdims=True)  # in order, as if all were summed at once
            lowest = np.concatenate([lowest, transformed[:, :2]]).sum(axis=0, keepdims=True)
            if self.band_bins:
                n = (power.shape[1] - 1) // self.band_bins
                self.bands.append(power[:, : n * self.band_bins].reshape(len(power), n, self.band_bins).mean(axis=2))
        self._total += total[0]
        self._lowest += lowest[0]
        self._n_windows += len(windows)

    def power(self) -> Floats:
        """Mean power of the bins `[size/2 + 1]`, after the last block; what is shorter than a window is padded."""
        mean = self._sum / max(self._n_samples, 1)
        if not self._n_windows:
            short, self._sum = self._rest - mean, 0.0
            self._add(np.pad(short, (0, self.size - len(short)))[None])
            return self._total
        constant = mean * np.fft.rfft(self._taper)[:2]
        total = self._total.copy()
        total[:2] += self._n_windows * np.abs(constant) ** 2 - 2 * (constant.conj() * self._lowest).real
        return np.maximum(total, 0) / self._n_windows

    def top_hz(self, power: Floats, rate: int) -> float:
        """Highest frequency at which the power is within 60 dB of its peak; NaN of silence."""
        if not power.any():
            return math.nan
        return float(np.flatnonzero(power >= power.max() * TOP_POWER)[-1]) * rate / self.size


def spectrum(samples: Floats, rate: int) -> dict[str, float]:
    """Bandwidth, energy above band edges, the steepest edge, and holes, as far as there are such bands.

    Shape:
        `[T]`, at `rate` hertz
    """
    per_hz = LongTermSpectrum(rate).size / rate  # bins per hertz
    hole_bins, edge_bins = max(2, round(500 * per_hz)), max(1, round(250 * per_hz))
    long_term = LongTermSpectrum(rate, hole_bins)
    long_term.take(samples - samples.mean())
    total = long_term.power()
    hertz = np.arange(len(total)) / per_hz
    all_power = total.sum()
    if all_power <= 0:
        return {}
    found: dict[str, float] = {
        "bandwidth_hz": hertz[np.searchsorted(np.cumsum(total), 0.999 * all_power)],
        "top_hz": long_term.top_hz(total, rate),
    }
    for edge in (3800, 7500):
        if edge < rate / 2:
            found[f"above_{edge}_hz_db"] = decibels(total[hertz >= edge].sum() / all_power)

    levels = 10 * np.log10(np.maximum(total / total.max(), 10 ** (LOWEST_DB / 10)))
    means = np.convolve(levels, np.full(edge_bins, 1 / edge_bins), "valid")  # [i] is that of bins i ... i+edge_bins-1
    falls = means[:-edge_bins] - means[edge_bins:]  # [i] is at bin i + edge_bins
    falls, at = falls[(above := hertz[edge_bins:][: len(falls)] >= 1000)], hertz[edge_bins:][: len(falls)][above]
    if len(falls):
        found["brickwall_db"], found["brickwall_hz"] = falls.max(), at[np.argmax(falls)]

    bands = np.concatenate(long_term.bands)
    loud = bands.sum(axis=1)
    inner = bands[loud > loud.max() * 10 ** (-QUIET_DB / 10), round(2000 * per_hz) // hole_bins :]  # [L, bands]
    if inner.shape[1] > 2:
        neighbours = np.minimum(inner[:, :-2], inner[:, 2:])
        found["hole_share"] = float(np.mean(inner[:, 1:-1] < neighbours * 10 ** (-HOLE_DB / 10)))
    return found


def decibels(power: float) -> float:
    """A power in decibels, -150 at least.

    >>> decibels(100), decibels(0)
    (20.0, -150.0)
    """
    return max(LOWEST_DB, 10 * math.log10(power)) if power > 0 else LOWEST_DB
