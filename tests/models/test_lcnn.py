"""LCNN: the layer table of the ASVspoof 2021 baseline."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deepfake.errors import InputError
from deepfake.models.blocks.max_feature_map import MaxFeatureMap
from deepfake.models.lcnn import LCNN

SMALL = {"channels": (2, 3, 4, 3, 2)}


def test_parameter_count() -> None:
    """By hand, from the published table: (kernel, channels in, channels before the max-feature-map)."""
    table = [(5, 1, 64), (1, 32, 64), (3, 32, 96), (1, 48, 96), (3, 48, 128), (1, 64, 128), (3, 64, 64)]
    table += [(1, 32, 64), (3, 32, 64)]
    convolutions = sum(kernel**2 * before * after + after for kernel, before, after in table)
    lstms = 2 * 2 * 4 * 48 * (96 + 48 + 2)
    model = LCNN(in_channels=60)
    n_parameters = sum(p.numel() for p in model.parameters())
    assert n_parameters == convolutions + lstms + 96 + 1 == 269_729
    assert f"{n_parameters:,} parameters" in (LCNN.__doc__ or "")
    got = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.kernel_size[0], m.in_channels, m.out_channels) for m in got] == table


def test_order_of_layers() -> None:
    """C: convolution, M: max-feature-map, P: pooling, N: norm; as in the baseline's script."""
    letters = {nn.Conv2d: "C", MaxFeatureMap: "M", nn.MaxPool2d: "P", nn.BatchNorm2d: "N"}
    layers = ["".join(letters[type(m)] for m in block) for block in LCNN(in_channels=60).blocks]
    assert layers == ["CMP", "CMNCMPN", "CMNCMP", "CMNCMN", "CMNCMP"]


def test_embedding_is_the_mean_of_sequence_and_recurrence() -> None:
    model = LCNN(in_channels=40, **SMALL).eval()
    features = torch.randn(2, 40, 70)
    picture = model.blocks(features[:, None])  # [2, 2, 2, 4]
    assert picture.shape == (2, 2, 2, 4)
    steps = torch.stack([torch.cat([picture[:, :, row, t] for row in range(2)], dim=1) for t in range(4)], dim=1)
    expected = sum(model.lstm(steps)[0][:, t] + steps[:, t] for t in range(4)) / 4
    torch.testing.assert_close(model.embed(features), expected)
    torch.testing.assert_close(model(features), model.head(expected))


@pytest.mark.parametrize(("bands", "frames"), [(16, 16), (60, 50), (80, 31), (128, 17)])
def test_features_of_any_size(bands: int, frames: int) -> None:
    model = LCNN(in_channels=bands, **SMALL)
    logits = model(torch.randn(2, bands, frames))
    assert logits.shape == (2, 1)
    assert model.embed(torch.randn(2, bands, frames)).shape == (2, bands // 16 * 2)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_batch_does_not_matter_in_evaluation() -> None:
    model = LCNN(in_channels=60).eval()
    features = torch.randn(3, 60, 50)
    torch.testing.assert_close(model(features), torch.cat([model(one[None]) for one in features]), rtol=0, atol=1e-5)


def test_dropout_only_in_training() -> None:
    model = LCNN(in_channels=32)
    features = torch.randn(2, 32, 40)
    assert not torch.equal(model.train()(features), model(features))
    assert torch.equal(model.eval()(features), model(features))


def test_cosine_head() -> None:
    score = LCNN(in_channels=60, head="cosine", **SMALL)(10 * torch.randn(3, 60, 40))
    assert score.shape == (3, 1) and score.abs().max() <= 1 + 1e-6


def test_what_it_cannot_hear() -> None:
    with pytest.raises(InputError, match="raw audio"):
        LCNN(in_channels=1)
    with pytest.raises(InputError, match="at least 16 bands"):
        LCNN(in_channels=15)
    with pytest.raises(InputError, match="at least 16 frames"):
        LCNN(in_channels=16, **SMALL)(torch.randn(2, 16, 15))


@pytest.mark.parametrize(
    "wrong", [{"channels": (32, 48, 64, 32)}, {"channels": (32, 48, 64, 32, 3)}, {"dropout": 1.0}, {"head": "x"}]
)
def test_bad_hyper_parameters(wrong: dict) -> None:
    with pytest.raises(InputError):
        LCNN(in_channels=60, **wrong)
