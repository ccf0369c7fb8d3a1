"""Stationary denoising against the library that it reproduces."""

from __future__ import annotations

import noisereduce
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_detectors import DISTINCT, front_end

from deepfake.errors import InputError
from deepfake.features.denoise import Denoise


def noisy(n: int, seed: int = 0) -> np.ndarray:
    """Bursts of a tone in noise."""
    rng, t = np.random.default_rng(seed), np.arange(n) / 16_000
    tone = np.sin(2 * np.pi * rng.uniform(200, 4_000) * t) * (np.sin(2 * np.pi * 3 * t) > 0.3)
    return 0.2 * tone + 0.02 * rng.standard_normal(n)


def library(x: np.ndarray, proportion: float, rate: int = 16_000) -> np.ndarray:
    return noisereduce.reduce_noise(x, rate, stationary=True, prop_decrease=proportion)


def denoised(x: np.ndarray, proportion: float, rate: int = 16_000) -> np.ndarray:
    return Denoise(proportion, rate).double()(torch.from_numpy(x)[None])[0].numpy()


@given(
    n=st.integers(1_024, 40_000),
    seed=st.integers(0, 99),
    proportion=st.sampled_from([0.1, 0.8, 1.0]),
    rate=st.sampled_from([16_000, 16_000, 8_000, 22_050]),
)
@settings(max_examples=25, deadline=None)
def test_is_the_library_s(n, seed, proportion, rate):
    x = noisy(n, seed)
    expected = library(x, proportion, rate)
    np.testing.assert_allclose(denoised(x, proportion, rate), expected, atol=1e-6 * np.abs(x).max())
    assert np.abs(expected - x).max() > 0.01 * np.abs(x).max()  # something happened


def test_real_speech_in_single_precision(shared):
    from deepfake.audio import load

    for path in sorted((shared / "data/LA/ASVspoof2019_LA_dev/flac").glob("*.flac"))[:3]:
        x = load(path)
        ours = Denoise(0.8, 16_000)(x[None])[0].numpy()
        assert np.abs(ours - library(x.numpy(), 0.8)).max() < 1e-5


def test_noise_goes_and_a_burst_stays():
    t, rng = np.arange(32_000) / 16_000, np.random.default_rng(0)
    clean = 0.2 * rng.standard_normal(len(t)) * (np.abs(t - 1) < 0.2)
    x = clean + 0.02 * rng.standard_normal(len(t))
    y, quiet, loud = denoised(x, 0.9), t < 0.6, np.abs(t - 1) < 0.15
    assert np.mean(y[quiet] ** 2) < 0.1 * np.mean(x[quiet] ** 2)
    assert np.mean((y - clean)[loud] ** 2) < 0.15 * np.mean(clean[loud] ** 2)


def test_off_is_nothing_at_all():
    waveform = torch.randn(2, 500)
    denoise = Denoise(0.0, 16_000)
    assert denoise(waveform) is waveform
    assert not list(denoise.buffers())


def test_state_dict_is_empty():
    assert not Denoise(0.5, 16_000).state_dict()


@pytest.mark.parametrize("n", [1, 100, 1_500, 9_000])
def test_batches_lengths_and_silence(n):
    waveform = torch.from_numpy(np.stack([noisy(n, 1), noisy(n, 2), np.zeros(n)])).float().requires_grad_()
    denoise = Denoise(0.8, 16_000)
    out = denoise(waveform)
    assert out.shape == waveform.shape
    assert not out[2].any()
    apart = torch.cat([denoise(one[None]) for one in waveform])
    torch.testing.assert_close(out, apart, rtol=0, atol=1e-6)
    out.square().sum().backward()
    assert waveform.grad is not None
    assert waveform.grad.isfinite().all()


def test_gradient_is_that_of_the_whole_way():
    """Against differences of the output itself, its mask included."""
    x = torch.from_numpy(noisy(6_000, 3))
    denoise = Denoise(0.7, 16_000).double()
    weights, direction = (torch.randn(6_000, dtype=torch.float64, generator=torch.manual_seed(i)) for i in (0, 1))
    leaf = x.clone().requires_grad_()
    (denoise(leaf[None])[0] @ weights).backward()
    step = 1e-9
    ahead, behind = (denoise((x + sign * step * direction)[None])[0] @ weights for sign in (1, -1))
    assert leaf.grad is not None
    assert (leaf.grad @ direction).item() == pytest.approx(((ahead - behind) / (2 * step)).item(), rel=1e-4)


@pytest.mark.parametrize("name", DISTINCT)
def test_every_front_end_takes_it_and_hears_the_denoised_waveform(name):
    waveform = torch.from_numpy(noisy(9_000))[None].float()
    plain, with_it = front_end(name), front_end(name, denoise=0.8)
    assert plain.denoise.proportion == 0.0
    expected = plain(Denoise(0.8, 16_000)(waveform))
    torch.testing.assert_close(with_it(waveform), expected)
    assert not torch.allclose(plain(waveform), expected)
    assert plain.state_dict().keys() == with_it.state_dict().keys()


def test_autocast_does_not_touch_it():
    waveform = torch.from_numpy(noisy(4_000))[None].float()
    denoise = Denoise(0.8, 16_000)
    expected = denoise(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(denoise(waveform), expected)


BAD = [(-0.1, 16_000), (1.1, 16_000), (float("nan"), 16_000), (0.5, 300_000)]


@pytest.mark.parametrize(("proportion", "rate"), BAD)
def test_settings_out_of_range(proportion, rate):
    with pytest.raises(InputError, match=r"features\.denoise="):
        Denoise(proportion, rate)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_device():
    waveform = torch.from_numpy(noisy(9_000))[None].float()
    out = Denoise(0.8, 16_000).cuda()(waveform.cuda())
    assert torch.allclose(out.cpu(), Denoise(0.8, 16_000)(waveform), atol=1e-4)
