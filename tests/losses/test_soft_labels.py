"""Labels between the classes, as mixup makes them: every loss is then the mean of its two, by the label."""

from __future__ import annotations

import pytest
import torch

from deepfake.losses.bce import BCE
from deepfake.losses.cross_entropy import CrossEntropy
from deepfake.losses.focal import Focal
from deepfake.losses.oc_softmax import OCSoftmax

LOSSES = [BCE(), BCE(pos_weight=3.0), CrossEntropy(), Focal(), Focal(alpha=0.3), OCSoftmax()]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("label", [0.0, 0.3, 0.5, 1.0])
def test_a_label_between_the_classes_takes_that_much_of_each(loss, label):
    score = torch.linspace(-0.9, 0.9, 7)
    of_each = [loss(score, torch.full((7,), y)) for y in (1, 0)]
    mixed = loss(score, torch.full((7,), label))
    torch.testing.assert_close(mixed, label * of_each[0] + (1 - label) * of_each[1])


def test_weights_of_classes_hold_for_labels_between_them():
    loss, score = CrossEntropy(class_weights=[0.1, 0.9]), torch.tensor([0.4])
    mixed = loss(score, torch.tensor([0.25]))
    expected = 0.25 * 0.9 * torch.nn.functional.softplus(-score) + 0.75 * 0.1 * torch.nn.functional.softplus(score)
    torch.testing.assert_close(mixed, expected[0])
