"""Fundamental frequency and voicing, by dynamic programming over autocorrelations."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

from deepfake.synthesis.frames import HOP, SAMPLE_RATE, Floats, frames, hann

SIZE = 640  # samples: 40 ms, two and a half periods of the lowest voice
LOWEST, HIGHEST = 62.5, 420.0  # hertz
VOICED = 0.5  # normalised correlation above which a frame is voiced
JUMP, SWITCH = 0.7, 0.25  # cost of a jump by an octave, and of a change of voicing


def f0(waveform: Floats) -> Floats:
    """Fundamental frequency of speech at 16 kHz, every 8 ms, 0 in unvoiced frames.

    The autocorrelation of the signal is divided by that of the window (P. Boersma, 1993); the best path through all
    lags and the unvoiced state is found by dynamic programming.

    Shape:
        `[T]` -> `[L]`, in hertz
    """
    n_fft = 2048
    power = np.abs(np.fft.rfft(frames(waveform - waveform.mean(), SIZE), n_fft)) ** 2
    low, high = int(SAMPLE_RATE / HIGHEST), int(SAMPLE_RATE / LOWEST) + 1
    window = np.fft.irfft(np.abs(np.fft.rfft(hann(SIZE), n_fft)) ** 2)
    loudness = power.sum(axis=1)
    correlation = np.fft.irfft(power)[:, low - 1 : high + 2] / np.maximum(np.fft.irfft(power)[:, :1], 1e-12)
    correlation *= window[0] / window[low - 1 : high + 2]  # [L, lags + 2]
    lags = np.arange(low, high + 1)
    octaves = np.log2(lags)
    score = correlation[:, 1:-1] - 0.02 * (octaves - octaves[0])  # prefers the shorter of two periods
    silent = np.clip(-np.log10(loudness / (loudness.max() + 1e-12) + 1e-12) - 3.0, 0, 1)  # from 30 dB below the loudest
    step = JUMP * np.abs(octaves[:, None] - octaves)  # [to, from]

    best, none = score[0].copy(), VOICED + silent[0]
    back = np.zeros((len(score), len(lags) + 1), dtype=int)
    for i in range(1, len(score)):
        moves = best - step
        from_voice, to_none = moves.argmax(axis=1), int(best.argmax())
        stay = moves[np.arange(len(lags)), from_voice]
        back[i, :-1] = np.where(stay >= none - SWITCH, from_voice, len(lags))
        back[i, -1] = len(lags) if none >= best[to_none] - SWITCH else to_none
        none, best = (
            max(none, best[to_none] - SWITCH) + VOICED + silent[i],
            np.maximum(stay, none - SWITCH) + score[i],
        )
    path = np.zeros(len(score), dtype=int)
    path[-1] = len(lags) if none > best.max() else int(best.argmax())
    for i in range(len(score) - 1, 0, -1):
        path[i - 1] = back[i, path[i]]

    voiced = path < len(lags)
    at = np.where(voiced, path, 0)
    row = np.arange(len(score))
    left, middle, right = (correlation[row, at + k] for k in (0, 1, 2))  # a parabola through three lags
    bend = left - 2 * middle + right
    shift = np.clip(np.where(bend < -1e-9, 0.5 * (left - right) / np.minimum(bend, -1e-9), 0), -0.5, 0.5)
    return np.where(voiced, SAMPLE_RATE / (lags[at] + shift), 0.0)


def continuous(track: Floats, otherwise: float = 120.0) -> Floats:
    """A pitch track [L] interpolated over unvoiced frames, without single outliers."""
    voiced = np.flatnonzero(track > 0)
    if not len(voiced):
        return np.full(len(track), otherwise)
    return median_filter(np.interp(np.arange(len(track)), voiced, track[voiced]), 3, mode="nearest")


def at_samples(track: Floats, n_samples: int) -> Floats:
    """A track [L] of frames, interpolated at each of ``n_samples``."""
    return np.interp(np.arange(n_samples), np.arange(len(track)) * HOP, track)
