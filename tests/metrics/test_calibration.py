"""Calibration: right where the answer is known, within its bounds, and honest about trials it has not seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake.errors import InputError
from deepfake.metrics.bounds import supported
from deepfake.metrics.calibration import Calibration, calibrate, cross_validated, dealt
from deepfake.metrics.cllr import cllr, min_cllr
from deepfake.metrics.logistic import fit


def gaussians(n, *, apart=2.0, scale=1.0, shift=0.0, share=0.5, seed=0):
    """Scores of two normal classes: `scale * N(label * apart, 1) + shift`, and their labels."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < share).astype(int)
    return scale * (rng.normal(size=n) + apart * labels) + shift, labels


@pytest.mark.parametrize(("scale", "shift", "share"), [(1.0, 0.0, 0.5), (7.0, -30.0, 0.1), (0.02, 4.0, 0.8)])
def test_the_map_of_two_normal_classes(scale, shift, share):
    # ln N(x; d, 1) / N(x; 0, 1) = d x - d^2 / 2, whatever the shares of the classes
    found = calibrate(*gaussians(20_000, apart=2.0, scale=scale, shift=shift, share=share))
    assert found.weight * scale == pytest.approx(2.0, abs=0.15)
    assert found.offset + found.weight * shift == pytest.approx(-2.0, abs=0.15)
    assert (found.n_bonafide + found.n_spoof, found.n_bonafide) == (20_000, pytest.approx(20_000 * share, rel=0.05))


def test_the_llrs_are_within_what_the_trials_support():
    scores, labels = gaussians(400, share=0.25)
    found = calibrate(scores, labels)
    assert (found.low, found.high) == supported(found.uncapped(scores), labels)
    assert -np.log(found.n_bonafide + 1) <= found.low < 0 < found.high <= np.log(found.n_spoof + 1)
    assert found.llr([-1e6, 1e6]).tolist() == [found.low, found.high]
    inside = (found.low - found.offset) / found.weight + 0.1
    assert found.llr(inside) == found.uncapped(inside) == found.weight * inside + found.offset
    assert found.llr(3.0).shape == () and found.llr([[1.0], [2.0]]).shape == (2, 1)


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e6)),
    st.floats(1e-6, 1e6),
    st.floats(-1e6, 1e6),
)
def test_a_larger_score_never_has_a_smaller_llr(scores, weight, offset):
    found = Calibration(weight, offset, -3.0, 4.0, 50, 20)
    low, high = found.llr([scores[0], scores[0] + scores[1]])
    assert -3 <= low <= high <= 4


def test_scores_the_wrong_way_round_are_refused():
    scores, labels = gaussians(100)
    with pytest.raises(InputError, match="not larger for bona fide"):
        calibrate(-scores, labels)


@pytest.mark.parametrize(("labels", "message"), [([1, 1, 1], "both are needed"), ([0, 1, 2], "neither 1")])
def test_what_is_no_calibration_set_is_refused(labels, message):
    with pytest.raises(InputError, match=message):
        calibrate([1.0, 2.0, 3.0], labels)


def test_scores_that_are_all_the_same_are_refused():
    with pytest.raises(InputError, match="cannot be calibrated"):
        calibrate([1.0, 1.0, 1.0], [0, 1, 1])


# ---------------------------------------------------------------- dealt


def grouped(seed, n=90, n_groups=9):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, n_groups, n)
    return (rng.random(n) < 0.4).astype(int), groups


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_on_both_sides(seed):
    labels, groups = grouped(seed)
    pairs = dealt(labels, groups, folds=5, seed=seed)
    assert len(pairs) == 5
    assert sorted(i for _, outside in pairs for i in outside) == list(range(90))
    for inside, outside in pairs:
        assert not {*groups[inside]} & {*groups[outside]}
        assert sorted([*inside, *outside]) == list(range(90))
        assert {*labels[inside]} == {*labels[outside]} == {0, 1}


def test_the_seed_deals_and_nothing_else():
    labels, groups = grouped(0)

    def folds(seed):
        return [outside.tolist() for _, outside in dealt(labels, groups, folds=3, seed=seed)]

    assert folds(1) == folds(1) != folds(2)


@pytest.mark.parametrize(
    ("labels", "groups", "n"),
    [
        ([0, 0, 0, 1, 1, 1, 1], range(7), 3),  # three trials of a class: three folds
        ([0, 0, 1, 1], range(4), 2),
        ([0, 0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 2, 2, 3, 4, 4], 2),  # two speakers of a class
    ],
)
def test_there_are_fewer_folds_where_a_class_is_small(labels, groups, n):
    assert len(dealt(np.array(labels), np.array(groups), folds=5, seed=0)) == n


