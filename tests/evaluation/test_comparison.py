"""Systems side by side, and seeds of one."""

from __future__ import annotations

import io
import json
from math import sqrt
from statistics import mean, stdev

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import t as student

from deepfake.errors import InputError
from deepfake.evaluation import comparison
from deepfake.evaluation.comparison import compare, table, write_comparison
from deepfake.evaluation.metrics import Intervals, evaluate
from deepfake.evaluation.tandem import Tandem
from deepfake.metrics.classification import proportion_interval
from deepfake.metrics.comparison import mean_of_systems, paired
from deepfake.metrics.tdcf import Weights
from deepfake.scores.table import Scores

FEW = Intervals(n=50)
NONE = Intervals(n=0)
ASV = Tandem({"min_tdcf": Weights(0.1, 0.5, 0.4)})


def system(apart, *, seed=0, n=120, **extras):
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 2).astype(int)
    extras = {"speaker": [f"s{i % 10}" for i in range(n)], **extras}
    return Scores([f"u{i}" for i in range(n)], labels, [""] * n, rng.normal(size=n) + apart * labels, extras)


def compared(systems, *, intervals=FEW, tandem=None, seeds=False):
    judged = {
        name: evaluate(scores, threshold=None, tandem=tandem, dataset=name, partition="", intervals=intervals)
        for name, scores in systems.items()
    }
    return compare(systems, judged, tandem=tandem, intervals=intervals, seeds=seeds)


def said(found):
    out = io.StringIO()
    Console(file=out, width=200).print(table(found))
    return " ".join(out.getvalue().split())


# ---------------------------------------------------------------- paired


def test_a_system_does_not_differ_from_itself():
    found = compared({"A": system(1), "B": system(1)}, tandem=ASV)
    assert {d["metric"] for d in found.differences} == {"eer", "auc", "min_dcf", "min_tdcf"}
    for d in found.differences:
        assert (d["a"], d["b"], d["difference"], d["ci"], d["p"]) == ("A", "B", 0, [0, 0], 1)
    assert found.mean is None


def test_a_clearly_better_one_is_found_better():
    found = compared({"good": system(3), "bad": system(0.5, seed=1)}, intervals=Intervals(n=200))
    by_metric = {d["metric"]: d for d in found.differences}
    assert by_metric["eer"]["p"] < 0.02 and by_metric["eer"]["ci"][1] < 0 < by_metric["auc"]["ci"][0]
    assert by_metric["eer"]["of_a"] == pytest.approx(found.systems["good"]["eer"])
    assert by_metric["eer"]["of_b"] == pytest.approx(found.systems["bad"]["eer"])
    assert "good - bad" in said(found)


def test_the_test_is_that_of_the_metrics_whatever_the_order_of_the_rows():
    one, two = system(1), system(1.5, seed=1)
    expected = paired(one.scores, two.scores, one.labels, n=50, tdcf=ASV.weights, seed=3)
    back = slice(None, None, -1)
    turned = Scores(two.ids[back], two.labels[back], two.attacks, two.scores[back])
    for other in (two, turned):
        found = compared({"A": one, "B": other}, intervals=Intervals(n=50, seed=3), tandem=ASV)
        assert {d["metric"]: (d["difference"], d["ci"], d["p"]) for d in found.differences} == {
            name: (d.difference, [d.low, d.high], d.p) for name, d in expected.items()
        }


def test_whole_speakers_are_drawn_for_both():
    systems = {"A": system(1), "B": system(1.5, seed=1)}
    found = compared(systems, intervals=Intervals(n=50, cluster="speaker"))
    one, two = systems.values()
    expected = paired(one.scores, two.scores, one.labels, n=50, clusters=one.extras["speaker"])
    assert found.differences[0]["ci"] == [expected["eer"].low, expected["eer"].high]


def test_of_very_many_the_first_is_compared_with_each(monkeypatch):
    systems = {name: system(1, seed=i) for i, name in enumerate("ABCD")}
    assert len({(d["a"], d["b"]) for d in compared(systems).differences}) == 6
    monkeypatch.setattr(comparison, "MOST_PAIRED", 3)
    assert {(d["a"], d["b"]) for d in compared(systems).differences} == {("A", "B"), ("A", "C"), ("A", "D")}


@pytest.mark.parametrize("seeds", [True, False])
def test_without_intervals_nothing_is_tested(seeds):
    found = compared({"A": system(1), "B": system(2)}, intervals=NONE, seeds=seeds)
    assert found.differences == []
    assert not seeds or (found.mean["eer"]["ci"] is None and found.mean["eer"]["ci_seeds"] is not None)
    said(found)


@pytest.mark.parametrize("labels", [[1, 0, 0, 0], [0, 0, 0, 0]])
@pytest.mark.parametrize("seeds", [True, False])
def test_too_few_of_a_class_are_not_tested(labels, seeds):
    systems = {name: Scores(list("abcd"), labels, [""] * 4, [4.0, 2.0, 3.0, 1.0]) for name in "AB"}
    found = compared(systems, seeds=seeds)
    assert found.differences == [] and "eer" not in found.systems["A"]["ci"]
    assert not seeds or ("eer" in found.mean) == (1 in labels)


