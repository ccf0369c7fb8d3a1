"""Calibration of probabilities and LLRs against scikit-learn, brute force and values derived by hand."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from deepfake.errors import InputError
from deepfake.metrics.cllr import cllr, min_cllr, pav
from deepfake.metrics.probability import (
    brier,
    ece,
    empirical_cross_entropy,
    misleading,
    posterior,
    reliability,
)

P = st.one_of(st.floats(0, 1), st.sampled_from([0, 0.2, 0.25, 0.6, 1]))


@st.composite
def probabilities(draw, values=P):
    """A few values with labels of both classes."""
    p = draw(st.lists(values, min_size=2, max_size=40))
    labels = [1, 0, *draw(st.lists(st.integers(0, 1), min_size=len(p) - 2, max_size=len(p) - 2))]
    return np.array(p), np.array(labels)


def llr_trials():
    return probabilities(values=st.floats(-30, 30))


def test_reliability_by_hand():
    predicted, observed, count = reliability([0, 0.5, 0.5, 0.6, 1], [0, 1, 0, 1, 1], n_bins=4)
    np.testing.assert_array_equal(count, [1, 2, 1, 1])  # 1/2 is the end of the second bin
    np.testing.assert_allclose(predicted, [0, 0.5, 0.6, 1])
    np.testing.assert_allclose(observed, [0, 0.5, 1, 1])


def test_an_empty_bin_has_no_frequency():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predicted, observed, count = reliability([0.1, 0.9], [0, 1], n_bins=3)
        assert ece([0.1, 0.9], [0, 1], n_bins=3) == pytest.approx(0.1)
    np.testing.assert_array_equal(count, [1, 0, 1])
    np.testing.assert_allclose(predicted, [0.1, np.nan, 0.9])
    np.testing.assert_allclose(observed, [0, np.nan, 1])


@given(probabilities(), st.integers(1, 20))
@settings(max_examples=150, deadline=None)
def test_reliability_and_ece_against_scikit_learn_and_a_loop(data, n_bins):
    p, labels = data
    predicted, observed, count = reliability(p, labels, n_bins=n_bins)
    true, mean = calibration_curve(labels, p, n_bins=n_bins)
    np.testing.assert_allclose(observed[count > 0], true, atol=1e-12)
    np.testing.assert_allclose(predicted[count > 0], mean, atol=1e-12)
    edges = np.linspace(0, 1, n_bins + 1)
    total = 0.0
    for low, high in pairwise(edges):
        inside = ((p > low) | (low == 0)) & (p <= high)
        total += abs(np.sum(labels[inside]) - np.sum(p[inside])) / len(p)
    assert ece(p, labels, n_bins=n_bins) == pytest.approx(total, abs=1e-12)
    assert count.sum() == len(p)


@given(probabilities())
@settings(max_examples=60, deadline=None)
def test_brier_against_scikit_learn(data):
    p, labels = data
    assert brier(p, labels) == pytest.approx(brier_score_loss(labels, p), abs=1e-12)


def test_brier_and_ece_by_hand():
    assert brier([0.5, 0.5], [1, 0]) == 0.25
    assert brier([1, 0], [1, 0]) == 0
    assert ece([1, 1, 0, 0], [1, 0, 0, 1]) == 0.5
    assert ece([0.75] * 4, [1, 1, 1, 0]) == 0


@pytest.mark.parametrize("metric", [reliability, ece, brier])
@pytest.mark.parametrize(
    ("p", "labels", "words"),
    [
        ([0.1, 1.2], [1, 0], "1 of 2 values"),
        ([-0.1, -3], [1, 0], "2 of 2 values"),
        ([0.1, np.nan], [1, 0], "NaN"),
        ([0.1, 0.2], [1, 1], "0 spoof"),
        ([], [], "no trials"),
    ],
)
def test_bad_probabilities(metric, p, labels, words):
    with pytest.raises(InputError, match=words):
        metric(p, labels)


def test_bins_that_are_none():
    with pytest.raises(InputError, match="0 bins"):
        reliability([0.1, 0.2], [0, 1], n_bins=0)


def test_posterior_is_bayes():
    odds, prior = np.array([0.01, 1, 20]), 0.2
    np.testing.assert_allclose(posterior(np.log(odds), prior), odds * 0.2 / (odds * 0.2 + 0.8))
    np.testing.assert_allclose(posterior(np.log(odds)), odds / (odds + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(posterior([-np.inf, -1e4, 1e4, np.inf], 0.3), [0, 0, 1, 1])
    assert posterior([-700.0])[0] == pytest.approx(np.exp(-700), rel=1e-9)  # small, not rounded away
    assert posterior([[0.0, 1.0]]).shape == (1, 2)


@pytest.mark.parametrize(
    ("llrs", "prior", "words"),
    [([0.0], 0, "prior"), ([0.0], 1, "prior"), ([0.0], np.nan, "prior"), ([np.nan], 0.5, "NaN"), (["a"], 0.5, "not")],
)
def test_bad_posterior(llrs, prior, words):
    with pytest.raises(InputError, match=words):
        posterior(llrs, prior)


def test_misleading_by_hand():
    got = misleading([-2, -1, 0, 3, -5, 0, 4], [1, 1, 1, 1, 0, 0, 0])
    assert got == (0.5, 1 / 3)
    assert misleading([1, 2, 0, -1], [1, 1, 0, 0]) == (0, 0)
    assert misleading([-np.inf, np.inf], [1, 0]) == (1, 1)
    assert misleading([np.inf, -np.inf], [1, 0]) == (0, 0)


@given(llr_trials())
@settings(max_examples=60, deadline=None)
def test_misleading_evidence_mirrors(data):
    llrs, labels = data
    assert misleading(llrs, labels) == misleading(-llrs, 1 - labels)[::-1]


@given(llr_trials(), st.lists(st.floats(-8, 8), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_cross_entropy_by_its_definition(data, grid):
    """Mean surprise at the truth, each class weighted by its prior: by Bayes' rule, one trial at a time."""
    llrs, labels = data
    for t, got in zip(grid, empirical_cross_entropy(llrs, labels, grid), strict=True):
        prior = 1 / (1 + np.exp(-t))
        p = 1 / (1 + np.exp(-llrs - t))
        q = 1 / (1 + np.exp(llrs + t))
        wanted = -prior * np.mean(np.log2(p[labels == 1])) - (1 - prior) * np.mean(np.log2(q[labels == 0]))
        assert got == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@given(llr_trials())
