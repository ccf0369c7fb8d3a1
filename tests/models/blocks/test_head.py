"""Linear and cosine heads."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from deepfake.errors import InputError
from deepfake.models.blocks.head import Head


def test_linear_is_affine() -> None:
    head = Head(5, "linear", n_outputs=2)
    x = torch.randn(3, 5)
    torch.testing.assert_close(head(x), x @ head.weight.T + head.bias)
    assert set(head.state_dict()) == {"weight", "bias"}


def test_cosine_is_one_bounded_output_whatever_the_scale() -> None:
    head = Head(5, "cosine", n_outputs=2)
    x = 100 * torch.randn(7, 5)
    expected = F.cosine_similarity(x, head.weight.expand(7, 5), dim=1)
    torch.testing.assert_close(head(x), expected[:, None])
    torch.testing.assert_close(head(3 * x), head(x))
    assert head(head.weight).item() == pytest.approx(1)


def test_cosine_stays_bounded_in_half_precision() -> None:
    head = Head(64, "cosine")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        score = head(head.weight.detach().bfloat16())
    assert score.dtype == torch.float32
    assert score.item() == pytest.approx(1, abs=1e-4)


def test_unknown_kind_lists_the_kinds() -> None:
    with pytest.raises(InputError, match="linear, cosine"):
        Head(5, "arcface")
