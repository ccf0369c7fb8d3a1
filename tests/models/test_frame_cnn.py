from __future__ import annotations

import math

import pytest
import torch

from deepfake.errors import InputError
from deepfake.models.frame_cnn import FrameCNN


@pytest.mark.parametrize(("bands", "frames"), [(80, 401), (16, 2), (60, 101)])
def test_a_logit_for_each_pair_of_frames(bands, frames):
    model = FrameCNN(in_channels=bands).eval()
    features = torch.randn(2, bands, frames)
    assert model.frames(features).shape == (2, frames // 2) and model(features).shape == (2, 1)


def test_a_clip_is_spoofed_as_far_as_any_frame_is():
    model = FrameCNN(in_channels=80)
    frames = torch.tensor([[4.0, 4.0, 4.0, -9.0], [4.0, 4.0, 4.0, 4.0]])
    odds = [sum(math.exp(-x) for x in row) / 4 for row in frames.tolist()]
    torch.testing.assert_close(model.pooled(frames)[:, 0], torch.tensor([-math.log(o) for o in odds]))


def test_a_frame_hears_its_surroundings_and_no_further():
    torch.manual_seed(0)
    model = FrameCNN(in_channels=16, dilations=[1, 2]).eval()
    features = torch.randn(1, 16, 200, requires_grad=True)
    model.frames(features)[0, 50].backward()
    reached = features.grad.abs().sum((0, 1)).nonzero().flatten()
    # four convolutions of 3 frames, the first before the pooling by two; then three frames to either side
    assert reached.min() >= 100 - 2 * (3 + 3) - 1 and reached.max() <= 101 + 2 * (3 + 3) + 1
    assert reached.min() < 100 - 2 * 3


def test_what_cannot_be_used_is_said():
    with pytest.raises(InputError, match="raw audio"):
        FrameCNN(in_channels=1)
    with pytest.raises(InputError, match="at least 2 frames"):
        FrameCNN(in_channels=16)(torch.randn(1, 16, 1))
    with pytest.raises(InputError, match=r"dilations=\[0\]"):
        FrameCNN(in_channels=16, dilations=[0])