@settings(max_examples=60, deadline=None)
def test_cross_entropy_of_even_priors_is_cllr_and_pav_is_least_at_all(data):
    llrs, labels = data
    grid = np.linspace(-5, 5, 11)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given_, best = (empirical_cross_entropy(x, labels, grid) for x in (llrs, pav(llrs, labels)))
        silent = empirical_cross_entropy(np.zeros(len(llrs)), labels, grid)
    assert given_[5] == pytest.approx(cllr(llrs, labels))
    assert best[5] == pytest.approx(min_cllr(llrs, labels), abs=1e-12)
    assert (best <= given_ + 1e-9).all()
    p = 1 / (1 + np.exp(-grid))
    np.testing.assert_allclose(silent, -p * np.log2(p) - (1 - p) * np.log2(1 - p))
    assert (best <= silent + 1e-9).all()


def test_cross_entropy_of_infinite_evidence():
    np.testing.assert_array_equal(empirical_cross_entropy([np.inf, -np.inf], [1, 0], [-700, 0, 700]), [0, 0, 0])
    assert np.isposinf(empirical_cross_entropy([-np.inf, 0], [1, 0], [-700, 0, 700])).all()


@pytest.mark.parametrize("grid", [[np.nan], [np.inf], [0, 701], 0.0, [[0.0]]])
def test_bad_prior_log_odds(grid):
    with pytest.raises(InputError, match="prior log-odds"):
        empirical_cross_entropy([1, -1], [1, 0], grid)


@pytest.mark.parametrize("metric", [misleading, lambda llrs, labels: empirical_cross_entropy(llrs, labels, [0])])
def test_bad_llrs(metric):
    for llrs, labels, words in (([np.nan, 1], [1, 0], "NaN"), ([1, 2], [1, 1], "0 spoof"), ([], [], "no trials")):
        with pytest.raises(InputError, match=words):
            metric(llrs, labels)
