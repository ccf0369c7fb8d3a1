"""The convolution block of the small CNN."""

from __future__ import annotations

from torch import nn


class ConvBlock(nn.Sequential):
    """Convolution of 3 x 3, batch norm, ReLU, and max-pooling.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        pool: Rows and frames that become one.

    Shape:
        `[B, in_channels, R, L]` -> `[B, out_channels, R // pool[0], L // pool[1]]`
    """

    def __init__(self, in_channels: int, out_channels: int, pool: tuple[int, int] = (2, 2)) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.MaxPool2d(pool),
        )
