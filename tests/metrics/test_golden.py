"""Everything in the reference results of the organisers' scripts, value by value; a key that nothing checks fails."""

import gzip
import json
from itertools import pairwise

import numpy as np
import pytest

from deepfake.errors import InputError
from deepfake.metrics import tdcf
from deepfake.metrics.cllr import cllr, pav
from deepfake.metrics.dcf import a_dcf, act_dcf, min_dcf
from deepfake.metrics.eer import eer, eer_official
from deepfake.metrics.tdcf import (
    AsvOperatingPoint,
    asv_operating_point,
    legacy_weights,
    min_tdcf_of,
    revised_weights,
)

EXACT = 1e-9
SETS = [
    "la2019_eval_amsoftmax",
    "S1_gauss_ties_1dp",
    "S1b_gauss_heavy_ties_integers",
    "S2_tiny3_separable",
    "S2b_tiny3_overlap",
    "S3_perfect_separation",
    "S4_all_equal",
    "S5_reversed_polarity_of_S1",
    "S7_missing_bonafide",
    "S7b_missing_spoof",
    "S8_nan_in_spoof",
    "synthetic_1M",
]
REFUSED = {"S7_missing_bonafide", "S7b_missing_spoof", "S8_nan_in_spoof"}  # scored silently by the organisers
OTHER_ENTRIES = {"conventions", "constants", "asv_rates_2019LA_eval", "asvspoof5_default_ASV_rates"}
COUNTS = {
    "n_bonafide": lambda s, y: y.sum(),
    "n_spoof": lambda s, y: (~y).sum(),
    "n_unique": lambda s, y: len(np.unique(s)),
}
TDCF_LEGACY = {"Pspoof": "P_SPOOF", "Ptar": "P_TARGET", "Pnon": "P_NONTARGET"} | {
    name: name.upper().replace("C", "C_", 1) for name in ("Cmiss_asv", "Cfa_asv", "Cmiss_cm", "Cfa_cm")
}
TDCF_REVISED = {**TDCF_LEGACY, "Cmiss": "C_MISS_ASV", "Cfa": "C_FA_ASV", "Cfa_spoof": "C_FA_SPOOF"}
DCF_NAMES = {"Pspoof": "p_spoof", "Cmiss": "c_miss", "Cfa": "c_fa"}
A_DCF_NAMES = {"Ptrg": "p_target", "Pnontrg": "p_nontarget", "Pspf": "p_spoof"} | {
    "Cmiss": "c_miss",
    "Cfa_asv": "c_fa_nontarget",
    "Cfa_cm": "c_fa_spoof",
}
NOTES = {"warnings", "how"}  # of the organisers' scripts; the recipe of `trials`


@pytest.fixture(scope="module")
def expected(shared):
    return json.loads((shared / "reference" / "scores" / "expected.json").read_text())


@pytest.fixture(scope="module")
def asv_scores(shared):
    with gzip.open(shared / "reference" / "scores" / "la2019_eval_asv.txt.gz", "rt") as file:
        rows = [line.split() for line in file]
    return [np.array([float(r[2]) for r in rows if r[1] == kind]) for kind in ("target", "nontarget", "spoof")]


@pytest.fixture(scope="module")
def asv(asv_scores):
    return asv_operating_point(*asv_scores)


def trials(shared, name):
    if name == "synthetic_1M":
        rng = np.random.Generator(np.random.PCG64(6))
        scores = np.concatenate([rng.normal(1, 1, 100_000), rng.normal(-1, 1, 900_000)])
        return scores, np.arange(1_000_000) < 100_000
    with gzip.open(shared / "reference" / "scores" / f"{name}.txt.gz", "rt") as file:
        rows = [line.split() for line in file]
    return np.array([float(r[3]) for r in rows]), np.array([r[2] == "bonafide" for r in rows])


def rocch_eer(scores, labels):
    """EER on the convex hull of the ROC, whose corners are the ends of the blocks that PAV pools."""
    llrs, corner = np.unique(pav(scores, labels), return_inverse=True)
    miss = np.cumsum(np.bincount(corner, weights=labels, minlength=len(llrs))) / labels.sum()
    fa = 1 - np.cumsum(np.bincount(corner, weights=~labels, minlength=len(llrs))) / (~labels).sum()
    for (miss0, fa0), (miss1, fa1) in pairwise(zip([0, *miss], [1, *fa], strict=True)):
        if miss1 >= fa1:
            share = (fa0 - miss0) / ((fa0 - miss0) + (miss1 - fa1))
            return miss0 + share * (miss1 - miss0)
    raise AssertionError


def metrics(expected, asv):
    """By keys: what gives the values of those keys."""
    legacy, revised = legacy_weights(asv)._asdict(), revised_weights(asv)._asdict()
    c012 = {key.lower(): value for key, value in expected["constants"]["LA2021_C012_eval_pooled"].items()}
    return {
        ("eer_official", "eer_threshold"): eer_official,
        ("minDCF_asvspoof5", "minDCF_threshold"): min_dcf,
        ("actDCF_asvspoof5",): lambda s, y: [act_dcf(s, y)],
        ("cllr_asvspoof5_bits",): lambda s, y: [cllr(s, y)],
        ("min_tDCF_legacy_2019", "min_tDCF_legacy_threshold"): lambda s, y: min_tdcf_of(s, y, **legacy),
        ("min_tDCF_revised_v2", "min_tDCF_revised_threshold"): lambda s, y: min_tdcf_of(s, y, **revised),
        ("min_tDCF_2021_C012_LA_eval_pooled",): lambda s, y: min_tdcf_of(s, y, **c012)[:1],
        ("indep_eer_interp_tieaware_NOT_OFFICIAL",): lambda s, y: eer(s, y)[:1],
        ("indep_eer_rocch_NOT_OFFICIAL",): lambda s, y: [rocch_eer(s, y)],
    }


