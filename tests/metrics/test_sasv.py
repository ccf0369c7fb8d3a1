"""The joint likelihood ratio and its threshold, against Bayes' rule itself."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake.metrics.dcf import a_dcf
from deepfake.metrics.sasv import sasv_llr, sasv_threshold


def test_it_decides_as_the_expected_costs_do():
    rng = np.random.default_rng(0)
    speaker, spoofing = rng.normal(scale=6, size=(2, 1000))
    refused_wrongly = 0.9405  # a miss costs 1; each false alarm 10, of prior 0.0095 and 0.05
    accepted_wrongly = 0.095 / np.exp(speaker) + 0.5 / np.exp(spoofing)
    accepted = sasv_llr(speaker, spoofing) > sasv_threshold()
    assert np.array_equal(accepted, accepted_wrongly < refused_wrongly) and 0 < accepted.mean() < 1


def test_the_threshold_costs_least_where_the_ratios_are_true():
    rng = np.random.default_rng(1)
    n = 200_000
    target, nontarget = rng.normal(2, 2, n), rng.normal(-2, 2, n)  # natural-log LLRs of these very classes
    bonafide, spoof = rng.normal(3, np.sqrt(6), (2, n)), rng.normal(-3, np.sqrt(6), n)
    claimed = rng.normal(2, 2, n)  # a spoof sounds as the target does
    groups = [sasv_llr(target, bonafide[0]), sasv_llr(nontarget, bonafide[1]), sasv_llr(claimed, spoof)]
    least, threshold = a_dcf(*groups)
    assert least < 0.5 and threshold == pytest.approx(sasv_threshold(), abs=0.2)
    assert least < min(a_dcf(target, nontarget, claimed)[0], a_dcf(bonafide[0], bonafide[1], spoof)[0])


def test_other_priors_and_costs():
    assert sasv_threshold(p_nontarget=0.25, p_spoof=0.25, c_fa=1) == 0
    assert sasv_llr(1.0, 2.0, p_nontarget=0.5, p_spoof=0.5) == pytest.approx(-np.log((np.exp(-1) + np.exp(-2)) / 2))
