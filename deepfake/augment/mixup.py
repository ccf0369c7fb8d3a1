"""Mixup: convex combinations of clips and of their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepfake.augment.augmentation import require_probability
from deepfake.errors import InputError


@dataclass(kw_only=True, eq=False)
class Mixup:
    r"""Convex combinations of two clips of a batch and of their labels (Zhang et al., ICLR 2018).

    \[ \tilde x_i = \lambda_i x_i + (1 - \lambda_i) x_j, \quad \tilde y_i = \lambda_i y_i + (1 - \lambda_i) y_j, \quad
       \lambda_i \sim \mathrm{Beta}(\alpha, \alpha) \]

    Each item draws its weight and its partner j, uniformly among the others of the batch, from its own generator. The
    labels become floats between 0 and 1, which the loss must support. A batch of one is not changed.

    Args:
        alpha: Parameter of the Beta distribution; the smaller, the closer a mixture is to one of its two clips.
        p: Probability with which an item is mixed.

    Shape:
        waveform `[B, T]`, label `[B]` -> the same, label float32

    Raises:
        InputError: Settings out of range.
    """

    alpha: float = 0.2
    p: float = 1.0
    batched = True

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1000:
            raise InputError(f"augment.mixup.alpha={self.alpha}: a number above 0 and at most 1000 was expected")
        require_probability(self, "p", self.p)

    def __call__(self, waveform: Tensor, label: Tensor, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
        n = len(rngs)
        partners, weights = np.arange(n), np.ones(n, dtype=np.float32)
        for i, rng in enumerate(rngs):
            if n > 1 and rng.random() < self.p:
                partners[i] = (i + rng.integers(1, n)) % n
                weights[i] = rng.beta(self.alpha, self.alpha)
        partner = torch.from_numpy(partners).to(waveform.device)
        weight = torch.from_numpy(weights).to(waveform.device)
        y = label.to(torch.float32)
        mixed = weight[:, None] * waveform + (1 - weight[:, None]) * waveform[partner]
        return mixed, weight * y + (1 - weight) * y[partner]
