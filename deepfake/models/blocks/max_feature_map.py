"""The activation of light CNNs: of two maps, the larger."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class MaxFeatureMap(nn.Module):
    """Element-wise maximum of the first and the second half of the channels (Wu et al., 2018; MFM 2/1).

    Two filters compete in every cell, where a ReLU has each compete with zero; half of the channels come out. The
    gradient goes to the winner, the first where they are equal.

    Shape:
        `[B, 2 D, ...]` -> `[B, D, ...]`
    """

    def forward(self, x: Tensor) -> Tensor:
        return _Maximum.apply(x) if torch.is_grad_enabled() and x.requires_grad else torch.maximum(*x.chunk(2, dim=1))


class _Maximum(torch.autograd.Function):
    """`torch.maximum` of both halves, whose own backward pass shares ties out and is several times slower on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        ctx.save_for_backward(first >= second)
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (first_wins,) = ctx.saved_tensors
        return torch.cat([gradients[0] * first_wins, gradients[0] * ~first_wins], dim=1)
