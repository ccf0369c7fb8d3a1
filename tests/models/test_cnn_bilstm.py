"""The CNN-BiLSTM as listed: layers, order, true size."""

from __future__ import annotations

import pytest
import torch

from deepfake.errors import InputError
from deepfake.models.cnn_bilstm import CNNBiLSTM


def test_parameter_count() -> None:
    """From the layers as listed, on 128 bands; torch's LSTM has two biases per gate."""
    convolutions = sum(9 * before * after + after for before, after in [(1, 32), (32, 64), (64, 128)])
    norms = sum(2 * channels for channels in (32, 64, 128))
    first = 2 * 4 * 64 * (16 * 128 + 64 + 2)
    second = 2 * 4 * 32 * (2 * 64 + 32 + 2)
    dense = 2 * 32 * 64 + 64
    output = 64 + 1
    n_parameters = sum(p.numel() for p in CNNBiLSTM(in_channels=128).parameters())
    assert n_parameters == convolutions + norms + first + second + dense + output == 1_221_185


def test_five_seconds_are_thirteen_steps() -> None:
    model = CNNBiLSTM(in_channels=128).eval()
    assert model.blocks(torch.randn(1, 1, 128, 157)).shape == (1, 128, 16, 13)
    steps = []
    model.lstm1.register_forward_hook(lambda module, inputs, output: steps.append(inputs[0].shape))
    model(torch.randn(1, 128, 157))
    assert steps == [(1, 13, 2048)]


def test_time_is_the_sequence_and_last_is_each_direction_s_own() -> None:
    """The state is the forward LSTM after its last step and the backward one after its last, at the first frame."""
    model = CNNBiLSTM(in_channels=16, channels=(2, 2, 3), lstm_units=(4, 3), dense_units=5).eval()
    features = torch.randn(2, 16, 60)
    picture = model.blocks(features[:, None])  # [2, 3, 2, 5]
    steps = torch.stack([torch.cat([picture[:, :, row, t] for row in range(2)], dim=1) for t in range(5)], dim=1)
    sequence, _ = model.lstm2(model.lstm1(steps)[0])
    state = torch.cat([sequence[:, -1, :3], sequence[:, 0, 3:]], dim=1)
    torch.testing.assert_close(model.embed(features), torch.relu(model.dense(state)))


@pytest.mark.parametrize(("bands", "frames"), [(8, 12), (60, 100), (80, 32), (128, 32)])
def test_features_of_any_size(bands: int, frames: int) -> None:
    model = CNNBiLSTM(in_channels=bands)
    logits = model(torch.randn(2, bands, frames))
    assert logits.shape == (2, 1)
    assert model.embed(torch.randn(2, bands, frames)).shape == (2, 64)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_batch_does_not_matter_in_evaluation() -> None:
    model = CNNBiLSTM(in_channels=80).eval()
    features = torch.randn(4, 80, 50)
    torch.testing.assert_close(model(features), torch.cat([model(one[None]) for one in features]), rtol=0, atol=1e-5)


def test_dropout_only_in_training() -> None:
    model = CNNBiLSTM(in_channels=32)
    features = torch.randn(2, 32, 40)
    assert not torch.equal(model.train()(features), model(features))
    assert torch.equal(model.eval()(features), model(features))


def test_raw_audio_is_refused() -> None:
    with pytest.raises(InputError, match="raw audio"):
        CNNBiLSTM(in_channels=1)


def test_too_few_frames() -> None:
    with pytest.raises(InputError, match="at least 12 frames"):
        CNNBiLSTM(in_channels=32)(torch.randn(2, 32, 11))


@pytest.mark.parametrize(
    "wrong", [{"channels": (32, 64)}, {"lstm_units": (0, 32)}, {"dense_units": 0}, {"dropout": -1}, {"head": "x"}]
)
def test_bad_hyper_parameters(wrong: dict) -> None:
    with pytest.raises(InputError):
        CNNBiLSTM(in_channels=128, **wrong)
