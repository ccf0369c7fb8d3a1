from __future__ import annotations

import numpy as np
import torch

from deepfake.augment.mask import Mask

N = 16_000


def test_stretches_are_silent_and_the_rest_is_as_it_was():
    waveform = torch.rand(N) + 0.5
    covered, lengths = np.zeros(N, bool), []
    for seed in range(200):
        out = Mask(n_times=1, seconds_max=0.1, n_bands=0, p=1)(waveform, np.random.default_rng(seed))
        silent = np.flatnonzero(out.numpy() == 0)
        assert len(silent) <= 1_600
        assert len(silent) == 0 or silent[-1] - silent[0] + 1 == len(silent)
        assert torch.equal(out[out != 0], waveform[out != 0])
        covered[silent] = True
        lengths.append(len(silent))
    assert covered.mean() > 0.95
    assert max(lengths) > 1_500
    assert min(lengths) < 100


def test_two_stretches():
    counts = []
    for seed in range(50):
        out = Mask(n_times=2, seconds_max=0.1, n_bands=0, p=1)(torch.ones(N), np.random.default_rng(seed)).numpy()
        counts.append(int((np.diff(out, prepend=1.0) == -1).sum()))
    assert max(counts) == 2


def test_a_band_is_stopped_and_the_rest_passes():
    impulse = torch.zeros(2 * N)
    impulse[N] = 1
    hz, widths, centres = np.fft.rfftfreq(2 * N, 1 / 16_000), [], []
    for seed in range(60):
        out = Mask(n_times=0, hz_max=2_000, p=1)(impulse, np.random.default_rng(seed)).numpy()
        gain = np.fft.rfft(np.roll(out, -N))
        assert np.abs(gain.imag).max() < 1e-4  # no delay
        stopped = hz[gain.real < 0.5]
        if len(stopped):
            low, high = stopped[0], stopped[-1]
            outside = (hz < low - 100) | (hz > high + 100)
            assert np.abs(gain[outside] - 1).max() < 0.02
            inside = (hz > low + 150) & (hz < high - 150)
            assert not inside.any() or np.abs(gain[inside]).max() < 0.02
            widths.append(high - low)
            centres.append((low + high) / 2)
    assert 1_700 < max(widths) < 2_020
    assert min(centres) < 1_500
    assert max(centres) > 6_500


def test_a_stretch_longer_than_the_clip():
    out = Mask(n_times=1, seconds_max=5, n_bands=0, p=1)(torch.ones(100), np.random.default_rng(0))
    assert not out.any()
