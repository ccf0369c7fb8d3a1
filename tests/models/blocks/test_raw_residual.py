"""The residual block of RawNet2."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deepfake.models.blocks.raw_residual import RawResidualBlock


@pytest.mark.parametrize("out_channels", [3, 5])
def test_against_a_plain_formulation(out_channels: int) -> None:
    block = RawResidualBlock(3, out_channels).eval()
    x = torch.randn(2, 3, 11)

    def convolved(conv: nn.Conv1d, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[2]
        x = torch.cat([torch.zeros_like(x[..., :1]), x, torch.zeros_like(x[..., :1])], dim=2)
        taps = torch.stack([x[..., k : k + n] for k in range(3)], dim=-1)  # [B, C, L, 3]
        return torch.einsum("bclk,dck->bdl", taps, conv.weight) + conv.bias[:, None]

    out = convolved(block.conv1, x) / (1 + 1e-5) ** 0.5  # batch norm as initialised
    out = convolved(block.conv2, torch.where(out > 0, out, 0.3 * out))
    shortcut = x
    if out_channels != 3:
        fit = block.conv_downsample
        shortcut = torch.einsum("bcl,dc->bdl", x, fit.weight[..., 0]) + fit.bias[:, None]
    expected = (out + shortcut)[..., :9].reshape(2, out_channels, 3, 3).amax(dim=3)  # the last two frames are left over
    torch.testing.assert_close(block(x), expected)


def test_unused_norm_is_without_effect() -> None:
    block = RawResidualBlock(3, 3).train()
    x = torch.randn(2, 3, 9)
    before = block(x)
    nn.init.constant_(block.bn1.weight, 7.0)
    assert torch.equal(block(x), before)
    assert not hasattr(RawResidualBlock(3, 3, first=True), "bn1")
