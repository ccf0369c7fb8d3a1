"""The bimodal network: two branches, each of which hears its own channels, and a logit that is their sum."""

from __future__ import annotations

import pytest
import torch

from deepfake.errors import InputError
from deepfake.models.bimodal import Bimodal
from deepfake.models.cnn import CNN

SMALL = {"channels": (3, 4), "lstm_units": 3}


def test_parameter_count() -> None:
    convolutions = 9 * (1 * 16 + 16 * 32 + 32 * 48 + 48 * 64)
    norms = 2 * (16 + 32 + 48 + 64) + 2 * 60
    lstm = 2 * 4 * 64 * (60 + 64 + 2)
    head = 2 * 64 * (80 // 16) + 2 * 2 * 64 + 1
    n_parameters = sum(p.numel() for p in Bimodal(in_channels=140, n_mels=80).parameters())
    assert n_parameters == convolutions + norms + lstm + head
    assert f"{n_parameters:,} parameters for 80 bands and 60 coefficients" in (Bimodal.__doc__ or "")


def test_the_mel_branch_is_that_of_the_cnn() -> None:
    model, cnn = Bimodal(in_channels=140, n_mels=80).eval(), CNN(in_channels=80).eval()
    cnn.blocks.load_state_dict(model.blocks.state_dict())
    features = torch.randn(2, 140, 50)
    torch.testing.assert_close(model.embed(features)[:, : 2 * 64 * 5], cnn.embed(features[:, :80]))


def test_the_sequence_branch_has_mean_and_deviation_of_both_directions() -> None:
    model = Bimodal(in_channels=20, n_mels=8, **SMALL).eval()
    features = torch.randn(2, 20, 9)
    states, _ = model.lstm(features[:, 8:].transpose(1, 2) / (1 + 1e-5) ** 0.5)
    mean, deviation = model.embed(features)[:, 2 * 4 * 2 :].split(6, dim=1)
    torch.testing.assert_close(mean, states.mean(dim=1))
    torch.testing.assert_close(deviation, states.std(dim=1, unbiased=False), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_branches_sum_to_the_logit_and_hear_their_own_channels(head: str) -> None:
    model = Bimodal(in_channels=32, n_mels=20, head=head, **SMALL).eval()
    features = torch.randn(3, 32, 40, requires_grad=True)
    parts = model.branch_logits(features)
    assert [*parts] == [*model.branches, "bias"] == ["mel", "sequence", "bias"]
    assert all(part.shape == (3,) for part in parts.values())
    torch.testing.assert_close(torch.stack([*parts.values()]).sum(dim=0), model(features)[:, 0])
    if head == "linear":  # the cosine's norm ties them together
        own = {"mel": slice(0, 20), "sequence": slice(20, 32)}
        for name, channels in own.items():
            (gradient,) = torch.autograd.grad(parts[name].sum(), features, retain_graph=True)
            assert gradient[:, channels].any()
            gradient[:, channels] = 0
            assert not gradient.any()


@pytest.mark.parametrize(("n_mels", "n_coefficients", "frames"), [(16, 3, 16), (80, 60, 50), (128, 60, 31)])
def test_features_of_any_size(n_mels: int, n_coefficients: int, frames: int) -> None:
    model = Bimodal(in_channels=n_mels + n_coefficients, n_mels=n_mels, channels=(2, 2, 2, 3), lstm_units=3)
    features = torch.randn(2, n_mels + n_coefficients, frames)
    logits = model(features)
    assert logits.shape == (2, 1) and model.embed(features).shape == (2, 6 * (n_mels // 16) + 12)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_batch_does_not_matter_in_evaluation() -> None:
    model = Bimodal(in_channels=140, n_mels=80).eval()
    features = torch.randn(3, 140, 50)
    torch.testing.assert_close(model(features), torch.cat([model(one[None]) for one in features]), rtol=0, atol=1e-5)


def test_dropout_only_in_training() -> None:
    model = Bimodal(in_channels=32, n_mels=20, **SMALL)
    features = torch.randn(2, 32, 40)
    assert not torch.equal(model.train()(features), model(features))
    assert torch.equal(model.eval()(features), model(features))


@pytest.mark.parametrize(("in_channels", "n_mels"), [(1, None), (60, None), (60, 60), (60, 0)])
def test_another_front_end_is_refused(in_channels: int, n_mels: int | None) -> None:
    with pytest.raises(InputError, match="choose features=mel_lfcc"):
        Bimodal(in_channels=in_channels, n_mels=n_mels)


def test_too_few_bands_or_frames() -> None:
    with pytest.raises(InputError, match="at least 16 mel bands"):
        Bimodal(in_channels=60, n_mels=15)
    with pytest.raises(InputError, match="at least 16 frames"):
        Bimodal(in_channels=60, n_mels=16)(torch.randn(2, 60, 15))


@pytest.mark.parametrize("wrong", [{"channels": ()}, {"lstm_units": 0}, {"dropout": 1.0}, {"head": "none"}])
def test_bad_hyper_parameters(wrong: dict) -> None:
    with pytest.raises(InputError):
        Bimodal(in_channels=140, n_mels=80, **wrong)
