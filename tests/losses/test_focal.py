"""Focal loss."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from deepfake.errors import InputError
from deepfake.losses.focal import Focal

LABEL = torch.tensor([0, 1, 0, 0, 1])


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_equals_the_formula(gamma: float, alpha: float | None) -> None:
    score = torch.randn(5, dtype=torch.float64)
    terms = []
    for s, y in zip(score.tolist(), LABEL.tolist(), strict=True):
        p = torch.sigmoid(torch.tensor(s, dtype=torch.float64))
        p_true = p if y == 1 else 1 - p
        weight = 1.0 if alpha is None else (alpha if y == 1 else 1 - alpha)
        terms.append(-weight * (1 - p_true) ** gamma * p_true.log())
    torch.testing.assert_close(Focal(gamma=gamma, alpha=alpha)(score, LABEL), torch.stack(terms).mean())


def test_is_cross_entropy_without_discount() -> None:
    score = torch.randn(5)
    expected = F.binary_cross_entropy_with_logits(score, LABEL.float())
    torch.testing.assert_close(Focal(gamma=0.0)(score, LABEL), expected)


def test_gradient() -> None:
    score = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: Focal(gamma=1.5, alpha=0.3)(s, LABEL), score)


def test_large_scores_stay_finite() -> None:
    score = torch.tensor([-1e4, 1e4, 1e4, -1e4], requires_grad=True)
    Focal()(score, torch.tensor([1, 0, 1, 0])).backward()
    assert score.grad is not None
    assert score.grad.isfinite().all()


@pytest.mark.parametrize("wrong", [{"gamma": -1}, {"alpha": 0.0}, {"alpha": 1.0}])
def test_bad_parameters(wrong: dict) -> None:
    with pytest.raises(InputError):
        Focal(**wrong)
