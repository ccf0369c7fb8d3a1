"""Copy-synthesis through a mel spectrogram and Griffin-Lim."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from deepfake.datasets.demo_voice import mel_bands
from deepfake.synthesis.frames import Floats, spectra, waveform_of

SIZE, HOP = 1024, 256


def griffin_lim(waveform: Floats, rng: Generator) -> Floats:
    """Speech from its 80 mel bands, with phases by the fast Griffin-Lim algorithm (N. Perraudin et al., 2013).

    Args:
        waveform: Speech at 16 kHz.
        rng: Draws the initial phases and the number of iterations.

    Shape:
        `[T]` -> `[T]`
    """
    bands = mel_bands(80, SIZE)
    mel = np.abs(spectra(waveform, SIZE, HOP)) @ bands.T  # [L, bands]
    magnitude = np.maximum(mel @ np.linalg.pinv(bands).T, 0.1 * (mel / bands.sum(axis=1)) @ bands)  # [L, F]
    phase = np.exp(2j * np.pi * rng.random(magnitude.shape))
    before = np.zeros_like(phase)
    for _ in range(int(rng.integers(30, 61))):
        consistent = spectra(waveform_of(magnitude * phase, HOP, len(waveform)), SIZE, HOP)
        ahead = consistent + 0.99 / 1.99 * (consistent - before)
        phase, before = ahead / np.maximum(np.abs(ahead), 1e-12), consistent
    return waveform_of(magnitude * phase, HOP, len(waveform))
