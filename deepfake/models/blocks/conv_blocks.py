"""The convolution blocks of the small CNNs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from deepfake.models.blocks.settings import require_numbers


class ConvBlocks(nn.Sequential):
    """Blocks of a convolution of 3 x 3, batch norm, ReLU, and max-pooling.

    Args:
        channels: Output channels of the blocks.
        frames: Frames that the pooling of each block makes one; rows are halved.

    Shape:
        `[B, 1, R, L]` -> `[B, channels[-1], R // 2 ** n, L // prod(frames)]`, with n blocks

    Raises:
        InputError: No channels, or a number below 1.
    """

    def __init__(self, channels: Sequence[int], frames: Sequence[int]) -> None:
        require_numbers(channels=channels)
        super().__init__(*map(_block, pairwise([1, *channels]), frames))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster pooling on a CPU

    @property
    def last_activation(self) -> nn.Module:
        """The last ReLU, before its pooling."""
        return self[-1][2]  # type: ignore[index]


def _block(channels: tuple[int, int], frames: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(*channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(channels[1]),
        nn.ReLU(),
        nn.MaxPool2d((2, frames)),
    )
