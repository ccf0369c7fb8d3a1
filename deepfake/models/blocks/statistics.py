"""Statistics of a sequence of any duration: mean and deviation."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_and_deviation(sequence: Tensor) -> Tensor:
    """Mean and standard deviation over time of each dimension, `[B, D, L]` -> `[B, 2 D]`."""
    variance = sequence.var(dim=2, correction=0)
    deviation = (variance + 1e-5).sqrt()  # the constant keeps the gradient finite where one frame remains
    return torch.cat([sequence.mean(dim=2), deviation], dim=1)
