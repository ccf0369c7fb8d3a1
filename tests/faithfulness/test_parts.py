"""Parts of faithfulness: deletion, infidelity, pointing, sanity, seams; against brute force and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from small_detectors import Linear, noise, of_single_cells, small

from deepfake.explain.baseline import refilled
from deepfake.explain.clip import Clip
from deepfake.explain.controls import Loudness, Random
from deepfake.explain.map import Map
from deepfake.explain.saliency import Saliency
from deepfake.faithfulness import pointing, seams
from deepfake.faithfulness.deletion import Blocks, areas, at_random
from deepfake.faithfulness.infidelity import infidelity, max_sensitivity
from deepfake.faithfulness.sanity import randomised, rank_correlation
from deepfake.metrics.localisation import frame_labels


@pytest.fixture(scope="module")
def parts():
    """A clip, its cells' true evidence as a map, and its blocks."""
    clip = refilled(Clip(Linear(noise(0.4, seed=2)), noise(0.4)), "noise")
    values = of_single_cells(clip).double().numpy()
    map = Map("true", values, clip.hz, clip.seconds, {})
    return clip, map, Blocks(clip, seconds=0.05, bands=4)


def along(*over_time, seconds=None):
    """A map of one band."""
    n = len(over_time)
    edges = np.linspace(0, n, n + 1) if seconds is None else np.array(seconds, dtype=float)
    return Map("test", np.array([over_time], dtype=float), np.array([0.0, 8000.0]), edges, {})


def test_areas_of_evidence_that_adds_up(parts):
    """The curve is a running sum of the blocks' evidence, largest first."""
    _, map, blocks = parts
    assert blocks.shape == (4, 9)
    of_block = np.zeros(blocks.shape)
    for f, row in enumerate(blocks.rows):
        for frame, column in enumerate(blocks.columns):
            of_block[row, column] += map.values[f, frame]
    means = of_block.copy()
    for r in range(4):
        for c in range(9):
            means[r, c] /= np.sum(blocks.rows == r) * np.sum(blocks.columns == c)
    assert np.allclose(blocks.values(map), means)
    found = areas(blocks, map, steps=36)
    order = np.argsort(-means.ravel())
    lost = np.concatenate([[0.0], np.cumsum(of_block.ravel()[order])])
    assert found.deletion == pytest.approx(-np.trapezoid(lost) / 36, abs=2e-3)
    assert found.insertion == pytest.approx(np.trapezoid(lost) / 36, abs=2e-3)
    chance = at_random(blocks, map, n=4, steps=6)
    worst = areas(blocks, map._replace(values=-map.values), steps=6)
    assert areas(blocks, map, steps=6).deletion < chance.deletion < worst.deletion


def test_equal_masks_are_scored_once(parts, monkeypatch):
    clip = parts[0]
    batches, blocks = [], Blocks(clip, batch_size=3)
    spoof = clip.spoof
    monkeypatch.setattr(clip, "spoof", lambda gain: batches.append(len(gain)) or spoof(gain))
    masks = np.random.default_rng(0).integers(0, 2, (5, *blocks.shape))
    first = blocks.evidence(np.concatenate([masks, masks]))
    assert batches == [3, 2]
    assert np.array_equal(first[:5], first[5:]) and np.array_equal(blocks.evidence(masks), first[:5])
    assert batches == [3, 2]


def test_infidelity_is_zero_for_the_true_map_and_one_for_an_empty_map(parts):
    clip, map, _ = parts
    fine = Blocks(clip, seconds=0.01, bands=40)
    assert infidelity(fine, map) < 1e-3
    assert infidelity(fine, map._replace(values=3 * map.values)) < 1e-3  # up to one factor
    assert infidelity(fine, map._replace(values=0 * map.values)) == pytest.approx(1, abs=1e-4)
    assert infidelity(fine, Random().attribute(clip)) > 0.5


def test_sensitivity_is_zero_for_a_map_that_does_not_change(parts):
    clip = parts[0]
    assert max_sensitivity(Random(), clip) == 0
    assert 0 < max_sensitivity(Loudness(), clip) < max_sensitivity(Saliency(), Clip(small("cnn", "mel"), noise(0.5)))


