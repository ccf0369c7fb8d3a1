"""Attention over filters: each channel's map is scaled and shifted by how much it matters."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FeatureMapScaling(nn.Sequential):
    r"""Filter-wise feature map scaling, FMS (Jung et al., Interspeech 2020).

    The mean of each channel over time, through one layer and a sigmoid, is a scale \(s\) per channel, which the map is
    multiplied by and which is added to it: \(x s + s\).

    Args:
        n_channels: Channels of the map.

    Shape:
        `[B, D, L]` -> `[B, D, L]`
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__(nn.Linear(n_channels, n_channels))

    def forward(self, input: Tensor) -> Tensor:
        scale = torch.sigmoid(super().forward(input.mean(dim=2))).unsqueeze(2)  # [B, D, 1]
        return input * scale + scale
