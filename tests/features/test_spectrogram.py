"""Triangular filters and the power spectrogram."""

from __future__ import annotations

import numpy as np
import torch

from deepfake.features.spectrogram import Spectrogram, triangles


def test_triangles_peak_at_their_centres_and_sum_to_one_between():
    filters = triangles(np.linspace(0, 8_000, 17), 512, 16_000)  # corners on bins: every 16th
    assert filters.shape == (15, 257)
    assert np.allclose(filters.argmax(axis=1), 16 * np.arange(1, 16))
    assert np.allclose(filters.sum(axis=0)[16:-16], 1.0)
    assert np.allclose(filters[:, [0, -1]], 0.0)


def test_power_is_parsevals():
    """With every bin in one band, a frame's power is its windowed energy, bins 1 to F - 2 counting once of twice."""
    weights = np.full((1, 33), 2.0)
    weights[0, [0, -1]] = 1.0
    spectrogram = Spectrogram(
        window=torch.hann_window(64), filterbank=weights, sample_rate=16_000, n_fft=64, hop_length=32
    )
    x = torch.randn(1, 640)
    power = spectrogram(x)
    assert power.shape == (1, 1, 21)
    energy = (x[0, 96:160] * torch.hann_window(64)).square().sum()
    assert torch.allclose(power[0, 0, 4] / 64, energy, rtol=1e-4)
