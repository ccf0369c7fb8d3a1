"""Binary cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.errors import InputError


class BCE(nn.Module):
    r"""Binary cross-entropy of the log-odds, \( \log(1 + e^{-s}) \) for bona fide and \( \log(1 + e^{s}) \) for spoof.

    Args:
        pos_weight: Weight of bona fide speech in the loss, positive. Unlike in `CrossEntropy` the mean is over the
            batch, not over the weights, so it also scales the loss.

    Shape:
        score `[B]`, label `[B]` (1 is bona fide; between the classes after mixup) -> scalar

    Raises:
        InputError: `pos_weight` is not positive.
    """

    pos_weight: Tensor

    def __init__(self, *, pos_weight: float = 1.0) -> None:
        super().__init__()
        if pos_weight <= 0:
            raise InputError(f"loss.pos_weight={pos_weight}: a positive number was expected")
        self.register_buffer("pos_weight", torch.tensor(float(pos_weight)), persistent=False)

    def forward(self, score: Tensor, label: Tensor) -> Tensor:
        weight = self.pos_weight.to(score.dtype)
        return F.binary_cross_entropy_with_logits(score, label.to(score.dtype), pos_weight=weight)
