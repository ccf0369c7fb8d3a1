"""Voice conversion by a phase vocoder for the pitch and linear prediction for the formants."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.random import Generator

from deepfake.synthesis.frames import HOP, SAMPLE_RATE, Floats, linear_prediction, spectra, warped, waveform_of

SIZE = 1024
ORDER = 24


def shift_voice(waveform: Floats, rng: Generator) -> Floats:
    """Another voice: pitch shifted by 1.5 to 4 semitones, formants by 3 to 12 %, in the same direction.

    The waveform is stretched by a phase vocoder (J. Flanagan and R. Golden, 1966), resampled to its original length,
    and its frames are given the warped envelopes of the original.

    Args:
        waveform: Speech at 16 kHz.
        rng: Draws direction and amounts of the shifts.

    Shape:
        `[T]` -> `[T]`
    """
    way = rng.choice([-1, 1])
    factor, formants = 2 ** (way * rng.uniform(1.5, 4) / 12), rng.uniform(1.03, 1.12) ** way
    n = len(waveform)
    moved = soxr.resample(time_stretch(waveform, factor), SAMPLE_RATE * factor, SAMPLE_RATE, "VHQ")[:n]
    spectrum = spectra(np.pad(moved, (0, n - len(moved))), SIZE)  # [L, F]
    wanted = warped(_envelope(np.abs(spectra(waveform, SIZE)) ** 2), formants)
    spectrum *= np.exp(np.clip(wanted - _envelope(np.abs(spectrum) ** 2), -4, 4))
    edge = int(0.97 * factor * SIZE / 2)  # a lowered band ends here and is filled up with noise
    white = spectra(rng.standard_normal(n), SIZE)[:, edge:] / np.sqrt(SIZE * 3 / 8)
    spectrum[:, edge:] = white * np.exp(wanted[:, edge:])
    return waveform_of(spectrum, HOP, n)


def time_stretch(waveform: Floats, factor: float) -> Floats:
    """A waveform made ``factor`` times as long, its pitch kept."""
    n = round(len(waveform) * factor)
    at = np.arange(-(-(n + 1) // HOP)) * HOP / factor  # position in the waveform of each output frame
    whole = np.minimum(at.astype(int), len(waveform))
    padded = np.pad(waveform, (SIZE // 2 + HOP, SIZE))
    window = np.hanning(SIZE + 1)[:-1]
    here = np.fft.rfft(padded[whole[:, None] + HOP + np.arange(SIZE)] * window)
    before = np.fft.rfft(padded[whole[:, None] + np.arange(SIZE)] * window)  # a hop earlier
    phase = np.angle(here[0]) + np.pad(np.cumsum(np.angle(here[1:] * before[1:].conj()), axis=0), ((1, 0), (0, 0)))
    return waveform_of(np.abs(here) * np.exp(1j * phase), HOP, n)


def _envelope(power: Floats) -> Floats:
    """Log amplitude of the linear prediction envelopes [L, F]."""
    inverse, gain = linear_prediction(power + 1e-10, ORDER)
    return np.log(gain)[:, None] - np.log(np.abs(inverse))
