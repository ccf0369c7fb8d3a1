"""What holds for every front end: it states what comes out, and is a well-behaved module."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from deepfake.errors import InputError
from deepfake.features.frontend import FrontEnd

CONFIGS = Path(__file__).resolve().parents[2] / "conf" / "features"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def build(name: str, **keywords) -> FrontEnd:
    """The front end of conf/features/NAME.yaml at 16 kHz."""
    config = OmegaConf.merge({"sample_rate": 16_000}, {"features": OmegaConf.load(CONFIGS / f"{name}.yaml")})
    return instantiate(config.features, _convert_="all", **keywords)


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


def test_every_front_end_has_a_yaml():
    assert {"raw", "mel", "lfcc", "linear"} <= set(NAMES)


def test_states_its_channels_and_frame_rate(name):
    front_end = build(name)
    short, long = (front_end(torch.randn(2, 16_000 * seconds)) for seconds in (1, 3))
    assert short.shape[:2] == (2, front_end.n_channels)
    assert long.shape[2] - short.shape[2] == pytest.approx(2 * front_end.frames_per_second, abs=1)


def test_batch_equals_single(name):
    front_end, waveform = build(name), 0.1 * torch.randn(3, 8_000) * torch.tensor([[1.0], [0.01], [3.0]])
    batch = front_end(waveform)
    for i in range(3):
        assert torch.allclose(batch[i], front_end(waveform[i : i + 1])[0], atol=1e-5)


def test_gradients_reach_every_sample(name):
    waveform = (0.1 * torch.randn(1, 8_000)).requires_grad_()
    build(name)(waveform).square().sum().backward()
    assert waveform.grad is not None
    assert waveform.grad.isfinite().all()
    assert (waveform.grad[0, 1_000:7_000] != 0).float().mean() > 0.99


@pytest.mark.parametrize("n_samples", [1, 160, 300, 8_000])
def test_silence_and_short_clips_are_finite(name, n_samples):
    for normalise in ("none", "utterance"):
        for waveform in (torch.zeros(2, n_samples), torch.randn(2, n_samples)):
            waveform.requires_grad_()
            out = build(name, normalise=normalise)(waveform)
            out.sum().backward()
            assert out.shape[2] >= 1
            assert out.isfinite().all()
            assert waveform.grad is not None
            assert waveform.grad.isfinite().all()


def test_input_is_left_alone(name):
    waveform = torch.randn(1, 4_000)
    before = waveform.clone()
    build(name)(waveform)
    assert torch.equal(waveform, before)


def test_autocast_does_not_touch_the_logarithms(name):
    front_end, waveform = build(name), 0.01 * torch.randn(1, 8_000)
    expected = front_end(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = front_end(waveform)
    assert out.dtype == torch.float32
    assert torch.equal(out, expected)


def test_state_dict_holds_normalisation_alone(name):
    assert not build(name).state_dict()
    keys = {"normalise.mean", "normalise.std", "normalise.fitted"}
    assert set(build(name, normalise="train_stats").state_dict()) == keys


def test_train_stats_fit_through_the_front_end(name):
    front_end, waveform = build(name, normalise="train_stats"), torch.randn(4, 8_000)
    with pytest.raises(InputError, match="not fitted"):
        front_end(waveform)
    front_end.normalise.update(front_end.extract(waveform))
    front_end.normalise.finish()
    out = front_end(waveform)
    assert out.mean(dim=(0, 2)).abs().max() < 1e-3
    fresh = build(name, normalise="train_stats")
    fresh.load_state_dict(front_end.state_dict())
    assert torch.equal(fresh(waveform), out)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_runs_on_the_device_of_the_module(name):
    waveform = 0.1 * torch.randn(2, 8_000)
    out = build(name).cuda()(waveform.cuda())
    assert out.is_cuda
    assert torch.allclose(out.cpu(), build(name)(waveform), atol=1e-3)
