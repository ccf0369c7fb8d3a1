"""Cross-entropy of two classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.errors import InputError


class CrossEntropy(nn.Module):
    r"""Weighted cross-entropy of the logits (0, score).

    Softmax depends on differences only, so for a network with two logits this is their cross-entropy:
    \( \sum_i w_{y_i} \log(1 + e^{\mp s_i}) / \sum_i w_{y_i} \), the upper sign for bona fide. The mean is over the
    weights, not the batch, as in torch and in AASIST's recipe of [0.1, 0.9]; for labels between the classes, which
    torch takes as probabilities, it is over the batch.

    Args:
        class_weights: Weights of spoof and bona fide, in this order, positive; None weights both by 1.
        label_smoothing: Share of the label that is spread evenly over both classes, in [0, 1).

    Shape:
        score `[B]`, label `[B]` (1 is bona fide; between the classes after mixup) -> scalar

    Raises:
        InputError: Other than two positive weights, or a smoothing out of range.
    """

    class_weights: Tensor | None

    def __init__(self, *, class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if class_weights is not None and (len(class_weights) != 2 or min(class_weights) <= 0):
            raise InputError(
                f"loss.class_weights={list(class_weights)}: two positive numbers, [spoof, bona fide], were expected"
            )
        if not 0 <= label_smoothing < 1:
            raise InputError(f"loss.label_smoothing={label_smoothing}: a number from 0 to below 1 was expected")
        weights = None if class_weights is None else torch.tensor(list(class_weights), dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)
        self.label_smoothing = label_smoothing

    def forward(self, score: Tensor, label: Tensor) -> Tensor:
        logits = torch.stack([torch.zeros_like(score), score], dim=1)  # [B, 2]
        weights = None if self.class_weights is None else self.class_weights.to(score.dtype)
        if label.is_floating_point():
            label = torch.stack([1 - label, label], dim=1).to(score.dtype)
        return F.cross_entropy(logits, label, weight=weights, label_smoothing=self.label_smoothing)
