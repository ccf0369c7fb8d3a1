"""AASIST's residual block."""

from __future__ import annotations

import pytest
import torch

from deepfake.models.blocks.folded_selu import GAIN, LOG2_E, SHIFT, folded_selu_
from deepfake.models.blocks.residual import ResidualBlock


@pytest.mark.parametrize(("time_pool", "frames"), [(1, 10), (3, 3)])
@pytest.mark.parametrize("widths", [(2, 2), (2, 5)])
def test_rows_stay_and_frames_are_pooled(time_pool: int, frames: int, widths: tuple[int, int]) -> None:
    block = ResidualBlock(*widths, time_pool=time_pool)
    assert block(torch.randn(3, widths[0], 23, 10)).shape == (3, widths[1], 23, frames)


def test_the_shortcut_is_what_is_left_without_convolutions() -> None:
    block = ResidualBlock(2, 2, time_pool=3, first=True).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    torch.nn.init.zeros_(block.conv2.bias)
    x = torch.randn(1, 2, 4, 9)
    torch.testing.assert_close(block(x), x.unfold(3, 3, 3).amax(dim=4))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_selu_between_convolutions(layout: torch.memory_format) -> None:
    y = torch.cat([torch.linspace(-40, 40, 63 * 1100 - 3), torch.tensor([0.0, -1e30, 1e30])]).view(1, 7, 9, -1)
    y = y.contiguous(memory_format=layout)
    found = folded_selu_(y * LOG2_E - SHIFT) * GAIN
    torch.testing.assert_close(found, torch.selu(y), rtol=3e-6, atol=3e-6)


def test_scoring_without_gradients_is_the_same() -> None:
    block = ResidualBlock(3, 5).eval()
    for value in (*block.bn2.parameters(), *block.bn2.buffers()):
        if value.is_floating_point():
            torch.nn.init.uniform_(value, 0.5, 2.0)
    x = torch.randn(1, 3, 4, 900)
    with torch.no_grad():
        found = block(x)
    torch.testing.assert_close(found, block(x), rtol=1e-5, atol=1e-5)
    assert (found - block(x)).abs().max() > 0  # two ways
