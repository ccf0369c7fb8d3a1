"""Detection costs against brute force over all thresholds, and against values derived by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake.errors import InputError
from deepfake.metrics.dcf import a_dcf, act_dcf, min_dcf
from deepfake.metrics.eer import official_points

TIED = st.lists(st.integers(-4, 4), min_size=1, max_size=10)
WEIGHT = st.floats(0.05, 20)


def two_classes(bonafide, spoof):
    return np.array(bonafide + spoof, dtype=float), np.repeat([1, 0], [len(bonafide), len(spoof)])


def cost_at(t, groups, weights):
    """What accepting `score > t` costs, by counting; the first group is to be accepted, the others are not."""
    miss = weights[0] * np.mean(np.array(groups[0]) <= t)
    return miss + sum(w * np.mean(np.array(g) > t) for w, g in zip(weights[1:], groups[1:], strict=True))


def cheapest(groups, weights):
    """The least cost over every threshold, normalised, and every threshold that has it."""
    thresholds = [-np.inf, *sorted({score for group in groups for score in group})]
    costs = np.array([cost_at(t, groups, weights) for t in thresholds]) / min(weights[0], sum(weights[1:]))
    return costs.min(), np.array(thresholds)[costs <= costs.min() + 1e-12]


def test_min_dcf_by_hand():
    # weights 0.95 and 0.5. One of two bona fide lies below the spoof at 3: t = 1 costs 0.5 * 1/2, t = 3 0.95 * 1/2
    assert min_dcf([2, 4, 1, 3], [1, 1, 0, 0]) == pytest.approx((0.5, 1))
    assert min_dcf([2, 4, 1, 3], [1, 1, 0, 0], p_spoof=0.5) == pytest.approx((0.5, 3))  # 0.5 and 5
    assert min_dcf([2, 4, 1, 3], [1, 1, 0, 0], c_miss=2, c_fa=20) == pytest.approx((0.5, 1))  # the unit is no matter
    assert min_dcf([1, 2, 3, 4], [0, 0, 1, 1]) == (0, 2)


def test_what_tells_nothing_costs_as_much_as_not_listening():
    assert min_dcf([7, 7, 7], [1, 0, 0]) == pytest.approx((1, 6.999))  # accept all: 0.5 / min(0.95, 0.5)
    assert min_dcf([7, 7, 7], [1, 0, 0], p_spoof=0.5) == (1, 7)  # reject all
    assert min_dcf([4, 3, 2, 1], [0, 0, 1, 1])[0] == 1
    assert a_dcf([7], [7, 7], [7, 7, 7]) == pytest.approx((1, 7 - 1e-8), abs=1e-12)
    assert a_dcf([1], [2], [3])[0] == 1


@given(TIED, TIED, WEIGHT, WEIGHT, st.floats(0.01, 0.99))
@settings(max_examples=150, deadline=None)
def test_min_dcf_by_brute_force_also_within_ties(bonafide, spoof, c_miss, c_fa, p_spoof):
    value, at = cheapest((bonafide, spoof), (c_miss * (1 - p_spoof), c_fa * p_spoof))
    got, threshold = min_dcf(*two_classes(bonafide, spoof), c_miss=c_miss, c_fa=c_fa, p_spoof=p_spoof)
    assert got == pytest.approx(value, abs=1e-12)
    assert threshold in at or threshold < min(bonafide + spoof)
    assert (threshold < min(bonafide + spoof)) <= (-np.inf in at)


@given(TIED, TIED)
@settings(max_examples=50, deadline=None)
def test_min_dcf_is_the_first_minimum_and_blind_to_scale(bonafide, spoof):
    scores, labels = two_classes(bonafide, spoof)
    far, frr, thresholds = official_points(scores, labels)
    value, threshold = min_dcf(scores, labels)
    assert threshold == thresholds[np.argmin(0.95 * frr + 0.5 * far)]
    assert min_dcf(np.exp(scores), labels)[0] == value
    order = np.random.default_rng(0).permutation(len(labels))
    assert min_dcf(scores[order], labels[order]) == (value, threshold)


def test_act_dcf_by_hand():
    # beta = 0.95 / 0.5 = 1.9: threshold -0.6419. Of three bona fide one is missed, of two spoof one accepted
    assert act_dcf([-1, 0, 1, -0.6, -0.7], [1, 1, 1, 0, 0]) == pytest.approx((0.95 / 3 + 0.5 / 2) / 0.5)
    assert act_dcf([0.5, 0.4], [0, 1]) == pytest.approx(1)  # both accepted
    assert act_dcf([-9, 9], [1, 0]) == pytest.approx((0.95 + 0.5) / 0.5)  # worse than not listening


def test_act_dcf_accepts_at_the_threshold():
    # equal weights: the threshold is 0, and 0 is accepted
    assert act_dcf([0, 0], [1, 0], p_spoof=0.5, c_fa=1) == 1
    assert act_dcf([0, -1], [1, 0], p_spoof=0.5, c_fa=1) == 0
    assert act_dcf([0, 0, -1], [1, 0, 0], p_spoof=0.5, c_fa=1) == 0.5


def test_act_dcf_of_infinite_evidence():
    assert act_dcf([np.inf, -np.inf], [1, 0]) == 0
    assert act_dcf([-np.inf, np.inf], [1, 0]) == pytest.approx(2.9)


@given(TIED, TIED, st.floats(0.01, 0.99))
@settings(max_examples=100, deadline=None)
def test_no_threshold_set_beforehand_costs_less_than_the_least(bonafide, spoof, p_spoof):
    scores, labels = two_classes(bonafide, spoof)
    assert act_dcf(scores, labels, p_spoof=p_spoof) >= min_dcf(scores, labels, p_spoof=p_spoof)[0] - 1e-12


def test_a_dcf_by_hand():
    # weights 0.9405, 0.095, 0.5; divisor 0.595. Accepting above 2 misses no target and lets one of two spoofs in
    assert a_dcf([3, 5], [1, 2], [0, 4]) == pytest.approx((0.25 / 0.595, 2))
    # with the weights of the authors' package, 0.9, 0.5 and 1: above 4 half of the targets are missed
    package = {"p_target": 0.9, "p_nontarget": 0.05, "p_spoof": 0.05, "c_fa_nontarget": 10, "c_fa_spoof": 20}
    assert a_dcf([3, 5], [1, 2], [0, 4], **package) == pytest.approx((0.45 / 0.9, 4))
    assert a_dcf([3, 5], [1, 2], [0, 1]) == pytest.approx((0, 2))


@given(TIED, TIED, TIED, st.tuples(WEIGHT, WEIGHT, WEIGHT), st.floats(0.1, 0.8), st.floats(0.1, 0.9))
@settings(max_examples=150, deadline=None)
def test_a_dcf_by_brute_force_also_within_ties(target, nontarget, spoof, costs, p_target, share):
    p_nontarget = (1 - p_target) * share
    priors = (p_target, p_nontarget, 1 - p_target - p_nontarget)
    groups = (target, nontarget, spoof)
    value, at = cheapest(groups, [p * c for p, c in zip(priors, costs, strict=True)])
    names = ("p_target", "p_nontarget", "p_spoof", "c_miss", "c_fa_nontarget", "c_fa_spoof")
    got, threshold = a_dcf(*groups, **dict(zip(names, priors + costs, strict=True)))
    assert got == pytest.approx(value, abs=1e-12)
    lowest = min(target + nontarget + spoof)
    assert threshold in at or (threshold < lowest and -np.inf in at)


@given(TIED, TIED)
@settings(max_examples=50, deadline=None)
def test_a_dcf_without_a_difference_between_impostors_and_spoof_is_a_min_dcf(bonafide, others):
    scores, labels = two_classes(bonafide, others)
    value = a_dcf(bonafide, others, others, p_target=0.95, p_nontarget=0.02, p_spoof=0.03)[0]
    assert value == pytest.approx(min_dcf(scores, labels)[0])


def test_accepting_everything_has_a_threshold_below_every_score_at_any_magnitude():
    for magnitude in (1e-12, 1.0, 1e5, 1e16):
        value, threshold = a_dcf([magnitude], [magnitude], [magnitude])
        assert value == 1
        assert threshold < magnitude


@pytest.mark.parametrize("metric", [min_dcf, act_dcf])
def test_bad_input(metric):
    for scores, labels, words in (
        ([1, 2], [1, 1], "2 bona fide and 0 spoof"),
        ([1, 2], [0, 0], "0 bona fide and 2 spoof"),
        ([1, np.nan], [1, 0], "1 of 2 .* NaN"),
        ([], [], "no trials"),
        (["a", "b"], [1, 0], "not numbers"),
    ):
        with pytest.raises(InputError, match=words):
            metric(scores, labels)
    for wrong, words in (
        ({"p_spoof": 0}, "prior"),
        ({"p_spoof": 1}, "prior"),
        ({"p_spoof": np.nan}, "prior"),
        ({"c_miss": 0}, "costs"),
        ({"c_fa": -1}, "costs"),
        ({"c_fa": np.inf}, "costs"),
    ):
        with pytest.raises(InputError, match=words):
            metric([1, 2], [0, 1], **wrong)


def test_min_dcf_refuses_infinite_scores():
    with pytest.raises(InputError, match="infinite"):
        min_dcf([1, np.inf], [0, 1])


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (([], [1], [1]), "target trials of shape"),
        (([1], [], [1]), "nontarget trials of shape"),
        (([1], [1], [[1]]), r"spoof trials of shape \(1, 1\)"),
        (([1], [1, np.nan], [1]), "1 of 2 scores of nontarget"),
        (([1], [1], [np.inf]), "1 of 1 scores of spoof"),
        ((["a"], [1], [1]), "target trials are not numbers"),
    ],
)
def test_bad_scores_of_three_groups(groups, words):
    with pytest.raises(InputError, match=words):
        a_dcf(*groups)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"p_spoof": 0.1}, "sum to 1"),
        ({"p_spoof": 0.0, "p_target": 0.9905}, "each > 0"),
        ({"c_miss": 0}, "costs"),
        ({"c_fa_spoof": np.nan}, "costs"),
    ],
)
def test_bad_priors_and_costs_of_three_groups(wrong, words):
    with pytest.raises(InputError, match=words):
        a_dcf([1], [0], [0], **wrong)
