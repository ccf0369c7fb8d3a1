"""t-DCF against the organisers' results, and against values that can be derived by hand."""

import numpy as np
import pytest

from deepfake.errors import InputError
from deepfake.metrics.tdcf import (
    AsvOperatingPoint,
    asv_operating_point,
    legacy_weights,
    min_tdcf_of,
    revised_weights,
)

LA2019_EVAL = AsvOperatingPoint(  # of the organisers' ASV scores
    eer=0.02457783738686887,
    threshold=-5.680051,
    p_miss=0.024581005586592177,
    p_fa=0.024604674888228765,
    p_fa_spoof=0.7606524529601453,
)
PERFECT_ASV = AsvOperatingPoint(eer=0, threshold=0, p_miss=0, p_fa=0, p_fa_spoof=1)


def min_tdcf_legacy(scores, labels, asv):
    return min_tdcf_of(scores, labels, **legacy_weights(asv)._asdict())


def min_tdcf(scores, labels, asv):
    return min_tdcf_of(scores, labels, **revised_weights(asv)._asdict())


def test_a_perfect_countermeasure():
    scores, labels = [1, 2, 3, 4], [0, 0, 1, 1]
    assert min_tdcf_legacy(scores, labels, LA2019_EVAL) == (0, 2)
    assert min_tdcf(scores, labels, LA2019_EVAL) == pytest.approx((0.06273287922336382, 2), abs=1e-12)


def test_the_wrong_way_round_costs_as_much_as_not_listening():
    scores, labels = [4, 3, 2, 1], [0, 0, 1, 1]
    assert min_tdcf_legacy(scores, labels, LA2019_EVAL)[0] == pytest.approx(1)
    assert min_tdcf(scores, labels, LA2019_EVAL)[0] == pytest.approx(1)


def test_by_hand_with_a_perfect_asv():
    # C0 = 0, C1 = 0.9405 and C2 = 0.05 * 10 * 1 = 0.5 in both forms. One of two bona fide below the spoof at 3:
    # t = 1: P_miss 0, P_fa 1/2 -> 0.25 / 0.5; t = 3: P_miss 1/2, P_fa 0 -> 0.47025 / 0.5
    scores, labels = [2, 4, 1, 3], [1, 1, 0, 0]
    assert min_tdcf_legacy(scores, labels, PERFECT_ASV) == pytest.approx((0.5, 1))
    assert min_tdcf(scores, labels, PERFECT_ASV) == pytest.approx((0.5, 1))
    # with false alarms four times as dear, t = 3: 0.47025 / min(0.9405, 2)
    assert min_tdcf_of(scores, labels, c0=0, c1=0.9405, c2=2) == pytest.approx((0.5, 3))


def test_the_two_forms_by_their_formulas():
    asv = AsvOperatingPoint(eer=0.1, threshold=0, p_miss=0.1, p_fa=0.2, p_fa_spoof=0.5)
    scores, labels = [2, 4, 1, 3], [1, 1, 0, 0]
    c1, c2 = 0.9405 * (1 - 0.1) - 0.0095 * 10 * 0.2, 10 * 0.05 * 0.5
    assert min_tdcf_legacy(scores, labels, asv)[0] == pytest.approx(0.5 * c2 / min(c1, c2))
    c0 = 0.9405 * 0.1 + 0.0095 * 10 * 0.2
    c1 = 0.9405 - c0
    assert min_tdcf(scores, labels, asv)[0] == pytest.approx((c0 + 0.5 * c2) / (c0 + min(c1, c2)))


def test_asv_rates_reject_strictly_below_the_threshold():
    asv = asv_operating_point(target=[1.0, 2, 3], nontarget=[0.0, 1.5, -1], spoof=[1.5, 0, 2, 9])
    # sorted 't' and 'n': n-1 n0 t1 n1.5 t2 t3; after the first four FRR = 1/3, FAR = 0; after three 1/3, 1/3
    assert asv == pytest.approx((1 / 3, 1.0, 0, 1 / 3, 3 / 4))


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (([], [0.0], [0.0]), "ASV scores of target trials"),
        (([1.0], [0.0], []), "ASV scores of spoof trials"),
        (([1.0], [np.nan], [0.0]), "nontarget"),
        (([1.0], [0.0], [np.inf]), "spoof"),
    ],
)
def test_bad_asv_scores(groups, words):
    with pytest.raises(InputError, match=words):
        asv_operating_point(*groups)


def test_bad_input():
    scores, labels = [2.0, 4, 1, 3], [1, 1, 0, 0]
    for metric in (min_tdcf, min_tdcf_legacy):
        with pytest.raises(InputError, match="2 distinct"):
            metric([1, 1, 0, 0], labels, LA2019_EVAL)
        with pytest.raises(InputError, match="NaN"):
            metric([1, np.nan, 0, 3], labels, LA2019_EVAL)
        with pytest.raises(InputError, match="0 spoof"):
            metric(scores, [1, 1, 1, 1], LA2019_EVAL)
        with pytest.raises(InputError, match="negative"):
            metric(scores, labels, LA2019_EVAL._replace(p_miss=1.0, p_fa=1.0))
        with pytest.raises(InputError, match="negative"):
            metric(scores, labels, LA2019_EVAL._replace(p_miss=np.nan))
    with pytest.raises(InputError, match="normalised"):
        min_tdcf_legacy(scores, labels, LA2019_EVAL._replace(p_fa_spoof=0.0))
