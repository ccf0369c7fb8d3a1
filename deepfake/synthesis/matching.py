"""Matching of a spoof to its bona fide partner, and the output chain of both classes.

Without them level, pauses, band edges and background separate the classes, and a detector need not learn the artefacts
of the synthesis at all (N. Müller et al. 2021 for silence in ASVspoof).
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, uniform_filter1d
from scipy.signal import butter, sosfiltfilt

from deepfake.synthesis.frames import SAMPLE_RATE, Floats, spectra, waveform_of

FRAME = 160  # samples: 10 ms, over which levels are measured
SIZE, HOP = 512, 128
LOWEST_DB = -100.0
LIMIT_DB = 20.0  # of the spectrum's correction; that of a frame's level is 30
JITTER_DB = 0.5
PEAK = 0.97


def high_passed(waveform: Floats) -> Floats:
    """The waveform high-passed at 50 Hz, which also removes a DC offset."""
    edge = min(3 * 2 * SAMPLE_RATE // 100, len(waveform) - 1)
    return sosfiltfilt(butter(2, 50, "highpass", fs=SAMPLE_RATE, output="sos"), waveform, padlen=edge).copy()


def matched(spoof: Floats, partner: Floats, rng: Generator) -> Floats:
    """A spoof with its partner's smoothed long-term spectrum, noise floor, distribution of levels, level and peak.

    Vocoders align phases, which raises peaks by about 1 dB; they are limited to at most 1 dB above the partner's.

    Args:
        spoof: Spoofed speech of any level.
        partner: Bona fide speech to match.
        rng: Draws the noise floor and the peak.

    Shape:
        `[T]`, `[T]` -> `[T]`
    """
    spoof = high_passed(spoof)
    spoof = spoof * _rms(partner) / max(_rms(spoof), 1e-9)
    spoof = coloured(spoof, partner)
    spoof = spoof + _missing_floor(spoof, partner, rng)
    for _ in range(2):
        spoof = coloured(_levelled(spoof, partner), partner)
    spoof = _levelled(spoof, partner)
    peak = np.abs(partner).max() * rng.uniform(1.0, 1.12)
    for _ in range(2):
        spoof = _limited(spoof * _rms(partner) / max(_rms(spoof), 1e-9), peak)
    return spoof


def output_chain(waveform: Floats, partner: Floats, rng: Generator) -> np.ndarray:
    """The output chain of both classes: level, peak limit, polarity, dither, 16 bits.

    Args:
        waveform: Speech of either class, high-passed, at its partner's level.
        partner: Bona fide speech whose level it keeps within 0.5 dB; for bona fide speech, itself.
        rng: Draws level, polarity and dither.

    Shape:
        `[T]` -> `[T]` int16
    """
    gain = 10 ** (rng.uniform(-JITTER_DB, JITTER_DB) / 20)
    gain *= min(1.0, PEAK / (gain * max(np.abs(waveform).max(), np.abs(partner).max(), 1e-9)))
    gain *= rng.choice([-1, 1])
    waveform = waveform - waveform.mean()
    dither = rng.random(len(waveform)) - rng.random(len(waveform))  # triangular, one step
    return np.round(waveform * gain * 32767 + dither).clip(-32768, 32767).astype(np.int16)


def coloured(waveform: Floats, partner: Floats) -> Floats:
    """The waveform with the partner's smoothed long-term spectrum."""
    here, there = (_long_term(x) for x in (waveform, partner))
    gain = np.clip(there - here, -LIMIT_DB, LIMIT_DB)
    n_fft = 2 ** int(np.ceil(np.log2(len(waveform) + SIZE)))
    bins = np.linspace(0, len(gain) - 1, n_fft // 2 + 1)
    filtered = np.fft.irfft(np.fft.rfft(waveform, n_fft) * 10 ** (np.interp(bins, np.arange(len(gain)), gain) / 20))
    return filtered[: len(waveform)]


def floor(waveform: Floats) -> Floats:
    """Power [F] of stationary noise: the lowest quintile over time in each bin, corrected as for Gaussian noise."""
    power = np.abs(spectra(waveform, SIZE, HOP)) ** 2
    return gaussian_filter1d(np.quantile(power, 0.2, axis=0), 2.0, mode="nearest") / -np.log(0.8)


def _missing_floor(waveform: Floats, partner: Floats, rng: Generator) -> Floats:
    """Gaussian noise [T] that raises the waveform's noise floor to the partner's."""
    here, there = floor(waveform), floor(partner)
    lack = np.where(there > 2 * here, there - here, 0)
    white = spectra(rng.standard_normal(len(waveform)), SIZE, HOP)
    return waveform_of(white * np.sqrt(lack / (SIZE * 3 / 8)), HOP, len(waveform))


def _levelled(waveform: Floats, partner: Floats) -> Floats:
    """The waveform with time-varying gain, so that its frame levels are distributed as the partner's."""
    here, there = (levels(x) for x in (waveform, partner))
    share = np.linspace(0, 1, 41)
    knots = np.maximum.accumulate(np.quantile(here, share)) + 1e-6 * np.arange(41)
    gain = np.clip(np.interp(here, knots, np.quantile(there, share)) - here, -30, 30)
    gain = gaussian_filter1d(gain, 1.0, mode="nearest")
    at = (np.arange(len(gain)) + 0.5) * FRAME
    return waveform * 10 ** (np.interp(np.arange(len(waveform)), at, gain) / 20)


def _limited(waveform: Floats, peak: float) -> Floats:
    """The waveform limited to ``peak`` by gains over a few milliseconds.

    Samples above three quarters of the peak are compressed, not clipped: peaks of equal height would be an artefact.
    """
    knee, largest = 0.75 * peak, np.abs(waveform).max()
    if largest <= peak:
        return waveform
    local = np.maximum(maximum_filter1d(np.abs(waveform), 33), knee)
    return waveform * uniform_filter1d((knee + (local - knee) * (peak - knee) / (largest - knee)) / local, 33)


def levels(waveform: Floats) -> Floats:
    """Level of each 10 ms in dB, [L]."""
    whole = waveform[: len(waveform) // FRAME * FRAME].reshape(-1, FRAME)
    return np.maximum(10 * np.log10(np.mean(whole**2, axis=1) + 1e-12), LOWEST_DB)


def _long_term(waveform: Floats) -> Floats:
    """Long-term spectrum in dB, smoothed over about 100 Hz, [F]."""
    power = np.mean(np.abs(spectra(waveform, SIZE, HOP)) ** 2, axis=0)
    return gaussian_filter1d(10 * np.log10(power + 1e-12), 1.5, mode="nearest")


def _rms(waveform: Floats) -> float:
    return float(np.sqrt(np.mean(waveform**2)))