def test_no_entry_is_left_out(expected):
    assert set(expected) == {*SETS, *OTHER_ENTRIES}


@pytest.mark.parametrize("name", SETS)
def test_every_value_of_a_score_set(shared, expected, asv, name):
    entry = dict(expected[name])
    scores, labels = trials(shared, name)
    for key, count in COUNTS.items():
        assert count(scores, labels) == entry.pop(key)
    for keys, metric in metrics(expected, asv).items():
        wanted = {key: entry.pop(key) for key in keys if key in entry}
        if name in REFUSED or any(isinstance(value, dict) and set(value) == {"failure"} for value in wanted.values()):
            with pytest.raises(InputError):
                metric(scores, labels)
        else:
            got = dict(zip(keys, metric(scores, labels), strict=True))
            assert {key: got[key] for key in wanted} == pytest.approx(wanted, abs=EXACT, rel=0)
            assert wanted
    assert set(entry) <= NOTES


def test_the_asv_rates(expected, asv_scores, asv):
    entry = dict(expected["asv_rates_2019LA_eval"])
    del entry["genfromtxt_seconds"]
    counts = {f"n_{kind}": len(group) for kind, group in zip(("tar", "non", "spf"), asv_scores, strict=True)}
    rates = {
        "eer_asv": asv.eer,
        "thr": asv.threshold,
        "Pfa_asv": asv.p_fa,
        "Pmiss_asv": asv.p_miss,
        "Pfa_spoof_asv": asv.p_fa_spoof,
        "Pmiss_spoof_asv": 1 - asv.p_fa_spoof,
    }
    assert counts | rates == pytest.approx(entry, abs=EXACT, rel=0)


def test_the_default_asv_rates_of_asvspoof5(expected):
    rates = dict(expected["asvspoof5_default_ASV_rates"])
    assert rates == expected["constants"]["asvspoof5_default_ASV_rates"]
    asv = AsvOperatingPoint(
        eer=0, threshold=0, p_miss=rates.pop("Pmiss"), p_fa=rates.pop("Pfa_non"), p_fa_spoof=rates.pop("Pfa_spf")
    )
    assert not rates
    c0 = 0.9405 * 0.01880141010575793 + 0.0095 * 10 * 0.01881016557566423
    floor = c0 / (c0 + 0.05 * 10 * 0.4607082907604729)  # what the ASV's own errors cost beside a perfect CM
    weights = revised_weights(asv)._asdict()
    assert min_tdcf_of([0, 1, 2, 3], [0, 0, 1, 1], **weights) == pytest.approx((floor, 1), abs=EXACT)


def test_the_constants_are_the_defaults(shared, expected, asv_scores):
    scores, labels = trials(shared, "S1_gauss_ties_1dp")
    for entry, names in (("tDCF_legacy", TDCF_LEGACY), ("tDCF_revised", TDCF_REVISED)):
        for key, value in expected["constants"][entry].items():
            assert getattr(tdcf, names[key]) == pytest.approx(value, abs=EXACT), key
    cm, asv_and_cm = (
        {names[key]: value for key, value in expected["constants"][entry].items()}
        for entry, names in (("minDCF_actDCF_asvspoof5", DCF_NAMES), ("a_dcf_asvspoof5", A_DCF_NAMES))
    )
    assert min_dcf(scores, labels, **cm) == pytest.approx(min_dcf(scores, labels))
    assert act_dcf(scores, labels, **cm) == pytest.approx(act_dcf(scores, labels))
    assert a_dcf(*asv_scores, **asv_and_cm) == pytest.approx(a_dcf(*asv_scores))
    used_elsewhere = {"a_dcf_package_default", "asvspoof5_default_ASV_rates", "LA2021_C012_eval_pooled"}
    entries = {"tDCF_legacy", "tDCF_revised", "minDCF_actDCF_asvspoof5", "a_dcf_asvspoof5"}
    assert set(expected["constants"]) == entries | used_elsewhere


@pytest.mark.parametrize("costs", ["a_dcf_asvspoof5", "a_dcf_package_default"])
def test_a_dcf_as_the_published_loop_on_real_scores(expected, asv_scores, costs):
    """No value of it is given, so the loop of the paper's code, trial by trial, on the organisers' ASV scores."""
    c = expected["constants"][costs]
    target, nontarget, spoof = (group.tolist() for group in asv_scores)
    tagged = [(s, kind) for kind, group in enumerate((target, nontarget, spoof)) for s in group]
    weights = (c["Cmiss"] * c["Ptrg"], c["Cfa_asv"] * c["Pnontrg"], c["Cfa_cm"] * c["Pspf"])
    counts, rejected, least = (len(target), len(nontarget), len(spoof)), [0, 0, 0], (weights[1] + weights[2], None)
    for score, kind in sorted(tagged):  # by kind where scores tie: targets first
        rejected[kind] += 1
        miss, non, spf = (r / n for r, n in zip(rejected, counts, strict=True))
        cost = weights[0] * miss + weights[1] * (1 - non) + weights[2] * (1 - spf)
        least = min(least, (cost, score), key=lambda pair: pair[0])
    norm = min(weights[0], weights[1] + weights[2])
    got = a_dcf(*asv_scores, **{A_DCF_NAMES[key]: value for key, value in c.items()})
    assert got == pytest.approx((least[0] / norm, least[1]), abs=EXACT)
