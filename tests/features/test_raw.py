"""The raw front end."""

from __future__ import annotations

import torch

from deepfake.features.raw import Raw


def test_is_the_waveform_as_one_channel():
    waveform = torch.randn(2, 100)
    front_end = Raw(sample_rate=8_000)
    assert torch.equal(front_end(waveform), waveform[:, None, :])
    assert front_end.n_channels == 1
    assert front_end.frames_per_second == 8_000
