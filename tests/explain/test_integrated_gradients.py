"""Integrated gradients: complete, exact for additive evidence, and marked where they are incomplete."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_detectors import PAIRS, Linear, noise, of_single_cells, small, tone

from deepfake.errors import InputError
from deepfake.explain.baseline import FILLINGS, refilled
from deepfake.explain.clip import Clip
from deepfake.explain.integrated_gradients import IntegratedGradients


@pytest.mark.parametrize("baseline", FILLINGS)
@pytest.mark.parametrize("seconds", [0.3, 0.11])
def test_additive_evidence_is_attributed_to_its_cells_completely(baseline, seconds):
    n = round(seconds * 16000)
    waveform = noise(seconds) + tone(n, 3000, 0.03, 0.06)
    clip = Clip(Linear(tone(4800, 3000, 0.03, 0.06)), waveform)
    found = IntegratedGradients(baseline=baseline).attribute(clip)
    filled = refilled(clip, baseline)
    assert np.allclose(found.values, of_single_cells(filled), atol=1e-3)
    with torch.no_grad():
        difference = float(clip.spoof_of(clip.input()) - filled.spoof(torch.zeros_like(filled.gain)))
    assert found.facts["difference"] == pytest.approx(difference, abs=1e-3)
    assert found.values.sum() == pytest.approx(difference, abs=1e-3)
    assert found.facts["completeness_error"] < 1e-3 and found.facts["steps"] == 16
    frame = found.over_time().argmax()
    assert 0.02 <= found.seconds[frame] <= 0.06 and found.seconds[-1] == clip.duration


class Power(Linear):
    """Evidence that grows with a power of the gain; Gauss-Legendre with two nodes is exact up to the fourth."""

    power = 8.0

    def logits(self, waveform):
        return -((waveform @ self.pattern).abs()[:, None] ** self.power)


def unit_clip() -> torch.Tensor:
    return noise(0.3, seed=2) / noise(0.3, seed=2).norm()


def test_a_smooth_path_is_complete_at_once_and_a_steep_end_is_halved():
    for power, at_once in ((2.0, True), (8.0, True), (0.1, False)):
        detector = Power(unit_clip())
        detector.power = power
        waveform = unit_clip()
        few = IntegratedGradients(steps=16, baseline="silence").attribute(Clip(detector, waveform))
        more = IntegratedGradients(steps=256, baseline="silence").attribute(Clip(detector, waveform))
        for found in (few, more):
            left = abs(found.values.sum() - found.facts["difference"]) / found.facts["difference"]
            assert found.facts["difference"] == pytest.approx(1, rel=1e-3)
            assert found.facts["completeness_error"] == pytest.approx(left, abs=1e-6)
            assert found.facts["complete"] == ("yes" if left <= 0.01 else "no")
        assert few.facts["steps"] == 16 and (few.facts["complete"] == "yes") == at_once
        assert (more.facts["steps"] == 16) == at_once
        assert more.facts["completeness_error"] <= few.facts["completeness_error"]
    assert few.facts["completeness_error"] > 0.2
    # the steps that are left are spent
    assert more.facts["complete"] == "yes" or more.facts["steps"] > 248


@pytest.mark.parametrize(("power", "steps"), [(4.0, 16), (0.1, 128)])
def test_the_stated_steps_are_the_gradients_computed(power, steps, monkeypatch):
    """Two nodes are exact up to the fourth power; a steep end takes all steps there are."""
    detector, gradients, waveform = Power(unit_clip()), [], Clip.waveform
    detector.power = power

    def counted(self, gain):
        gradients.append(len(gain) * gain.requires_grad)
        return waveform(self, gain)

    monkeypatch.setattr(Clip, "waveform", counted)
    found = IntegratedGradients(baseline="silence").attribute(Clip(detector, unit_clip()))
    assert sum(gradients) == found.facts["steps"] == steps
    assert (found.facts["completeness_error"] < 1e-4) == (power == 4.0)


class Jump(Linear):
    def logits(self, waveform):
        return -((waveform @ self.pattern)[:, None] > 0.6).float() - 0 * (waveform @ self.pattern)[:, None]


def test_a_discontinuity_is_marked_as_incomplete():
    found = IntegratedGradients(steps=64, baseline="silence").attribute(Clip(Jump(unit_clip()), unit_clip()))
    assert found.facts["complete"] == "no" and found.facts["completeness_error"] == pytest.approx(1)
    assert found.facts["steps"] == 64


@pytest.mark.parametrize(("model", "features"), PAIRS)
def test_maps_of_real_models_state_their_completeness(model, features):
    clip = Clip(small(model, features), noise(0.5))
    steps = 512 if clip.detector.features.kind == "embedding" else 64  # layer norms: steep where the clip begins
    found = IntegratedGradients(steps=steps).attribute(clip)
    facts = found.facts
    assert found.values.any() and facts["steps"] <= steps
    error = abs(found.values.sum() - facts["difference"]) / max(abs(facts["difference"]), 0.1)
    assert facts["completeness_error"] == pytest.approx(error, abs=1e-5)
    if not model.startswith("aasist"):  # which jumps from one node to another
        assert error < 0.05


@pytest.mark.parametrize(("model", "features"), PAIRS)
def test_noise_of_the_level_of_silence_is_silence_as_well(model, features):
    found = IntegratedGradients(steps=16).attribute(Clip(small(model, features), torch.zeros(8000)))
    assert not found.values.any() and found.facts["completeness_error"] == 0 and found.facts["complete"] == "yes"


def test_settings_out_of_range_are_refused():
    for wrong in ({"steps": 15}, {"baseline": "music"}):
        with pytest.raises(InputError):
            IntegratedGradients(**wrong)
