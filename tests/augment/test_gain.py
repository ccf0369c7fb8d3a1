from __future__ import annotations

import numpy as np
import torch

from deepfake.augment.gain import Gain


def test_decibels_are_drawn_over_their_range_and_nothing_is_clipped():
    waveform = torch.tensor([0.5, -0.9, 0.01])
    gain = Gain(gain_min=-20, gain_max=6, p=1)
    drawn = []
    for seed in range(300):
        out = gain(waveform, np.random.default_rng(seed))
        ratio = out / waveform
        torch.testing.assert_close(ratio, ratio[:1].expand(3))
        drawn.append(20 * np.log10(ratio[0].item()))
    assert -20.001 <= min(drawn) < -19.5
    assert 5.5 < max(drawn) <= 6.001
    assert abs(np.mean(drawn) + 7) < 1.5
