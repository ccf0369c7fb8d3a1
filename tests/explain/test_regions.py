"""Regions of maps with known evidence, and of random maps by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepfake.errors import InputError
from deepfake.explain.map import Map
from deepfake.explain.regions import Region, coverage, regions

HZ = np.array([0.0, 100, 300, 700, 1500, 3100])


def a_map(values, frame=0.01):
    values = np.asarray(values, dtype=float)
    return Map("test", values, HZ[: len(values) + 1], np.arange(values.shape[1] + 1) * frame, {})


def by_frames(evidence, **settings):
    """Regions of a map with all evidence in the third of five bands."""
    values = np.zeros((5, len(evidence)))
    values[2] = evidence
    return regions(a_map(values), **settings)


def test_a_block_is_found_with_its_band_and_strength():
    values = np.full((5, 100), -0.01)
    values[2:4, 20:40] = 1.0
    (region,) = regions(a_map(values))
    assert region == pytest.approx(Region(0.2, 0.4, 300, 1500, 20 * (2 - 0.03)))


def test_the_threshold_is_relative_and_a_gap_is_closed_before_short_ones_go():
    evidence = np.zeros(100)
    evidence[10:14] = 1.0  # 40 ms, and 50 ms on another 30 ms
    evidence[19:22] = 0.61
    evidence[50:54] = 1.0  # alone, too short
    evidence[70:90] = 0.6  # not above
    for scale in (1, 1e-9):
        (region,) = by_frames(scale * evidence)
        assert (region.start_s, region.end_s) == pytest.approx((0.10, 0.22))
    assert len(by_frames(evidence, gap_seconds=0.04)) == 0
    assert len(by_frames(evidence, gap_seconds=0.0, shortest_seconds=0.0)) == 3
    assert len(by_frames(evidence, threshold=0.5)) == 2


@pytest.mark.parametrize(
    "values", [np.zeros((5, 20)), np.full((5, 20), -1.0), np.zeros((5, 0)), np.full((5, 9), np.nan)]
)
def test_without_positive_evidence_there_is_nothing(values):
    assert regions(a_map(values)) == []


def test_the_evidence_of_a_frame_is_the_sum_of_its_bands():
    values = np.zeros((5, 40))
    values[0, 5:15], values[4, 5:15] = 5.0, -5.0
    values[1, 25:35] = 1.0
    assert [(r.start_s, r.low_hz, r.high_hz) for r in regions(a_map(values))] == [pytest.approx((0.25, 100, 300))]


@given(st.lists(st.floats(-2, 5), min_size=5, max_size=5).filter(lambda v: sum(v) > 0.1))
def test_the_band_is_the_narrowest_that_carries_the_evidence(bands):
    (region,) = regions(a_map(np.repeat(np.array(bands)[:, None], 10, axis=1)))
    positive = np.maximum(bands, 0)
    low, high = np.flatnonzero(region.low_hz == HZ)[0], np.flatnonzero(region.high_hz == HZ)[0]
    enough = 0.8 * positive.sum()
    assert positive[low:high].sum() >= enough - 1e-9
    for i, j in itertools.combinations(range(6), 2):
        if j - i < high - low:
            assert positive[i:j].sum() < enough + 1e-9


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60), st.sampled_from([0.0, 0.03]), st.sampled_from([0.0, 0.04]))
def test_regions_are_separate_long_enough_and_contain_every_strong_frame(evidence, gap, shortest):
    found = by_frames(evidence, gap_seconds=gap, shortest_seconds=shortest)
    for one, other in itertools.pairwise(found):
        assert other.start_s - one.end_s > gap
    assert all(r.end_s - r.start_s >= shortest - 1e-9 and r.strength > 0 for r in found)
    if shortest == 0:
        for i in np.flatnonzero(np.array(evidence) > 0.6 * max(*evidence, 1e-12)):
            assert any(r.start_s <= i * 0.01 + 0.005 <= r.end_s for r in found)
    centres = 0.01 * np.arange(len(evidence)) + 0.005
    inside = [any(r.start_s < t < r.end_s for r in found) for t in centres]
    assert coverage(found, 0.01 * len(evidence)) == pytest.approx(np.mean(inside))


def test_coverage_is_a_share():
    two = [Region(0.0, 1.0, 0, 1, 1.0), Region(2.0, 2.5, 0, 1, 1.0)]
    assert coverage(two, 6.0) == 0.25 and coverage([], 3.0) == 0


@pytest.mark.parametrize(
    "settings", [{"threshold": 0}, {"threshold": 1.0}, {"gap_seconds": -1}, {"shortest_seconds": np.nan}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InputError, match=f"{next(iter(settings))}="):
        regions(a_map(np.ones((5, 9))), **settings)
