"""Calibration and fusion against scikit-learn, the conditions of the optimum, and values derived by hand."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from deepfake.errors import InputError
from deepfake.metrics.cllr import cllr, min_cllr
from deepfake.metrics.logistic import fit


def gaussian(n_bonafide, n_spoof, seed=0, mean=2.0, deviation=2.0):
    """Scores that are their own LLRs where the variance is twice the mean."""
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(mean, deviation, n_bonafide), rng.normal(-mean, deviation, n_spoof)])
    return scores, np.repeat([1, 0], [n_bonafide, n_spoof])


def shares(labels, prior):
    """Weights of the two labels at each trial: the smoothed target, either part weighed as a label of its kind."""
    n1, n0 = labels.sum(), (1 - labels).sum()
    target = np.where(labels == 1, 1 - 1 / (n1 + 2), 1 / (n0 + 2))
    return target * prior / n1, (1 - target) * (1 - prior) / n0


def scikit_learn(x, labels, prior):
    """The same objective as an ordinary weighted fit to every trial twice, once with each label."""
    ones, zeros = shares(labels, prior)
    weights = np.concatenate([ones, zeros]) * len(labels)
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    model.fit(np.concatenate([x, x]), np.repeat([1, 0], len(x)), weights)
    return model.coef_[0], np.ravel(model.intercept_)[0] - logit(prior)


@pytest.mark.parametrize("prior", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("n_systems", [1, 3])
def test_against_scikit_learn(prior, n_systems):
    rng = np.random.default_rng(1)
    labels = (rng.random(400) < 0.2).astype(int)
    x = labels[:, None] * np.array([1.0, 0.3, -2])[:n_systems] + rng.normal(size=(400, n_systems))
    weights, offset = fit(x, labels, prior=prior)
    wanted_weights, wanted_offset = scikit_learn(x, labels, prior)
    np.testing.assert_allclose(weights, wanted_weights, rtol=1e-6)
    assert offset == pytest.approx(wanted_offset, rel=1e-6)
    assert weights.shape == (n_systems,)


def test_two_scores_have_the_llr_of_their_smoothed_counts():
    # separated, 4 bona fide and 6 spoof: 4 * 5/6 of 4 bona fide labels against 4 * 1/6 of 6 spoof labels, and so on
    scores, labels = [1.0] * 4 + [0.0] * 6, [1] * 4 + [0] * 6
    for prior in (0.1, 0.5):
        (weight,), offset = fit(scores, labels, prior=prior)
        assert weight + offset == pytest.approx(np.log(5 * 6 / 4))
        assert offset == pytest.approx(-np.log(7 * 4 / 6))


def test_llrs_come_out_as_they_went_in():
    scores, labels = gaussian(20_000, 50_000)
    (weight,), offset = fit(scores, labels)
    assert weight == pytest.approx(1, abs=0.03)
    assert offset == pytest.approx(0, abs=0.05)
    (weight,), offset = fit(0.2 * scores - 7, labels)
    assert weight == pytest.approx(5, abs=0.15)
    assert offset == pytest.approx(35, abs=1)


def test_calibration_leaves_little_to_gain():
    scores, labels = gaussian(3000, 9000)
    for raw in (scores, 10 * scores + 4, -scores):
        (weight,), offset = fit(raw, labels)
        assert cllr(weight * raw + offset, labels) - min_cllr(scores, labels) < 0.01


def test_the_share_of_the_classes_does_not_enter():
    scores, labels = gaussian(300, 300)
    spoof = scores[labels == 0]
    weights, offset = fit(scores, labels)
    more, offset_of_more = fit(np.concatenate([scores, *[spoof] * 20]), np.append(labels, np.zeros(20 * 300)))
    assert more[0] == pytest.approx(weights[0], rel=0.02)  # but for the smoothing
    assert offset_of_more == pytest.approx(offset, abs=0.02)


def test_at_the_share_of_the_set_it_is_platts():
    scores, labels = gaussian(30, 90)
    (weight,), offset = fit(scores, labels, prior=0.25)
    p = expit(weight * scores + offset + logit(0.25))
    target = np.where(labels == 1, 31 / 32, 1 / 92)  # conditions of his optimum, every trial weighing the same
    assert np.sum(p - target) == pytest.approx(0, abs=1e-9)
    assert np.sum((p - target) * scores) == pytest.approx(0, abs=1e-8)


SCORE = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6), st.floats(-1, 1))


@given(st.lists(SCORE, min_size=2, max_size=30), st.floats(0.001, 0.999), st.data())
@settings(max_examples=200, deadline=None)
def test_any_scores_reach_the_optimum(scores, prior, data):
    rest = data.draw(st.lists(st.integers(0, 1), min_size=len(scores) - 2, max_size=len(scores) - 2))
    labels, s = np.array([1, 0, *rest]), np.array(scores)
    assume(np.ptp(s) > max(1e-9 * np.abs(s).max(), 1e-300))
    (weight,), offset = fit(s, labels, prior=prior)
    assert np.isfinite([weight, offset]).all()
    ones, zeros = shares(labels, prior)
    z = (s - s.mean()) / np.ptp(s)
    error = (ones + zeros) * expit(weight * s + offset + logit(prior)) - ones  # its sums are the gradient
    assert abs(error.sum()) < 1e-9
    assert abs(error @ z) < 1e-9


@pytest.mark.parametrize(
    ("n_bonafide", "n_spoof", "n_systems", "prior", "seed"), [(295, 4, 1, 0.001, 17352), (230, 316, 3, 0.001, 0)]
)
def test_heavy_tails_reach_the_optimum(n_bonafide, n_spoof, n_systems, prior, seed):
    """Full steps of Newton's method run away on these."""
    rng = np.random.default_rng(seed)
    x, labels = rng.standard_t(1, size=(n_bonafide + n_spoof, n_systems)), np.repeat([1, 0], [n_bonafide, n_spoof])
    weights, offset = fit(x, labels, prior=prior)
    ones, zeros = shares(labels, prior)
    error = (ones + zeros) * expit(x @ weights + offset + logit(prior)) - ones
    np.testing.assert_allclose(error @ np.column_stack([x / np.ptp(x, axis=0), np.ones(len(x))]), 0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e-3, 1e5, 1e150])
