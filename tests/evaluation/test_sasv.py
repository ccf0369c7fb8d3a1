"""The report on a verifier: its numbers are those of the metrics' own functions and of the challenge's script."""

import json

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from deepfake.evaluation.metrics import Intervals
from deepfake.evaluation.sasv import evaluate_sasv, table, write_sasv
from deepfake.metrics.classification import proportion_interval
from deepfake.metrics.dcf import a_dcf
from deepfake.scores.table import AsvScores

FEW = Intervals(n=50)


def made(seed=0, apart=2.0):
    rng = np.random.default_rng(seed)
    return AsvScores(*(rng.normal(mean * apart, 1, n).round(2) for mean, n in ((1, 200), (-1, 300), (0, 400))))


def challenge_eer(target, others):
    """As the script of the SASV challenge 2022 has it."""
    labels = np.repeat([1, 0], [len(target), len(others)])
    fpr, tpr, _ = roc_curve(labels, np.concatenate([target, others]), pos_label=1)
    return brentq(lambda x: 1.0 - x - interp1d(fpr, tpr)(x), 0.0, 1.0)


def test_the_numbers_are_those_of_the_functions_and_of_the_challenge():
    scores = made()
    metrics = evaluate_sasv(scores, dataset="demo", how=FEW)
    target, nontarget, spoof = scores
    assert (metrics["a_dcf"], metrics["a_dcf_threshold"]) == a_dcf(*scores)
    for key, others in {"sasv": np.append(nontarget, spoof), "sv": nontarget, "spf": spoof}.items():
        assert metrics[f"{key}_eer"] == pytest.approx(challenge_eer(target, others), abs=1e-9)
        low, high = metrics["ci"][f"{key}_eer"]
        assert low <= metrics[f"{key}_eer"] <= high and low < high
    assert [metrics[f"n_{kind}"] for kind in ("target", "nontarget", "spoof")] == [200, 300, 400]
    assert not metrics["notes"]


def test_no_errors_and_the_wrong_way_round():
    scores = AsvScores(np.array([5.0, 6, 7]), np.array([1.0, 2]), np.array([3.0, 4, 4.5]))
    metrics = evaluate_sasv(scores, dataset="", how=FEW)
    assert metrics["a_dcf"] == metrics["sasv_eer"] == 0
    assert metrics["ci"]["sv_eer"] == list(proportion_interval(0, 2))
    turned = evaluate_sasv(AsvScores(*(-group for group in scores)), dataset="", how=Intervals(n=0))
    assert turned["a_dcf"] == 1 and turned["ci"] == {} and "polarity=-1" in turned["notes"][0]


def test_what_is_written_is_what_was_found(tmp_path):
    scores = made()
    metrics = evaluate_sasv(scores, dataset="demo <1>", how=FEW) | {"read_as": ["demo <1>."]}
    write_sasv(tmp_path, metrics, scores, title="a & b", provenance={"scores": "file"})
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    page = (tmp_path / "report.html").read_text()
    assert "demo &lt;1&gt;" in page and f"{metrics['a_dcf']:.4f} min a-DCF" in page and "SPF-EER" in page
    assert all((tmp_path / name).is_file() for name in ("environment.json", "figures/det.png", "figures/det.svg"))
    assert [c for c in table(metrics).columns[0].cells][:5] == [
        "target",
        "nontarget",
        "spoof",
        "min a-DCF",
        "its threshold",
    ]
