"""AASIST's residual block."""

from __future__ import annotations

import pytest
import torch

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