def test_costs_that_could_not_be_had_are_not_tested():
    decisions = {name: Scores(list("abcd"), [1, 1, 0, 0], [""] * 4, [1.0, 0.0, 0.0, 1.0]) for name in "AB"}
    assert {d["metric"] for d in compared(decisions, tandem=ASV).differences} == {"eer", "auc", "min_dcf"}


def test_other_trials_are_refused():
    with pytest.raises(InputError, match="B lacks 20 of the utterances that A has"):
        compared({"A": system(1), "B": system(1, n=100)})


# ---------------------------------------------------------------- seeds


def test_the_mean_of_seeds_by_hand():
    systems = {f"run {i}": system(1.5, seed=i) for i in range(3)}
    found = compared(systems, tandem=ASV, intervals=Intervals(n=50, confidence=0.9), seeds=True)
    assert found.differences == []
    for key in ("eer", "auc", "min_dcf", "min_tdcf", "cllr"):
        values = [metrics[key] for metrics in found.systems.values()]
        entry, half = found.mean[key], student.ppf(0.95, 2) * stdev(values) / sqrt(3)
        assert entry["mean"] == pytest.approx(mean(values)) and entry["sd"] == pytest.approx(stdev(values))
        ends = [mean(values) - half, min(mean(values) + half, 1.0) if key != "cllr" else mean(values) + half]
        assert entry["ci_seeds"] == pytest.approx(ends)
    labels = systems["run 0"].labels
    expected = mean_of_systems([s.scores for s in systems.values()], labels, n=50, confidence=0.9, tdcf=ASV.weights)
    assert {key: entry["ci"] for key, entry in found.mean.items() if entry["ci"]} == {
        key: list(bounds) for key, bounds in expected.items()
    }
    assert "t_eer" not in found.mean  # no run has it
    assert "deviation" in said(found)


def test_the_interval_of_a_share_stays_within_0_and_1():
    systems = {"one": system(4), "two": system(0.2, seed=1)}  # of two runs Student's interval is very wide
    found = compared(systems, seeds=True)
    assert found.mean["eer"]["ci_seeds"] == [0, 1] == found.mean["auc"]["ci_seeds"]
    assert found.mean["cllr"]["ci_seeds"][1] > 1


def test_the_mean_of_each_attack_and_of_those_seen_in_training():
    systems = {f"run {i}": system(1.0, seed=i) for i in range(3)}
    names = ["A01", "A02"]
    for s in systems.values():
        s.attacks = ["" if label else names[i // 2 % 2] for i, label in enumerate(s.labels)]
    how = Intervals(n=50)
    judged = {
        name: evaluate(s, threshold=0.0, dataset="", partition="", trained_on=["A01"], intervals=how)
        for name, s in systems.items()
    }
    found = compare(systems, judged, tandem=None, intervals=how, seeds=True)
    assert list(found.mean_eer) == ["seen in training", "unseen in training", *names]
    rows = np.array([bool(label) or attack == "A01" for label, attack in zip(s.labels, s.attacks, strict=True)])
    expected = mean_of_systems([s.scores[rows] for s in systems.values()], s.labels[rows], n=50)["eer"]
    seen = found.mean_eer["seen in training"]
    assert seen["ci"] == pytest.approx(list(expected)) and seen["ci"][0] <= seen["mean"] <= seen["ci"][1]
    eers = [m["by_attack"]["A01"]["eer"] for m in judged.values()]
    assert seen["mean"] == found.mean_eer["A01"]["mean"] == pytest.approx(mean(eers))
    assert found.mean_eer["A02"]["ci"] is None and "unseen in training" in said(found)


def test_no_error_in_any_run_is_not_no_chance_of_one():
    systems = {"one": system(40), "two": system(40, seed=1)}
    found = compared(systems, seeds=True)
    fewest = min(int(np.sum(systems["one"].labels == label)) for label in (0, 1))
    assert found.mean["eer"]["mean"] == 0
    assert found.mean["eer"]["ci"] == pytest.approx(proportion_interval(0, fewest, found.systems["one"]["confidence"]))


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("seeds", [True, False])
def test_what_is_written_is_whole(tmp_path, seeds):
    systems = {"A": system(1), "<b>B</b>": system(2, seed=1)}
    found = compared(systems, seeds=seeds)
    write_comparison(tmp_path, found, systems, title="two systems", paths=["a.csv", "b.csv"])
    assert json.loads((tmp_path / "comparison.json").read_text()) == json.loads(json.dumps(vars(found)))
    page = (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;B&lt;/b&gt;" in page and "<b>" not in page
    assert ("Mean of the runs" in page) == seeds and ("Differences" in page) != seeds
    names = {f"{name}.{suffix}" for name in ("det", "intervals") for suffix in ("png", "svg")}
    assert {p.name for p in (tmp_path / "figures").iterdir()} == names
    assert (tmp_path / "environment.json").is_file()


def test_what_cannot_be_drawn_is_left_out(tmp_path):
    spoof = {name: Scores(list("abcd"), [0] * 4, [""] * 4, [4.0, 2.0, 3.0, 1.0]) for name in "AB"}
    found = compared(spoof)
    write_comparison(tmp_path, found, spoof, title="", paths=["a", "b"])
    assert "no EER" in (tmp_path / "report.html").read_text() and not (tmp_path / "figures").exists()
    said(found)
