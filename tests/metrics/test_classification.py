"""AUC and rates at a threshold against scikit-learn, scipy and counting by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, mannwhitneyu
from sklearn import metrics as oracle

from deepfake.errors import InputError
from deepfake.metrics.classification import at_threshold, auc, proportion_interval
from deepfake.metrics.eer import eer_official

CLASS = st.lists(st.integers(-3, 3), min_size=1, max_size=15)


@given(CLASS, CLASS)
@settings(max_examples=100, deadline=None)
def test_auc(bonafide, spoof):
    scores, labels = np.array(bonafide + spoof), np.array([1] * len(bonafide) + [0] * len(spoof))
    value = auc(scores, labels)
    assert value == pytest.approx(oracle.roc_auc_score(labels, scores), abs=1e-12)
    u = mannwhitneyu(bonafide, spoof).statistic
    assert value == pytest.approx(u / (len(bonafide) * len(spoof)), abs=1e-12)
    assert auc(-scores, labels) == pytest.approx(1 - value, abs=1e-12)
    assert auc(np.exp(scores), labels) == pytest.approx(value, abs=1e-12)


def test_auc_by_hand():
    # pairs (2 > 1), (2 > 3 no), (3 > 1), (3 = 3: half)
    assert auc([2, 3, 1, 3], [1, 1, 0, 0]) == 2.5 / 4


@given(CLASS, CLASS, st.integers(-4, 4))
@settings(max_examples=100, deadline=None)
def test_at_threshold(bonafide, spoof, threshold):
    scores, labels = np.array(bonafide + spoof), np.array([1] * len(bonafide) + [0] * len(spoof))
    decided = (scores > threshold).astype(int)
    got = at_threshold(scores, labels, threshold)
    assert got["fpr"] == pytest.approx(np.mean(np.array(spoof) > threshold))
    assert got["fnr"] == pytest.approx(np.mean(np.array(bonafide) <= threshold))
    assert got["accuracy"] == pytest.approx(oracle.accuracy_score(labels, decided))
    assert got["balanced_accuracy"] == pytest.approx(oracle.balanced_accuracy_score(labels, decided))
    assert got["recall"] == pytest.approx(oracle.recall_score(labels, decided))
    assert got["f1"] == pytest.approx(oracle.f1_score(labels, decided, zero_division=0))
    if decided.any():
        assert got["precision"] == pytest.approx(oracle.precision_score(labels, decided))
    else:
        assert got["precision"] is None


def test_a_score_on_the_threshold_is_rejected():
    assert at_threshold([0.5, 0.5], [1, 0], 0.5) == {
        "fpr": 0,
        "fnr": 1,
        "accuracy": 0.5,
        "balanced_accuracy": 0.5,
        "precision": None,
        "recall": 0,
        "f1": 0,
    }


def test_rates_at_the_official_threshold_are_the_official_ones():
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=999), rng.random(999) < 0.3
    scores[labels] += 1.5
    rate, threshold = eer_official(scores, labels)
    at = at_threshold(scores, labels, threshold)
    assert (at["fpr"] + at["fnr"]) / 2 == pytest.approx(rate, abs=1e-12)


def test_one_class_leaves_undefined_what_needs_the_other():
    spoof = at_threshold([0.1, 0.2, 0.9], [0, 0, 0], 0.5)
    assert spoof["fpr"] == pytest.approx(1 / 3)
    assert spoof["accuracy"] == pytest.approx(2 / 3)
    assert [spoof[k] for k in ("fnr", "balanced_accuracy", "precision", "recall", "f1")] == [None] * 5
    bonafide = at_threshold([0.1, 0.9], [1, 1], 0.5)
    assert (bonafide["fnr"], bonafide["recall"], bonafide["fpr"], bonafide["precision"]) == (0.5, 0.5, None, None)


@pytest.mark.parametrize("threshold", [np.nan, np.inf, -np.inf])
def test_a_threshold_that_is_none(threshold):
    with pytest.raises(InputError, match="threshold"):
        at_threshold([0.1, 0.2], [1, 0], threshold)


def test_bad_scores_and_missing_class():
    with pytest.raises(InputError, match="NaN"):
        at_threshold([0.1, np.nan], [1, 0], 0)
    with pytest.raises(InputError, match="0 bona fide"):
        auc([0.1, 0.2], [0, 0])


@pytest.mark.parametrize(("k", "n"), [(0, 50), (3, 100), (50, 50), (1, 1)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_of_a_proportion_is_scipys_exact_one(k, n, confidence):
    exact = binomtest(k, n).proportion_ci(confidence, method="exact")
    assert proportion_interval(k / n, n, confidence) == pytest.approx((exact.low, exact.high), abs=1e-12)