def test_the_scale_of_the_scores_is_no_matter(scale):
    scores, labels = gaussian(40, 60)
    (weight,), offset = fit(scores, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (scaled,), offset_of_scaled = fit(scale * scores, labels)
    assert scaled * scale == pytest.approx(weight, rel=1e-9)
    assert offset_of_scaled == pytest.approx(offset, rel=1e-9)


@pytest.mark.parametrize("n", [2, 20, 20_000])
def test_separable_classes_have_finite_weights(n):
    rng = np.random.default_rng(0)
    labels = np.arange(10 * n) < n
    scores = np.where(labels, 5.0, -5.0) + rng.random(10 * n)
    (weight,), offset = fit(scores, labels)
    assert 0 < weight < 10
    llrs = weight * scores + offset
    assert llrs[labels].min() > 0 > llrs[~labels].max()
    assert np.abs(llrs).max() < 3 * np.log(10 * n + 1)


def test_the_wrong_way_round_has_a_negative_weight():
    scores, labels = gaussian(200, 200)
    (weight,), offset = fit(scores, labels)
    (reversed_,), offset_of_reversed = fit(-scores, labels)
    assert weight > 0 > reversed_
    assert reversed_ == pytest.approx(-weight)
    assert offset_of_reversed == pytest.approx(offset)


def test_fusion_beats_its_parts():
    labels = np.repeat([1, 0], [4000, 6000])
    parts = np.stack([gaussian(4000, 6000, seed=seed, mean=1, deviation=d)[0] for seed, d in ((1, 1.4), (2, 2.8))], 1)
    weights, offset = fit(parts, labels)
    np.testing.assert_allclose(weights, [2 / 1.4**2, 2 / 2.8**2], rtol=0.15)  # independent: each its own LLR
    fused = parts @ weights + offset
    assert cllr(fused, labels) < min(min_cllr(part, labels) for part in parts.T) - 0.02


def test_systems_that_say_the_same_share_their_weight():
    scores, labels = gaussian(100, 300)
    (weight,), offset = fit(scores, labels)
    weights, offset_of_two = fit(np.stack([scores, 3 * scores - 1], 1), labels)
    fused = np.stack([scores, 3 * scores - 1], 1) @ weights + offset_of_two
    np.testing.assert_allclose(fused, weight * scores + offset, rtol=1e-8, atol=1e-8)
    assert np.abs(weights).max() < 2 * weight


def test_the_same_again_and_in_any_order():
    scores, labels = gaussian(50, 80)
    one, other = fit(scores, labels), fit(scores, labels)
    assert (one[0] == other[0]).all()
    assert one[1] == other[1]
    order = np.random.default_rng(0).permutation(130)
    weights, offset = fit(scores[order], labels[order])
    assert (weights[0], offset) == pytest.approx((one[0][0], one[1]), rel=1e-9)
    assert fit(scores[:, None], labels)[1] == one[1]
    kept = scores.copy()
    fit(kept, labels)
    np.testing.assert_array_equal(kept, scores)


@pytest.mark.parametrize(
    ("scores", "labels", "words"),
    [
        ([0.5, 0.5, 0.5], [1, 0, 0], "the scores run from 0.5 to 0.5"),
        ([[1, 7], [2, 7]], [1, 0], "the scores of system 2 run from 7 to 7"),
        ([0, 5e-324], [1, 0], "run from 0 to 4.94066e-324"),
        ([-1e308, 1e308], [1, 0], "run from -1e[+]308"),
        ([0.1, 0.2], [1, 1], "2 bona fide and 0 spoof"),
        ([0.1, np.nan], [1, 0], "1 of 2 scores are NaN"),
        ([0.1, np.inf], [1, 0], "infinite"),
        ([[1, 2], [3, 4], [5, 6]], [1, 0], "shape"),
        ([[[1.0]]], [1], r"shape \(1, 1, 1\)"),
        (np.zeros((3, 0)), [1, 0, 1], r"shape \(3, 0\)"),
        ([], [], "no trials"),
        (["a", "b"], [1, 0], "not numbers"),
    ],
)
def test_bad_input(scores, labels, words):
    with pytest.raises(InputError, match=words):
        fit(scores, labels)


@pytest.mark.parametrize("prior", [0, 1, -0.1, np.nan])
def test_bad_prior(prior):
    with pytest.raises(InputError, match="prior"):
        fit([1, 2], [0, 1], prior=prior)