def test_units_of_a_coarse_map():
    map = along(4.0, 2.0, seconds=[0, 0.1, 0.15])
    found = pointing.by_unit(map)
    labels = frame_labels([(0.12, 0.13)], resolution=pointing.RESOLUTION, duration=0.15)
    assert len(found) == len(labels) == 8
    assert np.allclose(found, 40)  # per second, the last one only half as long
    assert labels.tolist() == [1] * 6 + [0, 1]
    step = along(0.0, 1.0, seconds=[0, 0.5, 1.0])
    smooth = pointing.by_unit(step, seconds=0.2)
    assert np.allclose(smooth[:20], 0) and np.allclose(smooth[30:], 2)
    assert (np.diff(smooth[20:30]) > 0).all()


def test_pointing_has_one_cell_of_tolerance_and_so_has_chance():
    spoofed = [(4.0, 5.0)]
    for peak, hit in ((2, False), (3, True), (4, True), (5, True), (6, False)):
        found = pointing.points_at(along(*np.eye(10)[peak]), spoofed)
        assert found == (hit, pytest.approx(0.3))
    assert not pointing.points_at(along(1, 1.5, 1, 1, 1, seconds=[0, 1, 4, 5, 6, 7]), [(2.0, 2.5)])[0]


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    one, other = along(*rng.integers(0, 4, 30)), along(*rng.integers(0, 4, 30))
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one.values[0], other.values[0]).statistic)
    assert rank_correlation(one, along(*np.ones(30))) == 0
    assert rank_correlation(one, one._replace(values=-np.exp(one.values))) == pytest.approx(-1)


def test_weights_are_randomised_from_the_last_layer_on():
    detector = small("cnn", "mel").requires_grad_(False)
    before = {name: p.clone() for name, p in detector.named_parameters()}

    def changed(share):
        other = randomised(detector, share, seed=1)
        return {n for n, p in other.named_parameters() if not torch.equal(p, before[n])}

    head, half, everything = changed(0.0), changed(0.5), changed(1.0)
    assert head and {n.split(".")[1] for n in head} == {"head"}
    assert head < half < everything
    assert {n for n, p in before.items() if p.ndim > 1} <= everything
    assert all(torch.equal(p, before[n]) for n, p in detector.named_parameters())
    kernel = randomised(detector, 1.0, seed=1).get_parameter("model.blocks.2.0.weight")
    old = before["model.blocks.2.0.weight"]
    assert float(kernel.square().mean().sqrt()) == pytest.approx(float(old.square().mean().sqrt()), rel=0.3)
    assert not torch.equal(kernel, randomised(detector, 1.0, seed=2).get_parameter("model.blocks.2.0.weight"))


@pytest.mark.parametrize("seconds", [1.0, 0.1])
def test_splices_keep_what_is_outside_and_the_level_inside(seconds):
    host, guest = noise(1.0, seed=1), 5 * noise(seconds, seed=2)
    mixed, (first, last) = seams.spliced(host, guest, sample_rate=16000, seed=3)
    a, b = round(first * 16000), round(last * 16000)
    assert 80 <= a < b <= 15920 and torch.equal(mixed[: a - 80], host[: a - 80])
    assert torch.equal(mixed[b + 80 :], host[b + 80 :])
    inside = slice(a + 80, b - 80)
    assert not torch.isclose(mixed[inside], host[inside]).all()
    assert mixed[inside].std() == pytest.approx(float(host.std()), rel=0.15)
    stretch = b - a + 160
    assert stretch == 1600 if seconds == 0.1 else 0.2 * 16000 - 1 <= stretch <= 0.5 * 16000 + 1
    again = seams.spliced(host, guest, sample_rate=16000, seed=3)[0]
    assert torch.equal(again, mixed)


def test_evenly_spread_evidence_is_near_seams_as_often_as_time_is():
    even = along(*np.ones(100), seconds=np.linspace(0, 2, 101))
    for at in ([0.5], [0.5, 0.55], [0.01, 1.0], [1.0, 1.3]):
        assert seams.shares_near(even, at)[0] == pytest.approx(seams.shares_near(even, at)[1])
    assert seams.shares_near(even, [0.5, 0.55])[1] == pytest.approx(0.21 / 2)
    assert math.isnan(seams.shares_near(even._replace(values=-even.values), [0.5])[0])
    only = even._replace(values=np.where(np.arange(100) == 25, 1.0, -1.0)[None])
    assert seams.shares_near(only, [0.5])[0] == 1
