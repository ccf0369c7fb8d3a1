"""Clips: the cells add up to the waveform, and the evidence is the detector's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_detectors import PAIRS, Linear, noise, small, tone

from deepfake.audio import crop_or_repeat
from deepfake.errors import InputError
from deepfake.explain.clip import Clip
from deepfake.explain.saliency import waveform_saliency
from deepfake.metrics.calibration import Calibration


@pytest.mark.parametrize("seconds", [0.05, 0.173, 0.5, 2.0])
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_a_gain_of_one_is_the_detectors_input(seconds, rate):
    detector = Linear(torch.zeros(rate // 2))
    detector.sample_rate = rate
    waveform = 0.1 * torch.randn(round(seconds * rate))
    clip = Clip(detector, waveform, filling=torch.randn(min(len(waveform), rate // 2)))
    whole_clip = crop_or_repeat(waveform, rate // 2)
    assert torch.allclose(clip.waveform(clip.gain)[0], whole_clip, atol=1e-5)
    assert torch.equal(clip.input()[0], whole_clip)
    edges = clip.seconds
    assert edges[0] == 0 and edges[-1] == clip.duration == pytest.approx(min(seconds, 0.5), abs=1 / rate)
    assert (np.diff(edges) > 0).all() and len(edges) == clip.gain.shape[2] + 1
    assert np.diff(edges).max() <= 0.0151 and clip.hz[-1] == pytest.approx(rate / 2)


def test_a_gain_of_zero_is_the_filling_repeated():
    filling = noise(0.3, seed=2)
    clip = Clip(Linear(torch.zeros(8000)), noise(0.3), filling=filling)
    silent = Clip(Linear(torch.zeros(8000)), noise(0.3))
    none = torch.zeros_like(clip.gain)
    assert torch.allclose(clip.waveform(none)[0], crop_or_repeat(filling, 8000), atol=1e-6)
    assert not silent.waveform(none).any()


def test_cells_lie_where_the_sound_is():
    waveform = tone(16000, 2000, 0.4, 0.5)
    clip = Clip(Linear(torch.zeros(16000)), waveform)
    power = 10 ** (clip.levels() / 10)
    band, frame = np.unravel_index(power.argmax(), power.shape)
    assert clip.hz[band] - 60 <= 2000 <= clip.hz[band + 1] + 60
    inside = (clip.seconds[1:] > 0.39) & (clip.seconds[:-1] < 0.51)
    assert power[:, inside].sum() > 0.99 * power.sum() and inside[frame]
    kept = torch.zeros_like(clip.gain)
    kept[:, :, torch.from_numpy(inside)] = 1
    assert torch.allclose(clip.waveform(kept)[0, 6500:7900], waveform[6500:7900], atol=1e-4)
    assert torch.equal(clip.waveform(1 - kept)[0, 7000:7500], torch.zeros(500))


@pytest.mark.parametrize(("model", "features"), PAIRS)
def test_the_evidence_is_that_of_the_detector_and_has_a_gradient(model, features):
    detector = small(model, features)
    clip = Clip(detector, noise(0.3))
    gain = clip.gain.clone().requires_grad_()
    evidence = clip.spoof(gain)
    with torch.no_grad():
        score = detector(crop_or_repeat(noise(0.3), detector.n_samples)[None])
    assert torch.allclose(evidence, -score, atol=1e-3)
    evidence.sum().backward()
    assert gain.grad is not None and gain.grad.isfinite().all() and gain.grad.any()
    detector.set_calibration(Calibration(2.0, -3.0, -1e-6, 1e-6, 70, 900), "other speech")
    assert torch.allclose(clip.spoof(gain), -(2 * score - 3), atol=1e-3)  # beyond its bounds


def test_repetitions_are_made_of_the_same_cells():
    pattern = noise(0.5, seed=3)
    short = noise(0.2)
    repeated = Clip(Linear(pattern), short)
    once = Clip(Linear(pattern[:3200] + pattern[3200:6400] + torch.cat([pattern[6400:], torch.zeros(1600)])), short)
    gain = torch.rand(5, *repeated.gain.shape[1:])
    assert torch.allclose(repeated.spoof(gain), once.spoof(gain), atol=1e-4)


@pytest.mark.parametrize("n", [1, 160, 256, 257, 511, 512])
def test_a_clip_of_less_than_a_frame_has_cells_too(n):
    waveform = noise(0.1)[:n]
    clip = Clip(Linear(torch.zeros(n)), waveform)
    assert clip.gain.shape[-1] == 1 + n // 160
    assert torch.allclose(clip.waveform(clip.gain), waveform, atol=1e-5)
    assert torch.allclose(clip.waveform(torch.zeros_like(clip.gain)), torch.zeros(n), atol=1e-6)


def test_each_branch_of_a_network_has_its_own_evidence():
    detector = small("bimodal", "mel_lfcc")
    detector.set_calibration(Calibration(0.7, 0.3, -5.0, 5.0, 10, 10), "a test")
    waveform = noise(0.4)
    whole = Clip(detector, waveform)
    parts = whole.parts_of(whole.input())
    assert set(parts) == {"mel", "sequence", "rest"}
    torch.testing.assert_close(sum(parts.values()), whole.spoof_of(whole.input()))
    for name in ("mel", "sequence"):
        alone = Clip(detector, waveform, branch=name)
        torch.testing.assert_close(alone.spoof_of(alone.input()), parts[name])
    of_sequence = waveform_saliency(Clip(detector, waveform, branch="sequence"))
    np.testing.assert_allclose(waveform_saliency(whole), of_sequence)
    assert not np.allclose(of_sequence, waveform_saliency(Clip(detector, waveform, branch="mel")))
    with pytest.raises(InputError, match="Bimodal has mel and sequence"):
        Clip(detector, waveform, branch="lfcc")
    with pytest.raises(InputError, match="CNN has no branches"):
        Clip(small("cnn", "mel"), waveform, branch="mel")
