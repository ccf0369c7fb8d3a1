"""Copy-synthesis by harmonics below a maximum voiced frequency and noise above it."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.ndimage import uniform_filter1d

from deepfake.datasets.demo_voice import smooth
from deepfake.synthesis.frames import HOP, SAMPLE_RATE, Floats, hann, minimum_phase, spectra, waveform_of
from deepfake.synthesis.pitch import at_samples, continuous, f0

SIZE = 640  # samples of a frame
N_FFT = 1024


def harmonic_plus_noise(waveform: Floats, rng: Generator) -> Floats:
    """Speech as minimum-phase harmonics plus noise (Y. Stylianou, 2001).

    Args:
        waveform: Speech at 16 kHz.
        rng: Draws the maximum voiced frequency, 3.5 to 6 kHz, and the noise.

    Shape:
        `[T]` -> `[T]`
    """
    n = len(waveform)
    track = f0(waveform)
    pitch, voiced = continuous(track), smooth((track > 0).astype(float), 3)
    border = rng.uniform(3500, 6000)  # Hz
    magnitude = np.abs(spectra(waveform, SIZE, n_fft=N_FFT))  # [L, F]
    hz = np.fft.rfftfreq(N_FFT, 1 / SAMPLE_RATE)
    return _harmonics(magnitude, pitch, voiced, border, n) + _noise(magnitude, voiced, hz > border, n, rng)


def _harmonics(magnitude: Floats, pitch: Floats, voiced: Floats, border: float, n: int) -> Floats:
    """Sinusoids at multiples of the pitch [L], up to a border in hertz."""
    per_bin = SAMPLE_RATE / N_FFT
    row = np.arange(len(pitch))
    multiples = np.arange(1, int(border / pitch.min()) + 1)
    position = np.minimum(pitch[:, None] * multiples / per_bin, magnitude.shape[1] - 2)  # [L, K]
    low = position.astype(int)
    heights = np.maximum(magnitude[row[:, None], low], magnitude[row[:, None], low + 1])
    amplitude = heights * 2 / hann(SIZE).sum()
    envelope = np.stack(
        [np.interp(np.arange(magnitude.shape[1]), p, h) for p, h in zip(position, heights, strict=True)]
    )
    phases = np.unwrap(minimum_phase(np.log(envelope + 1e-6)), axis=0)
    turn = 2 * np.pi * np.cumsum(at_samples(pitch, n)) / SAMPLE_RATE
    out = np.zeros(n)
    for k in multiples:
        there = voiced * np.clip((border - k * pitch) / 100, 0, 1)  # faded out over 100 Hz
        if there.any():
            own = at_samples(amplitude[:, k - 1] * there, n)
            out += own * np.cos(k * turn + at_samples(phases[row, low[:, k - 1]], n))
    return out


def _noise(magnitude: Floats, voiced: Floats, above: np.ndarray, n: int, rng: Generator) -> Floats:
    """Noise with the smoothed spectrum: in unvoiced frames at all frequencies, in voiced ones above the border."""
    white = spectra(rng.standard_normal(n), N_FFT, HOP)  # [L, F]
    level = np.sqrt(uniform_filter1d(magnitude**2, 9, axis=1)) / np.sqrt(np.sum(hann(SIZE) ** 2))
    share = np.sqrt(above + (1 - voiced[:, None]) * ~above)
    return waveform_of(white * level * share, HOP, n)