def test_groups_that_cannot_be_dealt_into_as_many_folds_are_dealt_into_fewer():
    labels = np.array([1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1, 0, 1, 1])
    groups = np.array([5, 1, 0, 1, 2, 4, 2, 0, 2, 3, 4, 4, 5, 1, 5, 0])  # five of either class
    pairs = dealt(labels, groups, folds=5, seed=0)
    assert len(pairs) == 4
    assert all({*labels[side]} == {0, 1} for pair in pairs for side in pair)


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        ([0, 0, 0, 1], range(4)),
        ([0, 0, 0, 0], range(4)),
        ([0, 0, 0, 1, 1, 1], [0, 1, 2, 3, 3, 3]),
        ([0, 0, 0, 1, 1], [0, 0, 0, 0, 0]),
    ],
)
def test_too_few_to_be_dealt(labels, groups):
    with pytest.raises(InputError, match="too few"):
        dealt(np.array(labels), np.array(groups), folds=5, seed=0)


def test_groups_that_leave_a_class_on_one_side_are_refused():
    # both classes have two speakers, and yet every split leaves a side without one of the classes
    with pytest.raises(InputError, match="cannot be dealt into two folds"):
        dealt(np.array([0, 1, 0, 1]), np.array([0, 0, 1, 2]), folds=5, seed=0)


# ---------------------------------------------------------------- cross_validated


@pytest.mark.parametrize("groups", [None, np.arange(200) % 8])
@pytest.mark.parametrize("capped", [True, False])
def test_each_trial_has_the_map_of_the_others(groups, capped):
    scores, labels = gaussians(200, seed=3)
    found = cross_validated(scores, labels, groups=groups, capped=capped)
    for inside, outside in dealt(labels, np.arange(200) if groups is None else groups, folds=5, seed=0):
        map_ = calibrate(scores[inside], labels[inside])
        expected = map_.llr(scores[outside]) if capped else map_.uncapped(scores[outside])
        assert found[outside] == pytest.approx(expected, abs=1e-9)


def test_a_trials_own_label_does_not_move_its_llr():
    scores, labels = gaussians(60, seed=1)
    groups = np.array([f"speaker {i % 6}" for i in range(60)])
    before = cross_validated(scores, labels, groups=groups)
    assert np.array_equal(before, cross_validated(scores, labels, groups=groups))
    moved = scores.copy()
    moved[groups == "speaker 2"] += 0.25  # moves the maps of the others, and its own LLRs by its own map alone
    after = cross_validated(moved, labels, groups=groups, capped=False) - cross_validated(
        scores, labels, groups=groups, capped=False
    )
    fold = next(o for _, o in dealt(labels, np.unique(groups, return_inverse=True)[1], folds=5, seed=0) if 2 in o)
    assert np.ptp(after[groups == "speaker 2"]) < 1e-9 and (after[groups == "speaker 2"] > 0).all()
    others = np.setdiff1d(fold, np.flatnonzero(groups == "speaker 2"))
    assert (after[others] == 0).all()  # those dealt beside it have the same map as before


def test_noise_is_worth_nothing_and_is_not_flattered():
    rng = np.random.default_rng(5)
    labels = np.arange(300) % 2
    scores = rng.normal(size=(300, 12))
    seen, offset = fit(scores, labels)
    assert cllr(scores @ seen + offset, labels) < 0.97  # what twelve columns of noise seem to say of their own trials
    assert 0.99 < cllr(cross_validated(scores, labels), labels) < 1.2


def test_the_llrs_are_calibrated():
    scores, labels = gaussians(4000, scale=5.0, shift=100.0, share=0.2)
    llrs = cross_validated(scores, labels)
    assert cllr(llrs, labels) == pytest.approx(min_cllr(scores, labels), abs=0.02)


def test_one_system_is_a_fusion_of_one():
    scores, labels = gaussians(100)
    assert np.array_equal(cross_validated(scores, labels), cross_validated(scores[:, None], labels))


def test_two_systems_are_better_than_one():
    one, labels = gaussians(1000, seed=1)
    two = np.random.default_rng(2).normal(size=1000) + 2 * labels
    both = cross_validated(np.column_stack([one, two]), labels)
    assert cllr(both, labels) < 0.8 * min(cllr(cross_validated(x, labels), labels) for x in (one, two))


def test_without_trials_of_a_class_nothing_is_cross_validated():
    with pytest.raises(InputError, match="too few"):
        cross_validated([1.0, 2.0, 3.0], [0, 0, 1])
