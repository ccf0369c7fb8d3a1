from __future__ import annotations

import numpy as np
import pytest
import torch

from deepfake.augment.speed import Speed

N = 16_000


def tone(hz: float = 1_000.0) -> torch.Tensor:
    return torch.sin(2 * torch.pi * hz * torch.arange(N) / 16_000)


@pytest.mark.parametrize("factor", [0.8, 0.93, 1.1])
def test_pitch_and_tempo_change_together(factor):
    out = Speed(factor_min=factor, factor_max=factor, p=1)(tone(), np.random.default_rng(0)).numpy()
    part = out[1_000:11_000] * np.hanning(10_000)
    assert np.abs(np.fft.rfft(part, 160_000)).argmax() / 10 == pytest.approx(1_000 * factor, abs=1)
    np.testing.assert_allclose(
        out[1_000:11_000], np.sin(2 * np.pi * 1_000 * factor * np.arange(1_000, 11_000) / 16_000), atol=1e-3
    )


def test_a_faster_clip_is_repeated():
    out = Speed(factor_min=1.25, factor_max=1.25, p=1)(tone(), np.random.default_rng(0))
    assert torch.equal(out[12_800:], out[:3_200])


def test_a_slower_clip_loses_its_end():
    ramp = torch.linspace(0, 1, N)
    out = Speed(factor_min=0.8, factor_max=0.8, p=1)(ramp, np.random.default_rng(0))
    assert out[15_000] == pytest.approx(15_000 * 0.8 / N, abs=1e-3)


def test_factors_are_drawn_over_their_range():
    found = []
    for seed in range(60):
        out = Speed(p=1)(tone(), np.random.default_rng(seed)).numpy()[:13_000] * np.hanning(13_000)
        found.append(np.abs(np.fft.rfft(out, 160_000)).argmax() / 10 / 1_000)
    assert 0.899 < min(found) < 0.92
    assert 1.08 < max(found) < 1.101
