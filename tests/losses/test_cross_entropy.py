"""Weighted cross-entropy of the log-odds."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from deepfake.errors import InputError
from deepfake.losses.cross_entropy import CrossEntropy

LABEL = torch.tensor([0, 1, 0, 0, 1, 0])


@pytest.mark.parametrize("weights", [None, [0.1, 0.9]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_the_two_logits_it_came_from(weights: list[float] | None, smoothing: float) -> None:
    logits = 3 * torch.randn(6, 2)
    loss = CrossEntropy(class_weights=weights, label_smoothing=smoothing)(logits[:, 1] - logits[:, 0], LABEL)
    w = None if weights is None else torch.tensor(weights)
    torch.testing.assert_close(loss, F.cross_entropy(logits, LABEL, weight=w, label_smoothing=smoothing))


def test_equals_the_formula() -> None:
    score = torch.randn(6, dtype=torch.float64)
    w = torch.where(LABEL == 1, 0.9, 0.1).double()
    p = torch.where(LABEL == 1, torch.sigmoid(score), 1 - torch.sigmoid(score))
    expected = -(w * p.log()).sum() / w.sum()
    loss = CrossEntropy(class_weights=[0.1, 0.9])(score, LABEL)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-7)  # the weights are float32


def test_gradient() -> None:
    score = torch.randn(6, dtype=torch.float64, requires_grad=True)
    loss = CrossEntropy(class_weights=[0.1, 0.9], label_smoothing=0.1)
    assert torch.autograd.gradcheck(lambda s: loss(s, LABEL), score)


def test_nothing_is_saved() -> None:
    assert not CrossEntropy(class_weights=[0.1, 0.9]).state_dict()


@pytest.mark.parametrize(
    "wrong",
    [{"class_weights": [1.0]}, {"class_weights": [0.0, 1.0]}, {"label_smoothing": 1.0}, {"label_smoothing": -1}],
)
def test_bad_parameters(wrong: dict) -> None:
    with pytest.raises(InputError):
        CrossEntropy(**wrong)
