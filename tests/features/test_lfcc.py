"""LFCC against an implementation from the baseline's definition: frames cut by hand, scipy's DCT, loops."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch
from scipy.signal.windows import hamming

from deepfake.features.lfcc import LFCC, difference


def baseline_static(x: np.ndarray) -> np.ndarray:
    """Static coefficients `[20, L]`, no frame reaching beyond the ends (the ASVspoof 2019 baseline's framing)."""
    x = scipy.signal.lfilter([1, -0.97], 1, x)
    hz = np.linspace(0, 8_000, 257)
    corners = np.linspace(0, 8_000, 22)
    columns = []
    for start in range(0, len(x) - 320 + 1, 160):
        power = np.abs(np.fft.fft(x[start : start + 320] * hamming(320, sym=False), 512)[:257]) ** 2
        energies = []
        for low, centre, high in zip(corners, corners[1:], corners[2:], strict=False):
            weights = [(f - low) / (centre - low) if f <= centre else (high - f) / (high - centre) for f in hz]
            energies.append(np.sum(power * np.clip(weights, 0, None)))
        columns.append(scipy.fft.dct(np.log10(np.array(energies) + np.finfo(np.float32).eps), type=2, norm="ortho"))
    return np.array(columns).T


def baseline_deltas(x: np.ndarray) -> np.ndarray:
    """Three-frame differences by a filter over the edge-padded sequence, as the baseline's `deltas(x, 3)`."""
    padded = np.concatenate([x[:, :1], x, x[:, -1:]], axis=1)
    return scipy.signal.lfilter([1, 0, -1], 1, padded, axis=1)[:, 2:]


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return np.random.default_rng(0).normal(scale=0.05, size=16_000)


def test_static_coefficients_are_the_baselines(samples):
    out = LFCC()(torch.from_numpy(samples)[None].float())[0].numpy()
    expected = baseline_static(samples)
    assert out.shape == (60, 101)
    # Ours are centred: frame l + 1 here is frame l there; the first and last reach over the ends.
    np.testing.assert_allclose(out[:20, 1 : 1 + expected.shape[1]], expected, atol=1e-4)


def test_deltas_are_the_baselines(samples):
    out = LFCC()(torch.from_numpy(samples)[None].float())[0].double().numpy()
    deltas = baseline_deltas(out[:20])
    np.testing.assert_allclose(out[20:40], deltas, atol=1e-5)
    np.testing.assert_allclose(out[40:], baseline_deltas(deltas), atol=1e-5)


def test_difference_of_a_ramp():
    assert difference(torch.arange(5.0)[None, None])[0, 0].tolist() == [1.0, 2.0, 2.0, 2.0, 1.0]


def test_window_with_the_other_hamming_is_noticed(samples):
    """The comparison above is fine enough to tell a periodic window from a symmetric one."""
    out = LFCC()
    out.spectrogram.window.copy_(torch.hamming_window(320, periodic=False))
    difference_to_baseline = out(torch.from_numpy(samples)[None].float())[0, :20, 1:100].numpy() - baseline_static(
        samples
    )
    assert np.abs(difference_to_baseline).max() > 1e-3
