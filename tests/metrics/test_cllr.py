"""Cllr and PAV against scikit-learn, brute force over monotone calibrations, and values derived by hand."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss

from deepfake.errors import InputError
from deepfake.metrics.cllr import cllr, min_cllr, pav


@st.composite
def trials(draw):
    """A few trials of both classes whose scores tie often."""
    bonafide = draw(st.lists(st.integers(-4, 6), min_size=1, max_size=12))
    spoof = draw(st.lists(st.integers(-6, 4), min_size=1, max_size=12))
    labels = np.array([1] * len(bonafide) + [0] * len(spoof))
    order = np.array(draw(st.permutations(range(len(labels)))))
    return np.array(bonafide + spoof, dtype=float)[order] / 2, labels[order]


def max_min_pav(scores, labels):
    """Isotonic regression by its max-min formula (Barlow et al. 1972), in a way that pools nothing."""
    distinct = sorted(set(scores))
    share = {}
    for middle in distinct:
        lows, highs = [s for s in distinct if s <= middle], [s for s in distinct if s >= middle]
        means = [[labels[(scores >= low) & (scores <= high)].mean() for high in highs] for low in lows]
        share[middle] = max(min(row) for row in means)
    p = np.array([share[s] for s in scores])
    with np.errstate(divide="ignore"):
        return np.log(p) - np.log(1 - p) - np.log(labels.sum() / (1 - labels).sum())


def test_cllr_by_hand():
    assert cllr([0, 0, 0], [1, 0, 0]) == pytest.approx(1)  # saying nothing leaves the one bit there was
    odds = np.log([3, 1 / 3, 1])
    # bona fide at LR 3 and 1/3: log2(4/3), log2 4; spoof at LR 1: 1 bit
    assert cllr(odds, [1, 1, 0]) == pytest.approx(((np.log2(4 / 3) + 2) / 2 + 1) / 2)
    assert cllr([1e4, -1e4], [1, 0]) == 0
    assert cllr([-1e4, 1e4], [1, 0]) == pytest.approx(1e4 / np.log(2))  # e^10000 overflows, its logarithm does not


@given(trials())
@settings(max_examples=60, deadline=None)
def test_cllr_is_the_log_loss_of_balanced_classes(data):
    llrs, labels = data
    weights = np.where(labels == 1, 1 / labels.sum(), 1 / (1 - labels).sum())
    p = 1 / (1 + np.exp(-llrs))
    assert cllr(llrs, labels) == pytest.approx(log_loss(labels, p, sample_weight=weights, labels=[0, 1]) / np.log(2))


def test_infinite_evidence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cllr([np.inf, -np.inf], [1, 0]) == 0
        assert cllr([np.inf, 0, 0], [1, 1, 0]) == pytest.approx(0.75)
        assert cllr([-np.inf, 0], [1, 0]) == np.inf
        assert cllr([0, np.inf], [1, 0]) == np.inf


def test_pav_by_hand():
    # one bona fide below one spoof: pooled to 1/2, log-odds 0, less those of 3 to 2; the ends are of one class
    got = pav([1, 2, 3, 4, 5], [0, 1, 0, 1, 1])
    np.testing.assert_allclose(got, [-np.inf, -np.log(1.5), -np.log(1.5), np.inf, np.inf])
    np.testing.assert_allclose(pav([7, 7, 7], [1, 0, 0]), 0)  # a tie is one block
    np.testing.assert_allclose(pav([1, 1, 2, 2, 2], [1, 0, 1, 1, 0]), np.log([2 / 3, 2 / 3, 4 / 3, 4 / 3, 4 / 3]))
    np.testing.assert_allclose(pav([3, 2, 1], [0, 1, 1]), 0)  # the wrong way round


@given(trials())
@settings(max_examples=100, deadline=None)
def test_pav_is_the_isotonic_regression(data):
    scores, labels = data
    got = pav(scores, labels)
    np.testing.assert_allclose(got, max_min_pav(scores, labels), atol=1e-12)
    shares = IsotonicRegression().fit(scores, labels).predict(scores)
    odds = np.exp(got) * labels.sum() / (1 - labels).sum()
    np.testing.assert_allclose(1 - 1 / (1 + odds), shares, atol=1e-12)


@given(trials())
@settings(max_examples=100, deadline=None)
def test_pav_is_monotone_on_the_right_side_and_settles(data):
    scores, labels = data
    got = pav(scores, labels)
    order = np.argsort(scores, kind="stable")
    assert (got[order][1:] >= got[order][:-1]).all()
    assert not (got[labels == 1] == -np.inf).any()
    assert not (got[labels == 0] == np.inf).any()
    finite = np.clip(got, -50, 50)  # itself a score: nothing is left to calibrate
    np.testing.assert_allclose(pav(finite, labels), got, atol=1e-12)
    np.testing.assert_allclose(pav(np.exp(3 * scores), labels), got, atol=1e-12)


@given(trials(), st.lists(st.floats(0, 3), min_size=30, max_size=30), st.floats(-5, 5))
@settings(max_examples=100, deadline=None)
def test_no_monotone_calibration_costs_less(data, steps, lowest):
    scores, labels = data
    levels = lowest + np.cumsum(steps)
    calibrated = levels[np.searchsorted(np.unique(scores), scores)]
    assert min_cllr(scores, labels) <= cllr(calibrated, labels) + 1e-12
    assert min_cllr(scores, labels) <= cllr(scores, labels) + 1e-12
    assert 0 <= min_cllr(scores, labels) <= 1 + 1e-12


def test_min_cllr_by_hand():
    assert min_cllr([1, 2, 3, 4], [0, 0, 1, 1]) == 0
    assert min_cllr([7, 7], [1, 0]) == pytest.approx(1)
    assert min_cllr([4, 3, 2, 1], [0, 0, 1, 1]) == pytest.approx(1)
    # of two each, one of either class in the pool of LR 1: half of the one bit
    assert min_cllr([1, 2, 3, 4], [0, 1, 0, 1]) == pytest.approx(0.5)


def test_calibrated_scores_have_little_to_gain():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(2, 2, 20_000), rng.normal(-2, 2, 20_000)])  # their own LLR: variance = 2 mean
    labels = np.arange(40_000) < 20_000
    assert 0 < cllr(scores, labels) - min_cllr(scores, labels) < 0.003
    assert cllr(scores + 3, labels) - min_cllr(scores + 3, labels) > 0.2
    assert min_cllr(scores + 3, labels) == pytest.approx(min_cllr(scores, labels))


@pytest.mark.parametrize("metric", [cllr, pav, min_cllr])
@pytest.mark.parametrize(
    ("scores", "labels", "words"),
    [
        ([0.1, np.nan], [1, 0], "1 of 2 .* NaN"),
        ([0.1, 0.2], [1, 1], "2 bona fide and 0 spoof"),
        ([0.1, 0.2], [0, 0], "0 bona fide and 2 spoof"),
        ([0.1, 0.2], [1, 2], "1 of 2 labels"),
        ([0.1], [1, 0], "shape"),
        ([], [], "no trials"),
        (["a", "b"], [1, 0], "not numbers"),
    ],
)
def test_bad_input(metric, scores, labels, words):
    with pytest.raises(InputError, match=words):
        metric(scores, labels)


@pytest.mark.parametrize("metric", [pav, min_cllr])
def test_infinite_scores_are_no_scores(metric):
    with pytest.raises(InputError, match="infinite"):
        metric([np.inf, 0], [1, 0])
