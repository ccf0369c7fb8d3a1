"""Focal loss: cross-entropy that discounts easy utterances."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.errors import InputError


class Focal(nn.Module):
    r"""Focal loss (Lin et al., 2017, equation 5): \( -\alpha_t (1 - p_t)^\gamma \log p_t \), mean over the batch.

    \(p_t\) is the probability of the true class; it and its complement are computed as log-sigmoids, so that no score
    overflows.

    Args:
        gamma: How strongly easy utterances are discounted, at least 0 (which is cross-entropy).
        alpha: Weight of bona fide in (0, 1), that of spoof being `1 - alpha`; None weights both by 1.

    Shape:
        score `[B]`, label `[B]` (1 is bona fide; between the classes after mixup) -> scalar

    Raises:
        InputError: `gamma` or `alpha` out of range.
    """

    def __init__(self, *, gamma: float = 2.0, alpha: float | None = None) -> None:
        super().__init__()
        if gamma < 0:
            raise InputError(f"loss.gamma={gamma}: a number from 0 was expected")
        if alpha is not None and not 0 < alpha < 1:
            raise InputError(f"loss.alpha={alpha}: a number between 0 and 1, or null, was expected")
        self.gamma = gamma
        self.alpha = alpha

    def forward(self, score: Tensor, label: Tensor) -> Tensor:
        weights = (1.0, 1.0) if self.alpha is None else (self.alpha, 1 - self.alpha)
        of_bonafide, of_spoof = weights[0] * self._loss(score), weights[1] * self._loss(-score)  # [B]
        return (label * of_bonafide + (1 - label) * of_spoof).mean()

    def _loss(self, score: Tensor) -> Tensor:
        """Unweighted loss for the log-odds of the true class."""
        return -(self.gamma * F.logsigmoid(-score)).exp() * F.logsigmoid(score)
