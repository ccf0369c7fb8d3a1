"""What is judged of a score file, and the files and the table that say it."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from deepfake.errors import InputError
from deepfake.evaluation.metrics import Intervals, evaluate
from deepfake.evaluation.report import table, write_report
from deepfake.evaluation.tandem import Tandem, read_tandem
from deepfake.metrics.tdcf import Weights
from deepfake.runs.folder import ReportFolder
from deepfake.scores.formats import read_any
from deepfake.scores.table import Scores

KEYS = """dataset partition n_bonafide n_spoof eer eer_official eer_threshold threshold threshold_source fpr fnr auc
accuracy balanced_accuracy precision recall f1 min_tdcf_legacy min_tdcf t_eer min_dcf act_dcf cllr min_cllr ece brier
misleading_bonafide misleading_spoof calibrated tdcf_weights confidence ci by_attack by_training trials_sha256 notes"""
EVEN = Weights(0, 0.5, 0.5)
ASV = Tandem({"min_tdcf_legacy": EVEN, "min_tdcf": EVEN})
ALL = {"dataset": "demo", "partition": "eval"}
FIGURES = {"det", "roc", "histogram", "precision_recall", "by_attack", "histogram_by_attack", "confusion", "tdcf"}
FIGURES |= {"threshold_sweep", "reliability", "tippett", "pav", "empirical_cross_entropy", "misleading"}
SUFFIXES = ("png", "svg")
EITHER_CLASS = {1: {"histogram", "histogram_by_attack"}, 0: {"histogram", "histogram_by_attack"}, None: set()}
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks that every tag is closed in order, and keeps what the page would load or show."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.addresses, self.text = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += data


def small(**changes):
    """Two bona fide, two attacks of two: A08 separable, A07 not."""
    fields = {
        "ids": ["b1", "b2", "s1", "s2", "s3", "s4"],
        "labels": [1, 1, 0, 0, 0, 0],
        "attacks": ["", "-", "A08", "A08", "A07", "A07"],
        "scores": [2.0, 4.0, 0.0, 1.0, 1.5, 3.0],
    }
    return Scores(**fields | changes)


def page_of(folder):
    page = Page()
    page.feed((folder / "report.html").read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


def test_by_hand():
    metrics = evaluate(small(), threshold=1.5, tandem=ASV, **ALL)
    assert set(metrics) == set(KEYS.split())
    assert metrics["n_bonafide"] == 2 and metrics["n_spoof"] == 4
    assert metrics["eer"] == pytest.approx(0.25)  # t = 1.5: FRR 0, FAR 1/4; t = 2: 1/2, 1/4
    assert metrics["eer_official"] == pytest.approx(0.125)
    assert metrics["eer_threshold"] == 1.5
    assert metrics["auc"] == 7 / 8
    assert (metrics["threshold"], metrics["threshold_source"]) == (1.5, "carried")
    assert (metrics["fpr"], metrics["fnr"], metrics["accuracy"]) == (1 / 4, 0, 5 / 6)
    assert metrics["balanced_accuracy"] == 7 / 8
    assert (metrics["precision"], metrics["recall"], metrics["f1"]) == (2 / 3, 1, 4 / 5)
    assert metrics["min_tdcf_legacy"] == pytest.approx(0.25)  # 1/4 of the spoofs, no bona fide
    assert metrics["min_tdcf"] == pytest.approx(0.25)
    rest = {"fnr": 0, "ci": {}}
    assert metrics["by_attack"]["A08"] == {"n": 2, "eer": 0, "eer_official": 0, "auc": 1, "fpr": 0, **rest}
    assert metrics["by_attack"]["A07"] == {"n": 2, "eer": 0.5, "eer_official": 0.5, "auc": 0.75, "fpr": 0.5, **rest}


def test_without_a_threshold_that_of_the_eer_is_used_and_said():
    metrics = evaluate(small(), threshold=None, **ALL)
    assert (metrics["threshold"], metrics["threshold_source"]) == (None, "eer")
    assert metrics["fpr"] == 1 / 4
    assert metrics["min_tdcf"] is None and metrics["min_tdcf_legacy"] is None
    assert any("flatter" in note for note in metrics["notes"])
    assert evaluate(small(), threshold=3.0, **ALL)["fnr"] == 1 / 2


def test_unknown_labels_are_left_out():
    known = evaluate(small(), threshold=1.5, **ALL) | {"trials_sha256": "other trials"}
    more = small(
        ids=["b1", "b2", "s1", "s2", "s3", "s4", "x"],
        labels=[1, 1, 0, 0, 0, 0, None],
        attacks=["", "", "A08", "A08", "A07", "A07", ""],
        scores=[2, 4, 0, 1, 1.5, 3, 99],
    )
    metrics = evaluate(more, threshold=1.5, **ALL)
    assert metrics["notes"].pop(0).startswith("1 of 7 utterances have no label")
    assert metrics | {"trials_sha256": "other trials"} == known


@pytest.mark.parametrize(("label", "fpr", "fnr"), [(0, 1 / 2, None), (1, None, 1 / 2), (None, None, None)])
@pytest.mark.parametrize("threshold", [1.75, None])
def test_one_class_or_none(tmp_path, label, fpr, fnr, threshold):
    scores = small(labels=[label] * 6, attacks=["A07"] * 6)
    metrics = evaluate(scores, threshold=threshold, tandem=ASV, **ALL)
    assert (metrics["fpr"], metrics["fnr"]) == ((fpr, fnr) if threshold else (None, None))
    for key in ("eer", "eer_official", "eer_threshold", "auc", "f1", "precision", "min_tdcf", "min_tdcf_legacy"):
        assert metrics[key] is None
    assert any("need both" in note for note in metrics["notes"])
    write_report(ReportFolder(tmp_path), metrics, scores, title="one class", provenance={})
    drawn = {p.stem for p in (tmp_path / "figures").glob("*")}
    assert drawn == EITHER_CLASS[label] | ({"confusion"} if threshold and label is not None else set())
    assert ("50.00 % false alarms" if threshold and label == 1 else "no EER") in page_of(tmp_path).text
    Console(file=io.StringIO()).print(table(metrics))


def test_decisions_instead_of_scores_have_no_tdcf():
    metrics = evaluate(small(scores=[1, 1, 0, 0, 0, 1]), threshold=None, tandem=ASV, **ALL)
    assert metrics["min_tdcf"] is None and metrics["min_tdcf_legacy"] is None
    assert metrics["eer"] is not None
    assert any("2 distinct" in note for note in metrics["notes"])


def test_swapped_polarity_is_noticed():
    metrics = evaluate(small(scores=-small().scores), threshold=None, **ALL)
    assert metrics["eer"] == pytest.approx(0.75)
    assert any("wrong way round" in note for note in metrics["notes"])
    assert not any("wrong way round" in note for note in evaluate(small(), threshold=None, **ALL)["notes"])


def test_attacks_without_a_name():
    assert evaluate(small(attacks=[""] * 6), threshold=None, **ALL)["by_attack"] == {}
    some = evaluate(small(attacks=["", "", "", "-", "A07", "A07"]), threshold=None, **ALL)["by_attack"]
    assert {name: entry["n"] for name, entry in some.items()} == {"-": 2, "A07": 2}


def test_threshold_must_be_a_number():
    with pytest.raises(InputError, match="threshold"):
        evaluate(small(), threshold=float("nan"), **ALL)


def test_the_organisers_example(shared):
    source = shared / "reference" / "scores"
    expected = json.loads((source / "expected.json").read_text())["la2019_eval_amsoftmax"]
    scores, _ = read_any(source / "la2019_eval_amsoftmax.txt.gz")
    tandem = read_tandem(source / "la2019_eval_asv.txt.gz")
    metrics = evaluate(scores, threshold=None, tandem=tandem, **ALL)
    for ours, theirs in {
        "n_bonafide": "n_bonafide",
        "n_spoof": "n_spoof",
        "eer": "indep_eer_interp_tieaware_NOT_OFFICIAL",
        "eer_official": "eer_official",
        "eer_threshold": "eer_threshold",
        "min_tdcf_legacy": "min_tDCF_legacy_2019",
        "min_tdcf": "min_tDCF_revised_v2",
        "min_dcf": "minDCF_asvspoof5",
        "act_dcf": "actDCF_asvspoof5",
        "cllr": "cllr_asvspoof5_bits",
    }.items():
        assert metrics[ours] == pytest.approx(expected[theirs], abs=1e-9), ours
    assert {name: entry["n"] for name, entry in metrics["by_attack"].items()} == {
        f"A{i:02}": 4914 for i in range(7, 20)
    }


def test_files(tmp_path):
    metrics = evaluate(small(), threshold=1.5, tandem=ASV, **ALL)
    write_report(
        ReportFolder(tmp_path / "new"),
        metrics,
        small(),
        title="A <b>bold</b> title",
        provenance={"run": "x & y", "seed": 1},
    )
    assert json.loads((tmp_path / "new" / "metrics.json").read_text()) == metrics
    assert {p.name for p in (tmp_path / "new" / "figures").iterdir()} == {f"{f}.{s}" for f in FIGURES for s in SUFFIXES}
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"metrics.json", "report.html", "figures"}

    page = page_of(tmp_path / "new")
    assert {"script", "link", "iframe", "b"} & set(page.tags) == set()
    assert page.tags.count("img") == len(FIGURES)
    prefix = "data:image/png;base64,"
    assert all(address.startswith(prefix) for address in page.addresses)  # nothing outside is loaded
    embedded = {base64.b64decode(address.removeprefix(prefix)) for address in page.addresses}
    assert embedded == {p.read_bytes() for p in (tmp_path / "new" / "figures").glob("*.png")}
    for words in ("A <b>bold</b> title", "25.00 % EER", "demo, eval", "x & y", "A07", "0.8000"):
        assert words in page.text
    assert not re.search(r"url\(|@import|https?:", (tmp_path / "new" / "report.html").read_text())


def test_everything_from_outside_is_escaped(tmp_path):
    evil = "<img src=x onerror=alert(1)>$\\x$"
    scores = small(attacks=["", "", evil, evil, "[red]{A07}", "[red]{A07}"])
    metrics = evaluate(scores, threshold=1.5, dataset=evil, partition=evil)
    write_report(ReportFolder(tmp_path), metrics, scores, title=evil, provenance={evil: evil})
    page = page_of(tmp_path)
    assert page.tags.count("img") == len(FIGURES) - 1  # no t-DCF
    assert page.text.count(evil) >= 5
    out = io.StringIO()
    Console(file=out, width=200).print(table(metrics))
    assert "[red]{A07}" in out.getvalue() and evil in out.getvalue()


def test_conditions(tmp_path):
    n = 200
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    extras = {"codec": [("mp3", "opus")[i // 2 % 2] for i in range(n)], "speaker": [f"s{i // 4}" for i in range(n)]}
    attacks = ["" if label else f"A{i // 2 % 3}" for i, label in enumerate(labels)]
    scores = Scores([f"u{i}" for i in range(n)], labels, attacks, rng.normal(size=n) + labels, extras)
    metrics = evaluate(scores, threshold=None, **ALL)
    write_report(ReportFolder(tmp_path), metrics, scores, title="conditions", provenance={})
    page = page_of(tmp_path)
    assert (tmp_path / "figures" / "by_attack_and_codec.png").exists()
    text = " ".join(page.text.split())
    assert (
        text.index("By codec")
        < text.index("EER of each attack within each codec, in percent.")
        < text.index("By speaker")
    )
    assert "The 20 of 50 with the highest EER; all are in metrics.json. Where a group has no bona fide" in text
    opus = metrics["by_codec"]["opus"]
    assert f"opus {opus['n_bonafide']} {opus['n']} {100 * opus['eer']:.2f} % {opus['auc']:.4f}" in text


def test_a_figure_of_an_earlier_report_does_not_stay(tmp_path):
    write_report(ReportFolder(tmp_path), evaluate(small(), threshold=None, **ALL), small(), title="", provenance={})
    assert (tmp_path / "figures" / "det.png").exists()
    spoof = small(labels=[0] * 6)
    write_report(ReportFolder(tmp_path), evaluate(spoof, threshold=None, **ALL), spoof, title="", provenance={})
    assert not (tmp_path / "figures" / "det.png").exists()
    assert (tmp_path / "figures" / "histogram.png").read_bytes().startswith(b"\x89PNG")


def test_no_nan_is_written(tmp_path):
    metrics = evaluate(small(), threshold=None, **ALL) | {"eer": np.nan}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report(ReportFolder(tmp_path / "new"), metrics, small(), title="", provenance={})
    assert not (tmp_path / "new").exists()


def test_table():
    out = io.StringIO()
    Console(file=out, width=80).print(table(evaluate(small(), threshold=1.5, tandem=ASV, **ALL)))
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert "demo eval" in lines
    assert "all 4 25.00 % 12.50 % 0.8750 25.00 %" in lines  # no interval was asked for
    assert "A07 2 50.00 % 50.00 % 0.7500 50.00 %" in lines
    assert "bona fide 2" in lines
    assert "min t-DCF 0.2500" in lines


@pytest.mark.parametrize(("confidence", "words"), [(0.9, "90 % interval"), (0.95, "95 % interval")])
def test_the_page_names_the_confidence_of_its_intervals(tmp_path, confidence, words):
    scores = small()
    metrics = evaluate(scores, threshold=1.5, intervals=Intervals(n=40, confidence=confidence), **ALL)
    write_report(ReportFolder(tmp_path), metrics, scores, title="t", provenance={})
    assert re.findall(r"\d+ % interval", page_of(tmp_path).text) == [words]
