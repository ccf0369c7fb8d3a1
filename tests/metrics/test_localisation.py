"""Metrics of localisation against counting milliseconds, scikit-learn, and trying all matchings."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deepfake.errors import InputError
from deepfake.metrics.eer import eer
from deepfake.metrics.localisation import (
    RESOLUTIONS,
    boundary_error,
    frame_labels,
    range_eer,
    unit_edges,
    unit_scores,
)


def test_labels_by_hand():
    assert frame_labels([(0.76, 0.8)], resolution=0.02, duration=1.0).tolist() == [1] * 38 + [0] * 2 + [1] * 10
    assert frame_labels([(0.15, 0.17), (0.5, 0.501)], resolution=0.16, duration=1.0).tolist() == [0, 0, 1, 0, 1, 1, 1]
    assert frame_labels([(0.3, 0.4)], resolution=0.1, duration=0.5).tolist() == [1, 1, 1, 0, 1]  # 3 * 0.1 > 0.3
    assert frame_labels([], resolution=0.64, duration=0.1).tolist() == [1]
    assert frame_labels([(0.0, 9.0)], resolution=0.64, duration=1.3).tolist() == [0, 0, 0]
    assert frame_labels([(5.0, 9.0)], resolution=0.64, duration=1.3).tolist() == [1, 1, 1]
    np.testing.assert_allclose(unit_edges(resolution=0.64, duration=1.3), [0, 0.64, 1.28, 1.3])


@st.composite
def milliseconds(draw, most=8):
    """Spoofed stretches in whole milliseconds, which may overlap."""
    pairs = st.tuples(st.integers(0, 1500), st.integers(1, 400))
    return [(start, start + length) for start, length in draw(st.lists(pairs, max_size=most))]


def in_seconds(stretches):
    return [(start / 1000, end / 1000) for start, end in stretches]


def spoofed_milliseconds(stretches, duration):
    """True for every millisecond of a recording that is spoofed."""
    return np.array([any(start <= ms < end for start, end in stretches) for ms in range(duration)])


@given(milliseconds(), st.integers(1, 1600), st.sampled_from([20, 160, 640, 7]))
def test_labels_are_those_of_the_milliseconds(stretches, duration, unit):
    spoofed = spoofed_milliseconds(stretches, duration)
    expected = [int(not spoofed[i : i + unit].any()) for i in range(0, duration, unit)]
    got = frame_labels(in_seconds(stretches), resolution=unit / 1000, duration=duration / 1000)
    assert got.tolist() == expected


@given(milliseconds())
def test_a_coarse_label_is_the_least_of_the_fine_ones(stretches):
    fine, coarse = (frame_labels(in_seconds(stretches), resolution=r, duration=1.28) for r in (0.02, 0.64))
    assert coarse.tolist() == fine.reshape(2, 32).min(axis=1).tolist()


@given(st.integers(1, 900), st.sampled_from([10, 33, 100, 250]), st.sampled_from([20, 160, 640, 50]))
def test_unit_scores_are_the_least_of_the_milliseconds(duration, frame, unit):
    edges = np.append(np.arange(0, duration, frame), duration) / 1000
    scores = np.random.default_rng(duration).normal(size=len(edges) - 1)
    by_ms = np.repeat(scores, np.diff(np.round(1000 * edges).astype(int)))
    got = unit_scores(edges, scores, resolution=unit / 1000)
    assert got.tolist() == [by_ms[i : i + unit].min() for i in range(0, duration, unit)]
    assert len(got) == len(frame_labels([], resolution=unit / 1000, duration=duration / 1000))


def test_the_sweep_of_resolutions_of_a_perfect_score():
    duration, spoofed = 2.0, [(0.3, 0.91)]
    edges = unit_edges(resolution=0.01, duration=duration)
    scores = frame_labels(spoofed, resolution=0.01, duration=duration)
    for resolution in RESOLUTIONS:
        labels = frame_labels(spoofed, resolution=resolution, duration=duration)
        assert eer(unit_scores(edges, scores, resolution=resolution), labels)[0] == 0
    assert range_eer([(edges, scores, spoofed)])[0] == 0


def test_range_eer_by_hand():
    # 1 s spoofed of which 0.25 s score high, 3 s bona fide of which 0.75 s score low: both rates are 1/4 at t = 0.
    frames = ([0, 0.75, 1.0, 1.75, 4.0], [0, 1, 0, 1], [(0, 1)])
    assert range_eer([frames]) == pytest.approx((0.25, 0))
    # The only frame with spoof in it holds as much bona fide speech: nothing tells the two apart there.
    assert range_eer([([0, 1], [5], [(0.25, 0.75)])])[0] == pytest.approx(0.5)
    # The same durations, dealt over two recordings, one of them bona fide.
    dealt = [([0, 0.75, 1.0, 1.5], [0, 1, 0], [(0, 1)]), ([0, 0.25, 2.5], [0, 1], [])]
    assert range_eer(dealt) == pytest.approx((0.25, 0))


@st.composite
def recordings(draw):
    """Frames of unequal length in whole milliseconds, tied scores, stretches that ignore their edges."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        inner = draw(st.sets(st.integers(1, 299), max_size=8))
        edges = [0, *sorted(inner), 300]
        scores = draw(st.lists(st.integers(-3, 3), min_size=len(edges) - 1, max_size=len(edges) - 1))
        starts = draw(st.lists(st.tuples(st.integers(0, 280), st.integers(1, 120)), max_size=3))
        found.append((edges, scores, [(a, a + n) for a, n in starts]))
    return found


