"""Max-feature-map."""

from __future__ import annotations

import pytest
import torch

from deepfake.models.blocks.max_feature_map import MaxFeatureMap


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_each_channel_competes_with_the_one_half_the_channels_away(layout) -> None:
    x = torch.randn(2, 6, 4, 5).contiguous(memory_format=layout).requires_grad_()
    plain = torch.stack([torch.stack([x[:, k], x[:, k + 3]]).amax(0) for k in range(3)], dim=1)
    out = MaxFeatureMap()(x)
    assert torch.equal(out, plain)
    assert torch.equal(MaxFeatureMap()(x.detach()), plain)  # the way without a gradient
    weights = torch.randn(2, 3, 4, 5)
    (gradient,) = torch.autograd.grad((out * weights).sum(), x)
    (expected,) = torch.autograd.grad((plain * weights).sum(), x)
    assert torch.equal(gradient, expected)


def test_of_two_equals_the_first_has_the_gradient() -> None:
    x = torch.zeros(1, 2, 1, 1, requires_grad=True)
    MaxFeatureMap()(x).sum().backward()
    assert x.grad is not None and x.grad.flatten().tolist() == [1, 0]


def test_its_gradient_has_a_gradient() -> None:
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda v: MaxFeatureMap()(v).pow(2), x)
