"""Copy-synthesis by linear prediction: filtered pulses and noise."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from deepfake.datasets.demo_voice import pulses, smooth
from deepfake.synthesis.frames import HOP, Floats, linear_prediction, overlap_add, spectra
from deepfake.synthesis.pitch import at_samples, continuous, f0

SIZE, N_FFT = 512, 1024  # twice the frame, so that the filters' decay does not wrap around


def lpc_vocoder(waveform: Floats, rng: Generator) -> Floats:
    """Speech as pulses and noise through linear prediction filters (B. Atal and S. Hanauer, 1971).

    Args:
        waveform: Speech at 16 kHz.
        rng: Draws the order of the filters, 18 to 24, the noise, and its level in voiced speech.

    Shape:
        `[T]` -> `[T]`
    """
    power = np.abs(spectra(waveform, SIZE, n_fft=N_FFT)) ** 2 + 1e-12  # [L, F]
    inverse, _ = linear_prediction(power, int(rng.integers(18, 25)))
    track = f0(waveform)
    voiced = at_samples(smooth((track > 0).astype(float), 3), len(waveform))
    hiss = rng.uniform(0.1, 0.4)
    noise = rng.standard_normal(len(waveform)) * (1 - voiced * (1 - hiss))
    pitch = at_samples(continuous(track), len(waveform))
    excitation = pulses(pitch, rng.uniform(0, 0.01), rng.uniform(0, 0.1), rng) * voiced + noise
    spectrum = spectra(excitation, SIZE, n_fft=N_FFT) / inverse
    spectrum *= np.sqrt(power.sum(1) / (np.sum(np.abs(spectrum) ** 2, axis=1) + 1e-12))[:, None]  # level of the input
    return overlap_add(np.fft.irfft(spectrum), HOP, len(waveform)) / 2
