"""What holds for every front end: it states what comes out, and is a well-behaved module."""

from __future__ import annotations

import pytest
import torch
from small_detectors import DISTINCT, front_end, front_end_class

from deepfake.errors import InputError
from deepfake.features.pretrained import Pretrained


@pytest.fixture(params=DISTINCT)
def name(request) -> str:
    return request.param


def test_every_front_end_has_a_yaml():
    assert {"raw", "mel", "lfcc", "linear"} <= set(DISTINCT)


def test_states_its_channels_and_frame_rate(name):
    built = front_end(name)
    short, long = (built(torch.randn(2, 16_000 * seconds)) for seconds in (1, 3))
    assert short.shape[:2] == (2, built.n_channels)
    assert long.shape[2] - short.shape[2] == pytest.approx(2 * built.frames_per_second, abs=1)


def test_batch_equals_single(name):
    built, waveform = front_end(name), 0.1 * torch.randn(3, 8_000) * torch.tensor([[1.0], [0.01], [3.0]])
    batch = built(waveform)
    for i in range(3):
        assert torch.allclose(batch[i], built(waveform[i : i + 1])[0], atol=1e-5)


def test_gradients_reach_every_sample(name):
    waveform = (0.1 * torch.randn(1, 8_000)).requires_grad_()
    front_end(name)(waveform).square().sum().backward()
    assert waveform.grad is not None
    assert waveform.grad.isfinite().all()
    assert (waveform.grad[0, 1_000:7_000] != 0).float().mean() > 0.99


@pytest.mark.parametrize("n_samples", [1, 160, 300, 8_000])
def test_silence_and_short_clips_are_finite(name, n_samples):
    for normalise in ("none", "utterance"):
        for waveform in (torch.zeros(2, n_samples), torch.randn(2, n_samples)):
            waveform.requires_grad_()
            out = front_end(name, normalise=normalise)(waveform)
            out.sum().backward()
            assert out.shape[2] >= 1
            assert out.isfinite().all()
            assert waveform.grad is not None
            assert waveform.grad.isfinite().all()


def test_input_is_left_alone(name):
    waveform = torch.randn(1, 4_000)
    before = waveform.clone()
    front_end(name)(waveform)
    assert torch.equal(waveform, before)


def test_autocast_does_not_touch_the_logarithms(name):
    built, waveform = front_end(name), 0.01 * torch.randn(1, 8_000)
    expected = built(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = built(waveform)
    assert out.dtype == torch.float32
    assert torch.equal(out, expected) or issubclass(front_end_class(name), Pretrained)


def test_state_dict_holds_normalisation_alone_beside_what_is_learnt(name):
    built = front_end(name, normalise="train_stats")
    learnt = {key for key, _ in built.named_parameters()}
    assert bool(learnt) == (issubclass(front_end_class(name), Pretrained))
    assert set(front_end(name).state_dict()) == learnt
    assert set(built.state_dict()) == learnt | {"normalise.mean", "normalise.std", "normalise.fitted"}


def test_train_stats_fit_through_the_front_end(name):
    built, waveform = front_end(name, normalise="train_stats"), torch.randn(4, 8_000)
    with pytest.raises(InputError, match="not fitted"):
        built(waveform)
    built.normalise.update(built.extract(waveform))
    built.normalise.finish()
    out = built(waveform)
    assert out.mean(dim=(0, 2)).abs().max() < 1e-3
    fresh = front_end(name, normalise="train_stats")
    fresh.load_state_dict(built.state_dict())
    assert torch.equal(fresh(waveform), out)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_runs_on_the_device_of_the_module(name):
    waveform = 0.1 * torch.randn(2, 8_000)
    out = front_end(name).cuda()(waveform.cuda())
    assert out.is_cuda
    assert torch.allclose(out.cpu(), front_end(name)(waveform), atol=1e-3)
