"""Occlusion: where evidence adds up, the map is the evidence; everywhere, one patch is one difference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_detectors import PAIRS, Linear, noise, of_single_cells, small, tone

from deepfake.errors import InputError
from deepfake.explain.baseline import FILLINGS, refilled
from deepfake.explain.clip import Clip
from deepfake.explain.occlusion import Occlusion


@pytest.mark.parametrize("shifts", [1, 2, 3])
@pytest.mark.parametrize("filling", FILLINGS)
@pytest.mark.parametrize("seconds", [0.3, 0.1])
def test_where_evidence_adds_up_so_does_the_map(filling, shifts, seconds):
    clip = Clip(Linear(noise(0.3, seed=2)), noise(seconds))
    found = Occlusion(seconds=0.06, bands=3, shifts=shifts, fillings=[filling]).attribute(clip)
    cells = of_single_cells(refilled(clip, filling)).numpy()
    rounding = 4e-6 * cells.size  # each cell is a difference to the same single-precision score
    assert found.values.sum() == pytest.approx(cells.sum(), abs=rounding)
    assert found.facts["difference"] == pytest.approx(cells.sum(), abs=rounding)
    assert found.seconds[0] == 0 and found.seconds[-1] == clip.duration
    assert found.hz[0] == 0 and found.hz[-1] == 8000
    if shifts == 1:  # a cell is a patch: the sum of the small cells in it
        rows = np.digitize((clip.hz[1:] + clip.hz[:-1]) / 2, found.hz) - 1
        columns = np.digitize((clip.seconds[1:] + clip.seconds[:-1]) / 2, found.seconds) - 1
        expected = np.zeros_like(found.values)
        np.add.at(expected, (rows[:, None], columns[None]), cells)
        assert np.allclose(found.values, expected, atol=1e-3)


def test_the_cell_with_evidence_is_found_and_more_precisely_with_overlap():
    plant = tone(16000, 5000, 0.62, 0.66)
    clip = Clip(Linear(plant), noise(1.0) + plant)
    for shifts, width in ((1, 0.2), (4, 0.05)):
        found = Occlusion(seconds=0.2, bands=8, shifts=shifts).attribute(clip)
        band, frame = np.unravel_index(found.values.argmax(), found.values.shape)
        assert found.hz[band] <= 5000 <= found.hz[band + 1]
        assert found.seconds[frame] < 0.66 and found.seconds[frame + 1] > 0.62
        assert np.diff(found.seconds)[1:-1] == pytest.approx(width)


def test_by_default_a_stretch_is_found_to_a_fifth_of_a_second():
    plant = tone(32000, 5000, 0.8, 1.2)
    found = Occlusion().attribute(Clip(Linear(plant), noise(2.0) + plant))
    assert (found.facts["seconds"], found.facts["shifts"]) == (0.4, 2)
    assert found.values.shape[0] == 4 and np.diff(found.seconds)[1:-1] == pytest.approx(0.2)
    evidence = found.over_time()
    at = (found.seconds[1:] + found.seconds[:-1]) / 2
    assert evidence[(at > 0.8) & (at < 1.2)].min() > 2 * evidence[(at < 0.6) | (at > 1.4)].max()
    assert found.hz[found.values.sum(axis=1).argmax() + 1] > 5000


def test_overlapping_patches_are_averaged_by_their_share():
    """Two tilings against the formula, patch by patch."""
    detector = small("cnn", "linear")
    clip = refilled(Clip(detector, noise(0.3)), "noise")
    found = Occlusion(seconds=0.1, bands=1, shifts=2).attribute(clip)
    frames = clip.gain.shape[2]
    starts = list(range(0, frames, 5))
    t = clip.seconds
    expected = np.zeros(len(starts))
    for tiling in ([(i, i + 10) for i in range(0, frames, 10)], [(i, i + 10) for i in range(-5, frames, 10)]):
        for first, end in tiling:
            first, end = max(first, 0), min(end, frames)
            gain = clip.gain.clone()
            gain[:, :, first:end] = 0
            with torch.no_grad():
                lost = float(clip.spoof(clip.gain) - clip.spoof(gain))
            for c, start in enumerate(starts):
                stop = min(start + 5, frames)
                if first <= start and stop <= end:
                    expected[c] += 0.5 * lost * (t[stop] - t[start]) / (t[end] - t[first])
    assert np.allclose(found.values[0], expected, atol=1e-4)


@pytest.mark.parametrize(("model", "features"), PAIRS)
@pytest.mark.parametrize("waveform", [torch.zeros(8000), noise(0.3)], ids=["silence", "0.3 s"])
def test_every_clip_has_a_finite_map(model, features, waveform):
    clip = Clip(small(model, features), waveform)
    method = Occlusion(seconds=0.2, bands=2, fillings=["noise", "reversed"])
    found, again = (method.attribute(clip) for _ in range(2))
    assert np.isfinite(found.values).all() and np.array_equal(found.values, again.values)
    assert found.values.shape == (2, len(found.seconds) - 1) and found.seconds[-1] == clip.duration
    largest = np.abs(found.values).max()
    assert largest > 1e-6 if waveform.any() else largest < 1e-4  # of silence, the rounding of single precision
    assert -1 <= found.facts.get("lowest_correlation_of_fillings", 0) <= 1


def test_several_fillings_are_averaged_and_compared():
    clip = Clip(small("cnn", "linear"), noise(0.5))
    one, other = (Occlusion(fillings=[f]).attribute(clip) for f in ("noise", "silence"))
    both = Occlusion(fillings=["noise", "silence"]).attribute(clip)
    assert np.allclose(both.values, (one.values + other.values) / 2)
    expected = np.corrcoef(one.values.ravel(), other.values.ravel())[0, 1]
    assert both.facts["lowest_correlation_of_fillings"] == pytest.approx(expected)
    assert "lowest_correlation_of_fillings" not in one.facts


@pytest.mark.parametrize(
    "wrong",
    [{"seconds": 0.001}, {"bands": 0}, {"shifts": 0}, {"fillings": []}, {"fillings": ["x"]}, {"batch_size": 0}],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError):
        Occlusion(**wrong)