@settings(deadline=None)
@given(recordings())
def test_range_eer_is_the_eer_of_all_milliseconds(found):
    """With every boundary on a millisecond, each millisecond is a trial: the EER that this metric is the limit of."""
    labels = np.concatenate([~spoofed_milliseconds(stretches, 300) for *_, stretches in found])
    assume(0 < labels.sum() < len(labels))
    scores = np.concatenate([np.repeat(scores, np.diff(edges)) for edges, scores, _ in found])
    got = range_eer([(np.array(e) / 1000, s, in_seconds(stretches)) for e, s, stretches in found])
    assert got[0] == pytest.approx(eer(scores, labels)[0], abs=1e-9)
    assert got[1] in set(scores.tolist())


@given(recordings(), st.integers(1, 299))
def test_range_eer_does_not_care_how_frames_are_cut(found, cut):
    assume(any(stretches for *_, stretches in found))
    before = [(np.array(e) / 1000, s, in_seconds(x)) for e, s, x in found]
    finer = []
    for edges, scores, stretches in before:
        at = np.union1d(edges, [cut / 1000])
        which = np.searchsorted(edges, (at[1:] + at[:-1]) / 2) - 1
        finer.append((at, np.array(scores)[which], stretches))
    try:
        expected = range_eer(before)[0]
    except InputError:
        return
    assert range_eer(finer)[0] == pytest.approx(expected, abs=1e-9)


def test_boundaries_by_hand():
    assert boundary_error([([(1.1, 2.0)], [(1.0, 2.3)])]) == (pytest.approx(0.2), 2, 0, 0)
    assert boundary_error([([(0.0, 1.0), (5.1, 6.0)], [(5.0, 6.0)])]) == (pytest.approx(0.05), 2, 0, 2)
    assert boundary_error([([], [(5.0, 6.0)]), ([(1.0, 2.0)], [(1.0, 2.0)])]) == (0.0, 2, 2, 0)
    nothing = boundary_error([([], []), ([], [(1.0, 2.0)])])
    assert math.isnan(nothing.seconds) and nothing[1:] == (0, 2, 0)


@given(milliseconds(4), milliseconds(4))
def test_boundaries_are_matched_at_the_least_cost(predicted, true):
    fewer, more = sorted((in_seconds(predicted), in_seconds(true)), key=len)
    best = sum(
        min(
            sum(abs(a[side] - b[side]) for a, b in zip(fewer, chosen, strict=True))
            for chosen in itertools.permutations(more, len(fewer))
        )
        for side in (0, 1)
    )
    got = boundary_error([(in_seconds(predicted), in_seconds(true))])
    assert got.matched == 2 * len(fewer)
    if fewer:
        assert got.seconds == pytest.approx(best / got.matched)
    assert (got.missed, got.extra) == (2 * max(len(true) - len(predicted), 0), 2 * max(len(predicted) - len(true), 0))


@pytest.mark.parametrize("stretch", [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_bad_stretches(stretch):
    with pytest.raises(InputError, match="end after their start"):
        frame_labels([stretch], resolution=0.02, duration=3.0)
    with pytest.raises(InputError, match="end after their start"):
        boundary_error([([], [stretch])])


def test_bad_input():
    for lengths in ({"resolution": 0, "duration": 1}, {"resolution": 1, "duration": math.nan}):
        with pytest.raises(InputError, match="lengths above 0"):
            frame_labels([], **lengths)
    for edges, scores, words in (
        ([0, 1], [1, 2], "expected"),
        ([0, 1, 1], [1, 2], "ascending"),
        ([0, 1], [math.nan], "NaN"),
        ([], [], "expected"),
    ):
        with pytest.raises(InputError, match=words):
            range_eer([(edges, scores, [(0, 0.5)])])
        with pytest.raises(InputError, match=words):
            unit_scores(edges, scores, resolution=0.1)
    for stretches in ([], [(0, 2)]):
        with pytest.raises(InputError, match="both are needed"):
            range_eer([([0, 1], [1], stretches)])
    with pytest.raises(InputError, match="both are needed"):
        range_eer([])
