"""Self-attention over the cells of a map."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    r"""Each cell of a map attends to all cells, as in SAGAN (Zhang et al., 2019, equations 1 to 3).

    \(\beta_{ji} = \mathrm{softmax}_i\, f(x_i)^\top g(x_j)\), \(o_j = v\big(\sum_i \beta_{ji} h(x_i)\big)\),
    \(y_j = \gamma o_j + x_j\), with f, g, h and v as 1 x 1 convolutions and an eighth of the channels in between. The
    scale \(\gamma\) starts at 0: a network first learns from neighbours, then from distant cells. Memory grows with the
    square of the number of cells. Written as matrix products, because the fused kernels cannot be differentiated twice,
    as a gradient penalty requires.

    Args:
        channels: Channels of the map.

    Shape:
        `[B, D, R, L]` -> `[B, D, R, L]`, with R rows
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8)
        self.f = nn.Conv2d(channels, inner, kernel_size=1, bias=False)
        self.g = nn.Conv2d(channels, inner, kernel_size=1, bias=False)
        self.h = nn.Conv2d(channels, inner, kernel_size=1, bias=False)
        self.v = nn.Conv2d(inner, channels, kernel_size=1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        f, g, h = (layer(x).flatten(2) for layer in (self.f, self.g, self.h))  # [B, D / 8, N] each, N = R L cells
        attention = (f.transpose(1, 2) @ g).softmax(dim=1)  # [B, N, N]: how much of cell i goes to cell j
        gathered = (h @ attention).unflatten(2, x.shape[2:])  # [B, D / 8, R, L]
        return self.gamma * self.v(gathered) + x
