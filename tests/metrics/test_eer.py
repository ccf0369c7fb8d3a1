"""EER and ROC points against values derived by hand, brute force, scikit-learn and the organisers' results."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from deepfake.errors import InputError
from deepfake.metrics.eer import carried_threshold, eer, eer_official, official_points, roc


@st.composite
def trials(draw, smallest=1):
    """A few trials of both classes whose scores tie often."""
    bonafide = draw(st.lists(st.integers(-4, 6), min_size=smallest, max_size=12))
    spoof = draw(st.lists(st.integers(-6, 4), min_size=smallest, max_size=12))
    labels = np.array([1] * len(bonafide) + [0] * len(spoof))
    order = np.array(draw(st.permutations(range(len(labels)))))
    return np.array(bonafide + spoof, dtype=float)[order] / 4, labels[order]


def organisers_points(scores, labels):
    """The published loop, trial by trial, in plain Python."""
    bonafide = [(s, i, 1) for i, s in enumerate(scores[labels == 1])]
    spoof = [(s, len(bonafide) + i, 0) for i, s in enumerate(scores[labels == 0])]
    frr, far, thresholds = [0.0], [1.0], [min(scores) - 0.001]
    n1 = n0 = 0
    for s, _, label in sorted(bonafide + spoof):
        n1, n0 = n1 + label, n0 + 1 - label
        frr.append(n1 / len(bonafide))
        far.append((len(spoof) - n0) / len(spoof))
        thresholds.append(s)
    return far, frr, thresholds


def brute_eer(scores, labels):
    """Crossing of the line through the points of all distinct thresholds, each counted from scratch."""
    bonafide, spoof = scores[labels == 1], scores[labels == 0]
    points = [
        (np.mean(spoof > t), np.mean(bonafide <= t)) for t in [-np.inf, *sorted(set(scores.tolist()))]
    ]  # (far, frr)
    for (far0, frr0), (far1, frr1) in pairwise(points):
        if frr1 >= far1:
            # frr0 + a (frr1 - frr0) = far0 + a (far1 - far0)
            a = (far0 - frr0) / ((frr1 - frr0) - (far1 - far0))
            return frr0 + a * (frr1 - frr0)
    raise AssertionError


@pytest.mark.parametrize(
    ("bonafide", "spoof", "value", "threshold", "official", "official_threshold"),
    [
        ([0.9], [0.1, 0.5], 0, 0.5, 0, 0.5),  # separable: the largest spoof score, which is not accepted
        ([0.4], [0.1, 0.5], 0.5, 0.1, 0.25, 0.1),  # FAR stays at 1/2 while FRR jumps from 0 to 1
        ([1, 2, 3, 4], [0, 1.5, 2.5, -1], 0.25, 1.5, 0.25, 1.5),  # at t = 1.5: one of four of either class
        ([7, 7], [7, 7, 7], 0.5, 7, 1, 7),  # nothing can be told apart; official: all bona fide rejected first
        ([0, 0], [1, 1], 1, 0, 1, 0),  # the wrong way round
        # a tie at 1: from (FAR 1/2, FRR 0) to (0, 3/4), crossing at 3/10; official: within it, after two bona fide
        ([1, 1, 1, 2], [0, 1], 0.3, 0, 0.5, 1),
    ],
)
def test_by_hand(bonafide, spoof, value, threshold, official, official_threshold):
    scores, labels = bonafide + spoof, [1] * len(bonafide) + [0] * len(spoof)
    assert eer(scores, labels) == pytest.approx((value, threshold))
    assert eer_official(scores, labels) == pytest.approx((official, official_threshold))


def test_the_carried_threshold_decides_alike_with_a_margin_on_both_sides():
    assert carried_threshold([0.9, 0.1, 0.5], [1, 0, 0]) == pytest.approx(0.7)
    assert carried_threshold([7, 7], [1, 0]) == 7
    scores, labels = np.random.default_rng(0).normal(size=200), np.arange(200) % 2
    assert ((scores > carried_threshold(scores, labels)) == (scores > eer(scores, labels)[1])).all()


def test_roc_points_by_hand():
    far, frr, thresholds = roc([1, 1, 2, 0, 1], [1, 1, 1, 0, 0])
    np.testing.assert_allclose(far, [1, 0.5, 0, 0])
    np.testing.assert_allclose(frr, [0, 0, 2 / 3, 1])
    np.testing.assert_allclose(thresholds, [-0.001, 0, 1, 2])


@given(trials())
@settings(max_examples=150, deadline=None)
def test_official_points_are_the_published_loop(data):
    for ours, theirs in zip(official_points(*data), organisers_points(*data), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@given(trials())
@settings(max_examples=150, deadline=None)
def test_eer_is_the_brute_force_one(data):
    value, threshold = eer(*data)
    assert value == pytest.approx(brute_eer(*data), abs=1e-12)
    scores, labels = data
    gaps = {t: abs(np.mean(scores[labels == 1] <= t) - np.mean(scores[labels == 0] > t)) for t in set(scores.tolist())}
    assert threshold in gaps
    assert gaps[threshold] == pytest.approx(min(gaps.values()), abs=1e-12)


@given(trials())
@settings(max_examples=100, deadline=None)
def test_roc_is_that_of_sklearn(data):
    scores, labels = data
    far, frr, thresholds = roc(scores, labels)
    fpr, tpr, at = roc_curve(labels, scores, drop_intermediate=False)  # accepts s >= t, from strict to lax
    np.testing.assert_allclose(far, fpr[::-1], atol=1e-12)
    np.testing.assert_allclose(1 - frr, tpr[::-1], atol=1e-12)
    np.testing.assert_array_equal(thresholds[1:], at[:0:-1])


@given(trials())
@settings(max_examples=100, deadline=None)
def test_invariances(data):
    scores, labels = data
    value, _ = eer(scores, labels)
    for monotone in (np.exp(scores), 3 * scores - 7, scores**3):
        assert eer(monotone, labels)[0] == pytest.approx(value, abs=1e-12)
        assert eer_official(monotone, labels)[0] == eer_official(scores, labels)[0]
    assert eer(-scores, 1 - labels)[0] == pytest.approx(value, abs=1e-12)  # the two classes swap their parts
    assert eer(-scores, labels)[0] == pytest.approx(1 - value, abs=1e-12)
    order = np.random.default_rng(0).permutation(len(labels))
    assert eer(scores[order], labels[order])[0] == value
    assert eer_official(scores[order], labels[order])[0] == eer_official(scores, labels)[0]


def test_thresholds_stay_apart_from_the_scores_at_any_magnitude():
    for magnitude in (1e-3, 1e5, 1e16):
        assert roc(np.array([1.0, 2.0, 3.0, 4.0]) * magnitude, [0, 1, 0, 1]).thresholds[0] < magnitude


@pytest.mark.parametrize(
    ("scores", "labels", "words"),
    [
        ([0.1, np.nan, np.nan], [1, 0, 1], "2 of 3 scores are NaN"),
        ([0.1, np.inf], [1, 0], "1 of 2 scores"),
        ([0.1, 0.2], [1, 1], "2 bona fide and 0 spoof"),
        ([0.1, 0.2], [0, 0], "0 bona fide and 2 spoof"),
        ([0.1, 0.2, 0.3], [1, 0, 2], "1 of 3 labels"),
        ([0.1, 0.2], [1, np.nan], "1 of 2 labels"),
        ([0.1, 0.2], ["bonafide", "spoof"], "2 of 2 labels"),
        ([0.1, 0.2], [1, 0, 1], r"\(2,\) and labels of shape \(3,\)"),
        ([[0.1, 0.2]], [[1, 0]], r"shape \(1, 2\)"),
        ([], [], "no trials"),
        (["a", "b"], [1, 0], "not numbers"),
    ],
)
@pytest.mark.parametrize("metric", [eer, eer_official, roc])
def test_bad_input(metric, scores, labels, words):
    with pytest.raises(InputError, match=words):
        metric(scores, labels)


@pytest.mark.timeout(60)  # about 0.02 s; a quadratic search takes minutes
def test_fast_enough_to_run_after_every_epoch():
    rng = np.random.default_rng(0)
    labels = rng.random(71_000) < 0.1
    scores = rng.normal(size=71_000) + 2 * labels  # 15.87 % of each class lie beyond the middle
    assert eer(scores, labels)[0] == pytest.approx(0.1587, abs=0.005)
    assert eer_official(scores, labels)[0] == pytest.approx(eer(scores, labels)[0], abs=1e-4)
