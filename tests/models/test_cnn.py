"""The small convolutional network."""

from __future__ import annotations

import pytest
import torch

from deepfake.errors import InputError
from deepfake.models.cnn import CNN


def test_parameter_count() -> None:
    convolutions = 9 * (1 * 16 + 16 * 32 + 32 * 48 + 48 * 64)
    norms = 2 * (16 + 32 + 48 + 64)
    head = 2 * 64 * (80 // 16) + 1
    n_parameters = sum(p.numel() for p in CNN(in_channels=80).parameters())
    assert n_parameters == convolutions + norms + head
    assert f"{n_parameters:,} parameters for 80 bands" in CNN.__doc__


@pytest.mark.parametrize("bands", [16, 60, 80, 128])
@pytest.mark.parametrize("frames", [16, 32, 157])
def test_features_of_any_size(bands: int, frames: int) -> None:
    model = CNN(in_channels=bands)
    logits = model(torch.randn(2, bands, frames))
    assert logits.shape == (2, 1)
    assert model.embed(torch.randn(2, bands, frames)).shape == (2, 128 * (bands // 16))
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_embedding_is_mean_and_deviation() -> None:
    model = CNN(in_channels=32, channels=(4,)).eval()
    features = torch.randn(2, 32, 20)
    cells = model.blocks(features[:, None])  # [B, 4, 16, 10]
    mean, deviation = model.embed(features).split(64, dim=1)
    torch.testing.assert_close(mean, cells.mean(3).flatten(1))
    torch.testing.assert_close(deviation, cells.std(3, unbiased=False).flatten(1), rtol=1e-3, atol=1e-3)


def test_batch_does_not_matter_in_evaluation() -> None:
    model = CNN(in_channels=80).eval()
    features = torch.randn(4, 80, 50)
    torch.testing.assert_close(model(features), torch.cat([model(one[None]) for one in features]), rtol=0, atol=1e-5)


def test_dropout_only_in_training() -> None:
    model = CNN(in_channels=32)
    features = torch.randn(2, 32, 40)
    assert not torch.equal(model.train()(features), model(features))
    assert torch.equal(model.eval()(features), model(features))


def test_raw_audio_is_refused() -> None:
    with pytest.raises(InputError, match="raw audio"):
        CNN(in_channels=1)


def test_too_few_bands_or_frames() -> None:
    with pytest.raises(InputError, match="at least 16 bands"):
        CNN(in_channels=15)
    with pytest.raises(InputError, match="at least 16 frames"):
        CNN(in_channels=16)(torch.randn(2, 16, 15))


@pytest.mark.parametrize("wrong", [{"channels": ()}, {"channels": (16, 0)}, {"dropout": 1.0}, {"head": "none"}])
def test_bad_hyper_parameters(wrong: dict) -> None:
    with pytest.raises(InputError):
        CNN(in_channels=128, **wrong)
