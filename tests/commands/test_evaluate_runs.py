"""Runs evaluated together, and calibrated."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import shutil
from math import sqrt
from statistics import mean, stdev

import numpy as np
import pytest
import soundfile
import torch
from scipy.stats import t as student
from tiny import compose

from deepfake import run
from deepfake.cli import main
from deepfake.detector import Detector
from deepfake.errors import InputError, sentence
from deepfake.evaluation import comparison, report, tensorboard
from deepfake.metrics.calibration import calibrate, cross_validated
from deepfake.metrics.comparison import mean_of_systems
from deepfake.scores.table import Scores, read_scores, write_scores

QUICK = ("bootstrap.n=0", "num_workers=0")


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    for module in (report, comparison):
        monkeypatch.setattr(module, "pictures", lambda folder, drawn: {})
    monkeypatch.setattr(tensorboard, "summaries", lambda *_: ())


@pytest.fixture
def trained(run_folder, tmp_path):
    """A run whose dev scores are those of a good detector: ten speakers, scores of 2.5 a class apart."""
    shutil.copytree(run_folder, tmp_path / "run")
    dev_scores(tmp_path / "run", apart=2.5)
    return tmp_path / "run"


def dev_scores(folder, *, apart, n=120, seed=0):
    labels = np.arange(n) % 2
    scores = np.random.default_rng(seed).normal(size=n) + apart * labels
    extras = {"speaker": [f"s{i % 10}" for i in range(n)]}
    write_scores(folder / "scores/dev.csv", Scores([f"u{i}" for i in range(n)], labels, [""] * n, scores, extras))
    return scores, labels


def evaluate(folder, *overrides):
    arguments = (f"run={folder}", "num_workers=0", "bootstrap.n=50", "device=cpu", *overrides)
    return run.evaluate(compose(*arguments, config="evaluate"))


# ---------------------------------------------------------------- calibration


def test_the_dev_scores_of_the_training_calibrate_the_detector(trained, capsys):
    before, dev = Detector.load(trained), read_scores(trained / "scores/dev.csv")
    metrics = evaluate(trained, "calibrate=true")
    assert capsys.readouterr().out.splitlines() == [str(trained / "calibration")]
    after = Detector.load(trained)
    expected = calibrate(dev.scores, dev.labels)
    assert after.calibration == expected
    assert after.config["calibration"] == {**expected._asdict(), "source": "the dev scores of its training"}
    assert metrics["calibration"] == after.config["calibration"]
    assert {**after.config, "calibration": None} == {**before.config, "calibration": None}
    weights = zip(before.state_dict().values(), after.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    assert json.loads((trained / "calibration/metrics.json").read_text()) == metrics
    llrs = np.array(read_scores(trained / "calibration/scores.csv").extras["llr"], dtype=float)
    assert np.array_equal(llrs, cross_validated(dev.scores, dev.labels, groups=dev.extras["speaker"]))
    assert metrics["calibrated"] and metrics["threshold"] == before.threshold and metrics["cllr"] < 0.6
    assert any("cross-validated" in note for note in metrics["notes"])


def test_a_calibrated_detector_gives_likelihood_ratios(trained):
    plain = evaluate(trained)
    folder = trained / "evaluations/asvspoof2019_la-eval"
    assert not plain["calibrated"] and "llr" not in read_scores(folder / "scores.csv").extras
    evaluate(trained, "calibrate=true")
    metrics = evaluate(trained)
    scores, calibration = read_scores(folder / "scores.csv"), Detector.load(trained).calibration
    llrs = np.array(scores.extras["llr"], dtype=float)
    assert llrs == pytest.approx(calibration.llr(scores.scores), abs=1e-12)
    assert metrics["calibrated"] and metrics["eer"] == plain["eer"] and "by_llr" not in metrics
    assert not any("not calibrated" in note for note in metrics["notes"])


def test_what_is_capped_is_counted(trained):
    evaluate(trained, "calibrate=true")
    detector = Detector.load(trained)
    evaluate(trained)
    scores = read_scores(trained / "evaluations/asvspoof2019_la-eval/scores.csv").scores
    for low, n in ((float(np.sort(scores)[4]), 4), (float(scores.min()) - 1, 0)):
        llr_low = detector.calibration.weight * low + detector.calibration.offset
        detector.set_calibration(detector.calibration._replace(low=llr_low, high=1e6), "a test")
        detector.save(trained / "detector.pt")
        notes = [note for note in evaluate(trained)["notes"] if "capped" in note]
        assert [note[: note.index(" likelihood")] for note in notes] == ([f"{n} of 12"] if n else [])


def test_a_second_calibration_takes_the_place_of_the_first(trained):
    evaluate(trained, "calibrate=true")
    scores, labels = dev_scores(trained, apart=1.0, seed=1)
    evaluate(trained, "calibrate=true")
    assert Detector.load(trained).calibration == calibrate(scores, labels)


@pytest.mark.parametrize(
    ("dev", "message"),
    [({"apart": -2.5}, "not larger for bona fide speech"), ({"apart": 2.5, "n": 3}, "too few")],
)
def test_what_cannot_be_calibrated_changes_nothing(trained, dev, message):
    evaluate(trained, "calibrate=true")
    before = (trained / "detector.pt").read_bytes()
    dev_scores(trained, **dev)
    with pytest.raises(InputError, match=message):
        evaluate(trained, "calibrate=true")
    assert (trained / "detector.pt").read_bytes() == before


def test_a_detector_without_dev_scores_asks_for_a_corpus(trained, tmp_path):
    shutil.copy(trained / "detector.pt", tmp_path / "alone.pt")
    with pytest.raises(InputError, match=r"scores/dev\.csv does not exist: say dataset=\.\.\. to score a partition"):
        evaluate(tmp_path / "alone.pt", "calibrate=true")


def test_any_partition_can_be_calibrated_on(trained, tiny_la, tmp_path, monkeypatch):
    shutil.copytree(tiny_la, tmp_path / "LA")
    soundfile.write(tmp_path / "LA/ASVspoof2019_LA_eval/flac/LA_E_1000004.flac", np.zeros(0), 16000)
    shutil.rmtree(trained / "scores")
    monkeypatch.setitem(run._state, "skipped", False)
    arguments = (f"dataset.root={tmp_path}/LA", "++dataset.on_bad_audio=skip", f"output={tmp_path}/out")
    metrics = evaluate(trained, "calibrate=true", "partition=eval", "dataset=asvspoof2019_la", *arguments)
    scores = read_scores(tmp_path / "out/scores.csv")
    found = Detector.load(trained)
    assert found.calibration == calibrate(scores.scores, scores.labels)
    assert found.config["calibration"]["source"] == "asvspoof2019_la, partition eval"
    assert (found.calibration.n_bonafide, found.calibration.n_spoof) == (5, 6)
    assert (metrics["dataset"], metrics["partition"]) == ("asvspoof2019_la", "eval")
    assert run.exit_code() == 3  # one file was skipped


def test_predict_gives_likelihood_ratios(trained, tiny_la, capsys):
    evaluate(trained, "calibrate=true")
    capsys.readouterr()
    detector = Detector.load(trained)
    audio = sorted((tiny_la / "ASVspoof2019_LA_eval/flac").iterdir())
    llr = float(detector.calibration.uncapped(detector.score_file(audio[0])))
    within = {"low": min(llr, 0) - 50, "high": max(llr, 0) + 50}
    below = {"low": min(llr / 2, -1e-3), "high": max(llr / 2, 1e-3)}
    for bounds, cap in ((within, False), (below, True)):
        detector.set_calibration(detector.calibration._replace(**bounds), "a [bold]test[/bold]")
        detector.save(trained / "detector.pt")
        arguments = ["predict", "--run", str(trained), str(audio[0]), "--device", "cpu", "--format"]
        assert main([*arguments, "json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        stated = llr / 2 if cap else llr
        assert (row["calibrated"], row["capped"]) == (True, cap)
        assert row["p_fake"] == pytest.approx(1 / (1 + math.exp(stated)), abs=1e-4)
        assert row["log10_lr_spoof"] == pytest.approx(-stated / math.log(10), abs=1e-4)
        assert main([*arguments, "csv"]) == 0
        (line,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
        assert (line["calibrated"], line["capped"]) == ("true", str(cap).lower())
        assert float(line["log10_lr_spoof"]) == row["log10_lr_spoof"] and line["error"] == ""
        assert main([*arguments, "table"]) == 0
        words = " ".join(capsys.readouterr().out.split())
        assert "log10 LR" in words and "calibrated: true" in words
        assert f"{row['log10_lr_spoof']:.2f}{'*' if cap else ' '}" in words.replace("│", " ")
        assert "[bold]test[/bold]" in words.replace(" ", "").replace("a[", "a [")


# ---------------------------------------------------------------- several runs


@pytest.fixture
def seeds(run_folder, tmp_path):
    """Three runs that differ by noise in their weights."""
    folders = [tmp_path / "seeds, three" / f"seed {i}" for i in range(3)]
    for i, folder in enumerate(folders):
        shutil.copytree(run_folder, folder)
        detector = Detector.load(folder)
        torch.manual_seed(i)
        with torch.no_grad():
            for weights in detector.parameters():
                weights += 1.0 * weights.std(correction=0) * torch.randn_like(weights)
        detector.save(folder / "detector.pt")
    return folders


def together(folders, *overrides):
    return evaluate(f"[{','.join(repr(str(folder)) for folder in folders)}]", *overrides)


def test_the_mean_over_seeds(seeds, capsys):
    found = together(seeds, "bootstrap.confidence=0.9")
    folder = seeds[0].parent / "comparisons/asvspoof2019_la-eval"
    assert capsys.readouterr().out.splitlines() == [str(folder)]
    assert json.loads((folder / "comparison.json").read_text()) == found
    assert list(found["systems"]) == ["seed 0", "seed 1", "seed 2"] and found["differences"] == []
    scores = [read_scores(f / "evaluations/asvspoof2019_la-eval/scores.csv") for f in seeds]
    assert len({s.scores.tobytes() for s in scores}) == 3
    for key in ("eer", "auc", "min_tdcf", "cllr", "fnr"):
        values = [json.loads((f / "evaluations/asvspoof2019_la-eval/metrics.json").read_text())[key] for f in seeds]
        entry, half = found["mean"][key], student.ppf(0.95, 2) * stdev(values) / sqrt(3)
        assert (entry["mean"], entry["sd"]) == (pytest.approx(mean(values)), pytest.approx(stdev(values)))
        high = mean(values) + half if key == "cllr" else min(mean(values) + half, 1)
        assert entry["ci_seeds"] == pytest.approx([max(mean(values) - half, 0), high])
    expected = mean_of_systems([s.scores for s in scores], scores[0].labels, n=50, confidence=0.9)
    assert found["mean"]["eer"]["ci"] == list(expected["eer"])


def test_a_place_of_its_own_for_the_comparison_alone(seeds, tmp_path):
    found = together(seeds[:2], f"output='{tmp_path}/a, b'", "bootstrap.n=0")
    assert (tmp_path / "a, b/comparison.json").is_file() and not (tmp_path / "a, b/metrics.json").exists()
    assert all((f / "evaluations/asvspoof2019_la-eval/metrics.json").is_file() for f in seeds[:2])
    assert found["mean"]["eer"]["ci"] is None


def test_a_file_that_a_run_skips_sets_the_exit_code(seeds, tiny_la, tmp_path, monkeypatch):
    shutil.copytree(tiny_la, tmp_path / "LA")
    soundfile.write(tmp_path / "LA/ASVspoof2019_LA_eval/flac/LA_E_1000004.flac", np.zeros(0), 16000)
    monkeypatch.setitem(run._state, "skipped", False)
    found = together(seeds[:2], f"++dataset.root={tmp_path}/LA", "++dataset.on_bad_audio=skip", "bootstrap.n=0")
    assert [m["n_bonafide"] for m in found["systems"].values()] == [5, 5] and run.exit_code() == 3


def test_the_same_run_twice_is_refused(seeds):
    with pytest.raises(InputError, match="the same one is given twice"):
        together([seeds[0], seeds[0]])


def test_a_run_folder_that_cannot_be_written_to_is_evaluated_elsewhere(run_folder, tmp_path, monkeypatch):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    run.evaluate(compose(f"run={folder}", f"output={tmp_path}/out", *QUICK, config="evaluate"))
    assert (tmp_path / "out/manifest.csv").is_file() and not (folder / "manifests/eval.csv").exists()


def test_a_place_that_cannot_be_written_to_ends_it_before_the_scoring(run_folder, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("deepfake.commands.evaluate_runs.score_partition", lambda *_, **__: pytest.fail("scored"))
    with pytest.raises(NotADirectoryError, match="file/out"):
        run.evaluate(compose(f"run={run_folder}", f"output={tmp_path}/file/out", *QUICK, config="evaluate"))


def test_a_disk_that_is_full_for_tensorboard_is_named(run_folder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("deepfake.evaluation.tensorboard.summaries", full)
    with pytest.raises(OSError) as caught:
        run.evaluate(compose(f"run={run_folder}", f"output={tmp_path}/out", *QUICK, config="evaluate"))
    assert sentence(caught.value) == f"{tmp_path}/out/tensorboard: No space left on device"


def test_a_corpus_is_calibrated_on_by_its_dev_partition(trained, tiny_la, tmp_path):
    shutil.rmtree(trained / "scores")
    arguments = ("dataset=asvspoof2019_la", f"dataset.root={tiny_la}", f"output={tmp_path}/out")
    metrics = evaluate(trained, "calibrate=true", *arguments)
    assert Detector.load(trained).config["calibration"]["source"] == "asvspoof2019_la, partition dev"
    assert read_scores(tmp_path / "out/scores.csv").ids == [f"LA_D_{1000000 + i}" for i in range(12)]
    assert (metrics["dataset"], metrics["partition"]) == ("asvspoof2019_la", "dev")


def test_decisions_are_those_of_the_threshold_that_the_detector_carries(trained):
    folder = trained / "evaluations/asvspoof2019_la-eval"
    evaluate(trained)
    known = read_scores(folder / "scores.csv")
    threshold = float(np.sort(known.scores)[3:5].mean())  # four of twelve lie below it
    detector = Detector.load(trained)
    detector.set_threshold(threshold, "a test")
    detector.save(trained / "detector.pt")
    metrics = evaluate(trained)
    accepted = known.scores > threshold
    assert (metrics["threshold"], metrics["threshold_source"]) == (threshold, "carried")
    assert metrics["fpr"] == pytest.approx(accepted[known.labels == 0].mean())
    assert metrics["fnr"] == pytest.approx(1 - accepted[known.labels == 1].mean())
