"""One-class softmax."""

from __future__ import annotations

import math

import pytest
import torch

from deepfake.errors import InputError
from deepfake.losses.oc_softmax import OCSoftmax

LABEL = torch.tensor([0, 1, 0, 0, 1])


def test_equals_the_formula() -> None:
    score = 2 * torch.rand(5, dtype=torch.float64) - 1
    total = 0.0
    for s, label in zip(score.tolist(), LABEL.tolist(), strict=True):
        y = 0 if label == 1 else 1  # the paper counts bona fide as 0
        margin = (0.8, 0.1)[y]
        total += math.log(1 + math.exp(10 * (margin - s) * (-1) ** y))
    loss = OCSoftmax(m_real=0.8, m_fake=0.1, alpha=10)(score, LABEL)
    assert loss.item() == pytest.approx(total / 5)


def test_defaults_are_the_paper_s() -> None:
    loss = OCSoftmax()
    assert (loss.m_real, loss.m_fake, loss.alpha) == (0.9, 0.2, 20.0)


def test_gradient() -> None:
    score = (1.8 * torch.rand(5, dtype=torch.float64) - 0.9).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: OCSoftmax()(s, LABEL), score)


def test_a_score_that_is_no_cosine() -> None:
    loss = OCSoftmax()
    loss(torch.zeros(5), LABEL)
    with pytest.raises(InputError, match=r"size 3.*model\.head=cosine"):
        loss(torch.tensor([0.1, -3.0, 0.2, 0.0, 0.5]), LABEL)


@pytest.mark.parametrize("wrong", [{"m_real": 1.5}, {"m_real": 0.1, "m_fake": 0.2}, {"alpha": 0}])
def test_bad_parameters(wrong: dict) -> None:
    with pytest.raises(InputError):
        OCSoftmax(**wrong)
