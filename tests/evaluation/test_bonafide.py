"""Bona fide speech alone: false alarms overall and by speaker, in numbers, page and figure."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rich.console import Console
from tiny import compose, write_audio

from deepfake import run
from deepfake.errors import InputError
from deepfake.evaluation import bonafide
from deepfake.evaluation.metrics import Intervals, evaluate
from deepfake.evaluation.report import table
from deepfake.scores.table import Scores, read_scores

OPTIONS = {"threshold": 0.0, "dataset": "d", "partition": "eval"}


def of_speakers(rejected, **options):
    """The metrics of speakers with (utterances, of them rejected) each."""
    rows = [(name, i, -1.0 if i < k else 1.0) for name, (n, k) in rejected.items() for i in range(n)]
    ids, speakers, scores = [f"{s}-{i}" for s, i, _ in rows], [s for s, _, _ in rows], [x for _, _, x in rows]
    made = Scores(ids, [1] * len(ids), [""] * len(ids), scores, {"speaker": speakers})
    return evaluate(made, **OPTIONS | {"intervals": Intervals()} | options)


def test_rates_and_exact_intervals():
    metrics = of_speakers({"a": (10, 1), "b": (40, 0)})
    assert metrics["fnr"] == 1 / 50 and metrics["ci"] == {"fnr": pytest.approx([0.000506, 0.106470], abs=1e-6)}
    assert metrics["by_speaker"]["a"]["fnr"] == 0.1 and metrics["by_speaker"]["b"]["fnr"] == 0.0
    assert metrics["by_speaker"]["a"]["ci"]["fnr"] == pytest.approx([0.002529, 0.445016], abs=1e-6)
    assert metrics["by_speaker"]["b"]["ci"]["fnr"] == pytest.approx([0.0, 0.088097], abs=1e-6)
    for key in ("eer", "auc", "fpr", "precision", "f1", "min_dcf", "cllr", "min_tdcf"):
        assert metrics[key] is None
    (note,) = metrics["notes"]
    assert note == (
        "There are 50 bona fide and 0 spoofed utterances: EER, AUC, costs and calibration need both; the share "
        "rejected (fnr) is the detector's false-alarm rate."
    )


def test_speakers_may_be_drawn_as_wholes_and_are_all_counted():
    rejected = {str(i): (10, 10 * (i % 5 == 0)) for i in range(300)}
    metrics = of_speakers(rejected, intervals=Intervals(cluster="speaker"))
    assert len(metrics["by_speaker"]) == 300 and metrics["fnr"] == 0.2
    exact, clustered = of_speakers(rejected)["ci"]["fnr"], metrics["ci"]["fnr"]
    assert exact == pytest.approx([0.1858, 0.2148], abs=1e-3)
    assert clustered == pytest.approx([0.155, 0.245], abs=0.01)
    with pytest.raises(InputError, match=r"bootstrap\.cluster=codec"):
        of_speakers(rejected, intervals=Intervals(cluster="codec"))


def test_the_worst_and_the_best_are_those_with_the_most_evidence(monkeypatch):
    monkeypatch.setattr(bonafide, "MOST_SPEAKERS", 2)
    rejected = {"few": (2, 1), "many": (40, 20), "mean": (30, 3), "sure": (50, 0), "so so": (5, 0), "once": (1, 0)}
    worst, best = bonafide.speakers(of_speakers(rejected))
    assert list(worst) == ["many", "few"] and list(best) == ["so so", "sure"]
    del rejected["mean"], rejected["once"]
    worst, best = bonafide.speakers(of_speakers(rejected))
    assert list(worst) == ["many", "few", "so so", "sure"] and best == {}


def test_spoof_beside_it_or_no_threshold_draws_nothing():
    spoofed = Scores(["a", "b", "c"], [1, 1, 0], ["", "", "A01"], [1, 2, 0], {"speaker": ["s", "t", "s"]})
    for metrics in (evaluate(spoofed, **OPTIONS), of_speakers({"a": (2, 0), "b": (2, 1)}, threshold=None)):
        with pytest.raises(InputError, match="bona fide speech alone, and a threshold, was expected"):
            bonafide.figure(metrics)
    with pytest.raises(InputError, match="no speaker"):
        bonafide.figure(evaluate(Scores(["a"], [1], [""], [1.0]), **OPTIONS))


def test_a_run_on_librispeech(run_folder, tmp_path, caplog):
    """Noise (which the detector takes for bona fide) of one speaker, a buzz (which it rejects) of another."""
    base = tmp_path / "LibriSpeech" / "test-clean"
    for speaker, spoof in (("61", False), ("121", True)):
        for i in range(4):
            write_audio(base / speaker / "1" / f"{speaker}-1-{i:04d}.flac", spoof=spoof, seed=i)
    chosen = ("dataset=librispeech", f"dataset.root={tmp_path}", f"output={tmp_path}/out", "num_workers=0")
    metrics = run.evaluate(compose(f"run={run_folder}", *chosen, config="evaluate"))
    scores, threshold = read_scores(tmp_path / "out" / "scores.csv"), metrics["threshold"]
    assert set(scores.extras["speaker"]) == {"61", "121"} and not any(scores.attacks)
    rejected = scores.scores <= threshold
    assert metrics["fnr"] == rejected.mean() and metrics["n_spoof"] == 0
    speakers = np.array(scores.extras["speaker"])
    by_hand = {speaker: rejected[speakers == speaker].mean() for speaker in ("61", "121")}
    assert {s: entry["fnr"] for s, entry in metrics["by_speaker"].items()} == by_hand
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"{100 * metrics['fnr']:.2f} % false alarms" in page and "Speaker by speaker" in page
    assert "EER, AUC, costs and calibration need both" in page
    assert (tmp_path / "out" / "figures" / "by_speaker.png").is_file()
    console = Console(width=100, record=True)
    console.print(table(metrics))
    text = console.export_text()
    assert "librispeech eval: the worst and the best" in text and "attack" not in text
