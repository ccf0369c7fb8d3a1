from __future__ import annotations

import numpy as np
import pytest
import torch

from deepfake.augment.band_limit import BandLimit

N = 32_000


def response(augment: BandLimit, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Complex gain by frequency, from an impulse in the middle, without its delay."""
    impulse = torch.zeros(N)
    impulse[N // 2] = 1
    out = augment(impulse, np.random.default_rng(seed)).numpy()
    return np.fft.rfftfreq(N, 1 / 16_000), np.fft.rfft(np.roll(out, -N // 2))


@pytest.mark.parametrize("cutoff", [3_000.0, 5_500.0])
def test_low_pass(cutoff):
    hz, gain = response(BandLimit(cutoff_min=cutoff, cutoff_max=cutoff, telephone=0, p=1), 0)
    assert np.abs(gain.imag).max() < 1e-4  # no delay
    assert np.abs(gain[hz < cutoff - 150] - 1).max() < 0.01
    assert np.abs(gain[hz > cutoff + 150]).max() < 0.01
    assert np.abs(gain[np.abs(hz - cutoff).argmin()]) == pytest.approx(0.5, abs=0.02)


def test_telephone():
    hz, gain = response(BandLimit(telephone=1, p=1), 0)
    assert np.abs(gain.imag).max() < 1e-4
    assert np.abs(gain[(hz > 400) & (hz < 3_300)] - 1).max() < 0.01
    assert np.abs(gain[(hz < 200) | (hz > 3_500)]).max() < 0.01


def test_both_are_drawn():
    cut = [response(BandLimit(telephone=0.3, p=1), seed)[1] for seed in range(60)]
    telephones = sum(np.abs(gain[0]) < 0.1 for gain in cut)
    assert 8 < telephones < 30
