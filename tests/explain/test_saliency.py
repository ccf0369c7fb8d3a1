"""Saliency against differences, and against a detector whose evidence is known cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from heard import PAIRS, UNMAPPED, Linear, noise, of_single_cells, small, tone

from deepfake.errors import InputError
from deepfake.explain.clip import Listening
from deepfake.explain.saliency import Saliency, waveform_saliency


def test_of_a_linear_detector_it_is_the_evidence_of_each_cell():
    listening = Listening(Linear(tone(4800, 2000, 0.1, 0.15)), noise(0.3) + tone(4800, 2000, 0.1, 0.15))
    found = Saliency().attribute(listening)
    assert np.allclose(found.values, of_single_cells(listening), atol=1e-3)
    band, frame = np.unravel_index(found.values.argmax(), found.values.shape)
    assert found.hz[band] - 60 <= 2000 <= found.hz[band + 1] + 60 and 0.09 <= found.seconds[frame] <= 0.15
    assert found.values.sum() == pytest.approx(float(listening.spoof(listening.gain)), rel=1e-4)


@pytest.mark.parametrize(("model", "features"), PAIRS + UNMAPPED)
def test_it_is_the_slope_of_the_evidence(model, features):
    detector = small(model, features).double()
    listening = Listening(detector, noise(0.5))
    for name in ("source", "window", "weights", "gain"):
        setattr(listening, name, getattr(listening, name).double())
    listening.spectrum, listening.filling = (s.to(torch.complex128) for s in (listening.spectrum, listening.filling))
    found = Saliency().attribute(listening)
    generator = torch.Generator().manual_seed(0)
    slopes, expected = [], []
    for _ in range(5):  # along random directions
        direction = torch.randn(listening.gain.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            h = 1e-6
            step = listening.spoof(listening.gain + h * direction) - listening.spoof(listening.gain - h * direction)
        slopes.append(float(step) / (2 * h))
        expected.append(float((found.values * direction[0].numpy()).sum()))
    size = np.abs(found.values).max()
    assert size > 0
    assert np.allclose(slopes, expected, rtol=0.02, atol=0.05 * size)


@pytest.mark.parametrize(("model", "features"), PAIRS + UNMAPPED)
@pytest.mark.parametrize("clip", [noise(0.05), torch.zeros(8000), noise(1.0)], ids=["0.05 s", "silence", "longer"])
def test_every_clip_has_a_finite_map_on_its_own_cells(model, features, clip):
    listening = Listening(small(model, features, "features.normalise=utterance"), clip)
    found = Saliency().attribute(listening)
    assert np.isfinite(found.values).all() and found.values.shape == tuple(listening.gain.shape[1:])
    assert found.seconds[-1] == pytest.approx(min(len(clip) / 16000, 0.5))
    again = Saliency().attribute(listening)
    assert np.array_equal(found.values, again.values)
    assert waveform_saliency(listening).shape == (min(len(clip), 8000),)


def test_repetitions_add_up_on_their_source():
    pattern = noise(0.5, seed=3)
    found = waveform_saliency(Listening(Linear(pattern), noise(0.2)))
    folded = np.zeros(3200)
    for i, value in enumerate(pattern.numpy()):
        folded[i % 3200] += value
    assert np.allclose(found, folded, atol=1e-6)


def test_the_waveforms_gradient_is_the_slope_too():
    detector = small("cnn", "linear")
    listening = Listening(detector, noise(0.5))
    gradient = torch.from_numpy(waveform_saliency(listening))
    direction = noise(0.5, seed=9)
    heard = listening.heard().double()
    detector.double()
    with torch.no_grad():
        high, low = (detector.logits(heard + sign * 1e-6 * direction) for sign in (1, -1))
    assert -float(high - low) / 2e-6 == pytest.approx(float(gradient @ direction.double()), rel=0.01)


def test_noise_on_the_gain_averages_gradients_and_leaves_the_generator_alone():
    listening = Listening(small("cnn", "linear"), noise(0.5))
    state = torch.get_rng_state()
    smooth = Saliency(n_samples=3, noise=0.2, seed=5).attribute(listening)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(smooth.values, Saliency(n_samples=3, noise=0.2, seed=5).attribute(listening).values)
    assert not np.array_equal(smooth.values, Saliency(n_samples=3, noise=0.2, seed=6).attribute(listening).values)
    assert smooth.facts["noise"] == 0.2
    plain = Saliency().attribute(listening).values
    near = Saliency(n_samples=2, noise=1e-6).attribute(listening).values
    assert np.allclose(near, plain, atol=0.01 * np.abs(plain).max())
    linear = Listening(Linear(noise(0.3, seed=2)), noise(0.3))
    assert np.allclose(Saliency(n_samples=2).attribute(linear).values, Saliency().attribute(linear).values, atol=1e-5)


@pytest.mark.parametrize("wrong", [{"n_samples": -1}, {"noise": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError):
        Saliency(**wrong)
