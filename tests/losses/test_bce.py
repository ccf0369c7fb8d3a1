"""Binary cross-entropy of the log-odds."""

from __future__ import annotations

import pytest
import torch

from deepfake.errors import InputError
from deepfake.losses.bce import BCE

LABEL = torch.tensor([0, 1, 0, 0, 1])


@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_equals_the_formula(weight: float) -> None:
    score = torch.randn(5, dtype=torch.float64)
    p = torch.sigmoid(score)
    expected = -torch.where(LABEL == 1, weight * p.log(), (1 - p).log()).mean()
    torch.testing.assert_close(BCE(pos_weight=weight)(score, LABEL), expected)


def test_gradient() -> None:
    score = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: BCE(pos_weight=2.0)(s, LABEL), score)


def test_large_scores_stay_finite() -> None:
    assert BCE()(torch.tensor([-1e4, 1e4]), torch.tensor([1, 0])).item() == pytest.approx(1e4)


def test_bad_weight() -> None:
    with pytest.raises(InputError):
        BCE(pos_weight=0)
