"""Self-attention over a picture against loops over its cells."""

from __future__ import annotations

import math

import pytest
import torch

from deepfake.models.blocks.self_attention import SelfAttention


def test_starts_as_the_identity():
    x = torch.randn(2, 16, 3, 5)
    assert torch.equal(SelfAttention(16)(x), x)


@pytest.mark.parametrize("channels", [3, 8, 24])
def test_against_loops_over_cells(channels):
    layer = SelfAttention(channels).double()
    layer.gamma.data.fill_(0.7)
    x = torch.randn(2, channels, 3, 4, dtype=torch.float64)
    f, g, h, v = (part.weight.detach()[:, :, 0, 0] for part in (layer.f, layer.g, layer.h, layer.v))
    assert f.shape == (max(1, channels // 8), channels)
    expected = torch.empty_like(x)
    cells = [(r, c) for r in range(3) for c in range(4)]
    for b in range(2):
        for rj, cj in cells:
            weights = [math.exp(float((f @ x[b, :, ri, ci]) @ (g @ x[b, :, rj, cj]))) for ri, ci in cells]
            total = sum(weights)
            gathered = sum(w / total * (h @ x[b, :, ri, ci]) for w, (ri, ci) in zip(weights, cells, strict=True))
            expected[b, :, rj, cj] = 0.7 * (v @ gathered) + x[b, :, rj, cj]
    torch.testing.assert_close(layer(x), expected)


def test_can_be_differentiated_twice():
    layer = SelfAttention(8).double()
    layer.gamma.data.fill_(0.5)
    x = torch.randn(1, 8, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, (x,))
