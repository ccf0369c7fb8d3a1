"""Saliency against differences, and against a detector whose evidence is known cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_detectors import PAIRS, Linear, noise, of_single_cells, small, tone

from deepfake.errors import InputError
from deepfake.explain.clip import Clip
from deepfake.explain.saliency import Saliency, waveform_saliency


def test_of_a_linear_detector_it_is_the_evidence_of_each_cell():
    clip = Clip(Linear(tone(4800, 2000, 0.1, 0.15)), noise(0.3) + tone(4800, 2000, 0.1, 0.15))
    found = Saliency().attribute(clip)
    assert np.allclose(found.values, of_single_cells(clip), atol=1e-3)
    band, frame = np.unravel_index(found.values.argmax(), found.values.shape)
    assert found.hz[band] - 60 <= 2000 <= found.hz[band + 1] + 60 and 0.09 <= found.seconds[frame] <= 0.15
    assert found.values.sum() == pytest.approx(float(clip.spoof(clip.gain)), rel=1e-4)


@pytest.mark.parametrize(("model", "features"), PAIRS)
def test_it_is_the_slope_of_the_evidence(model, features):
    detector = small(model, features).double()
    clip = Clip(detector, noise(0.5))
    for name in ("source", "window", "weights", "gain"):
        setattr(clip, name, getattr(clip, name).double())
    clip.spectrum, clip.filling = (s.to(torch.complex128) for s in (clip.spectrum, clip.filling))
    found = Saliency().attribute(clip)
    generator = torch.Generator().manual_seed(0)
    slopes, expected = [], []
    for _ in range(5):  # along random directions
        direction = torch.randn(clip.gain.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            h = 1e-6
            step = clip.spoof(clip.gain + h * direction) - clip.spoof(clip.gain - h * direction)
        slopes.append(float(step) / (2 * h))
        expected.append(float((found.values * direction[0].numpy()).sum()))
    size = np.abs(found.values).max()
    assert size > 0
    assert np.allclose(slopes, expected, rtol=0.02, atol=0.05 * size)


@pytest.mark.parametrize(("model", "features"), PAIRS)
@pytest.mark.parametrize("waveform", [noise(0.05), torch.zeros(8000), noise(1.0)], ids=["0.05 s", "silence", "longer"])
def test_every_clip_has_a_finite_map_on_its_own_cells(model, features, waveform):
    clip = Clip(small(model, features, "features.normalise=utterance"), waveform)
    found = Saliency().attribute(clip)
    assert np.isfinite(found.values).all() and found.values.shape == tuple(clip.gain.shape[1:])
    assert found.seconds[-1] == pytest.approx(min(len(waveform) / 16000, 0.5))
    again = Saliency().attribute(clip)
    assert np.array_equal(found.values, again.values)
    assert waveform_saliency(clip).shape == (min(len(waveform), 8000),)


def test_repetitions_add_up_on_their_source():
    pattern = noise(0.5, seed=3)
    found = waveform_saliency(Clip(Linear(pattern), noise(0.2)))
    folded = np.zeros(3200)
    for i, value in enumerate(pattern.numpy()):
        folded[i % 3200] += value
    assert np.allclose(found, folded, atol=1e-6)


def test_the_waveforms_gradient_is_the_slope_too():
    detector = small("cnn", "linear")
    clip = Clip(detector, noise(0.5))
    gradient = torch.from_numpy(waveform_saliency(clip))
    direction = noise(0.5, seed=9)
    clip_input = clip.input().double()
    detector.double()
    with torch.no_grad():
        high, low = (detector.logits(clip_input + sign * 1e-6 * direction) for sign in (1, -1))
    assert -float(high - low) / 2e-6 == pytest.approx(float(gradient @ direction.double()), rel=0.01)


def test_noise_on_the_gain_averages_gradients_and_leaves_the_generator_alone():
    clip = Clip(small("cnn", "linear"), noise(0.5))
    state = torch.get_rng_state()
    smooth = Saliency(n_samples=3, noise=0.2, seed=5).attribute(clip)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(smooth.values, Saliency(n_samples=3, noise=0.2, seed=5).attribute(clip).values)
    assert not np.array_equal(smooth.values, Saliency(n_samples=3, noise=0.2, seed=6).attribute(clip).values)
    assert smooth.facts["noise"] == 0.2
    plain = Saliency().attribute(clip).values
    near = Saliency(n_samples=2, noise=1e-6).attribute(clip).values
    assert np.allclose(near, plain, atol=0.01 * np.abs(plain).max())
    linear = Clip(Linear(noise(0.3, seed=2)), noise(0.3))
    assert np.allclose(Saliency(n_samples=2).attribute(linear).values, Saliency().attribute(linear).values, atol=1e-5)


@pytest.mark.parametrize("wrong", [{"n_samples": -1}, {"noise": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError):
        Saliency(**wrong)
