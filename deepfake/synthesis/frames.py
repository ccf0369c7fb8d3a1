"""Overlapping frames, overlap-add and spectral envelopes: the basis of the vocoders, in numpy.

Axes: ``T`` samples, ``L`` frames, ``F`` frequency bins.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

SAMPLE_RATE = 16_000
HOP = 128  # samples: 8 ms


def hann(size: int) -> Floats:
    """Periodic Hann window [size]."""
    return np.hanning(size + 1)[:-1]


def frames(waveform: Floats, size: int, hop: int = HOP) -> Floats:
    """Hann-windowed frames [L, size] of a waveform [T], frame l centred on sample ``l * hop``."""
    padded = np.pad(waveform, size // 2)
    return sliding_window_view(np.pad(padded, (0, hop)), size)[: -(-(len(waveform) + 1) // hop) * hop : hop] * hann(
        size
    )


def overlap_add(pieces: Floats, hop: int, n_samples: int) -> Floats:
    """Sum of frames [L, size] placed ``hop`` samples apart, [n_samples]; the inverse of the framing by `frames`."""
    n, size = pieces.shape
    out = np.zeros(n * hop + size)
    for i, piece in enumerate(pieces):
        out[i * hop : i * hop + size] += piece
    out = out[size // 2 : size // 2 + n_samples]
    return np.pad(out, (0, n_samples - len(out)))


def spectra(waveform: Floats, size: int, hop: int = HOP, n_fft: int | None = None) -> Complexes:
    """Spectrum of each frame, [L, F]."""
    return np.fft.rfft(frames(waveform, size, hop), n_fft or size)


def waveform_of(spectrum: Complexes, hop: int, n_samples: int) -> Floats:
    """The waveform [n_samples] whose spectra are closest to the given ones (D. Griffin and J. Lim, 1984, eq. 6)."""
    size = 2 * (spectrum.shape[1] - 1)
    window = hann(size)
    weight = overlap_add(np.broadcast_to(window**2, (len(spectrum), size)), hop, n_samples)
    return overlap_add(np.fft.irfft(spectrum, size) * window, hop, n_samples) / np.maximum(weight, 1e-3)


def minimum_phase(log_magnitude: Floats) -> Floats:
    """Phase [L, F] in radians of the minimum-phase filters with log magnitudes [L, F], by the folded cepstrum."""
    cepstrum = np.fft.irfft(log_magnitude)
    n = cepstrum.shape[1]
    cepstrum[:, 1 : n // 2] *= 2
    cepstrum[:, n // 2 + 1 :] = 0
    return np.fft.rfft(cepstrum).imag


def linear_prediction(power: Floats, order: int) -> tuple[Complexes, Floats]:
    """Linear prediction of spectra (J. Makhoul, 1975).

    Args:
        power: Power spectra.
        order: Order of the predictor.

    Returns:
        Frequency responses of the inverse filters, and gains: `gain / |inverse|` is the amplitude envelope.

    Shape:
        `[L, F]` -> `[L, F]` complex, `[L]`
    """
    correlation = np.fft.irfft(power)[:, : order + 1]  # [L, lags]
    correlation = correlation + 1e-12
    correlation[:, 0] *= 1 + 1e-5
    lag = np.abs(np.arange(order)[:, None] - np.arange(order))
    weights = np.linalg.solve(correlation[:, lag], correlation[:, 1:, None])[:, :, 0]  # [L, order]
    error = correlation[:, 0] - np.sum(weights * correlation[:, 1:], axis=1)
    inverse = np.fft.rfft(np.pad(-weights, ((0, 0), (1, 0))) + np.eye(1, order + 1), 2 * (power.shape[1] - 1))
    return inverse, np.sqrt(np.maximum(error, 1e-12))


def warped(rows: Floats, factor: float) -> Floats:
    """Rows [L, F] whose frequency axis is scaled by a factor; beyond the band the last value is repeated."""
    at = np.minimum(np.arange(rows.shape[1]) / factor, rows.shape[1] - 1)
    low = np.minimum(at.astype(int), rows.shape[1] - 2)
    return rows[:, low] + (rows[:, low + 1] - rows[:, low]) * (at - low)
