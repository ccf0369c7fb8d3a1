"""The residual block of RawNet2."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.3  # of the leaky ReLU


class RawResidualBlock(nn.Module):
    """Two convolutions of 3 over time with a shortcut, then a maximum over three neighbouring frames.

    As in the ASVspoof 2021 baseline (Tak et al., 2021). Every block but the first has a batch norm `bn1` whose output
    the authors compute and throw away: it is not computed here, and its weights stay, frozen, so that checkpoints and
    parameter counts agree, as in AASIST's `ResidualBlock`, which descends from this one.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out; a convolution of 1 fits the shortcut where they differ.
        first: The encoder's first block, which has no `bn1`.

    Shape:
        `[B, in_channels, L]` -> `[B, out_channels, L // 3]`
    """

    def __init__(self, in_channels: int, out_channels: int, *, first: bool = False) -> None:
        super().__init__()
        if not first:
            self.bn1 = nn.BatchNorm1d(in_channels).requires_grad_(False)
        self.conv1 = nn.Conv1d(in_channels, out_channels, kernel_size=3, padding=1)
        self.bn2 = nn.BatchNorm1d(out_channels)
        self.conv2 = nn.Conv1d(out_channels, out_channels, kernel_size=3, padding=1)
        self.conv_downsample: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.conv_downsample = nn.Conv1d(in_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.conv_downsample(x)
        out = F.leaky_relu(self.bn2(self.conv1(x)), SLOPE, inplace=True)  # in place, for memory in training
        return F.max_pool1d(self.conv2(out) + shortcut, 3)  # [B, C, L // 3]
