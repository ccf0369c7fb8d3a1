"""`evaluate.py`'s task: which corpus, which utterances, what is written, what is said of bad files."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import soundfile
import yaml
from tiny import compose, write_audio

from deepfake import run
from deepfake.errors import InputError
from deepfake.scores.table import read_scores


def evaluate(run_dir, *overrides):
    return run.evaluate(compose(f"run={run_dir}", "num_workers=0", *overrides, config="evaluate"))


@pytest.fixture
def trained(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "run")
    return tmp_path / "run"


def test_the_runs_own_corpus_is_evaluated_by_default(trained, capsys):
    metrics = evaluate(trained)
    folder = trained / "evaluations" / "asvspoof2019_la-eval"
    assert capsys.readouterr().out.splitlines() == [str(folder)]
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert metrics["threshold_source"] == "carried" and 0 <= metrics["fpr"] <= 1
    scores = read_scores(folder / "scores.csv")
    assert len(scores) == 12 and set(scores.attacks) == {"", "A07"} and "speaker" in scores.extras
    for name in ("report.html", "figures/det.png", "environment.json"):
        assert (folder / name).is_file()
    assert list((folder / "tensorboard").iterdir())
    assert (trained / "manifests" / "eval.csv").is_file()


def test_a_root_alone_moves_the_runs_own_corpus(trained, tiny_la, tmp_path):
    shutil.copytree(tiny_la, tmp_path / "elsewhere, moved")
    metrics = evaluate(trained, f"++dataset.root='{tmp_path}/elsewhere, moved'", "partition=dev")
    dev = json.loads((trained / "reports" / "metrics.json").read_text())
    assert metrics["eer"] == dev["eer"] and metrics["dataset"] == "asvspoof2019_la"


def test_another_corpus_and_another_output(trained, tmp_path):
    for i in range(4):
        write_audio(tmp_path / "c" / ("fake" if i % 2 else "real") / f"{i}.wav", spoof=bool(i % 2), seed=i, rate=8000)
    arguments = ("dataset=folder", f"dataset.root={tmp_path}/c", "dataset.train_share=0", f"output={tmp_path}/out")
    metrics = evaluate(trained, *arguments)
    assert (tmp_path / "out" / "manifest.csv").is_file()
    assert (metrics["dataset"], metrics["n_bonafide"], metrics["n_spoof"]) == ("folder", 2, 2)
    assert metrics["min_tdcf"] is None and (tmp_path / "out" / "scores.csv").is_file()
    assert not (trained / "evaluations").exists() and not (trained / "manifests" / "eval.csv").exists()


def test_one_class_only_is_evaluated_as_far_as_it_goes(trained, tmp_path):
    write_audio(tmp_path / "c" / "a.wav", spoof=False, seed=0)
    (tmp_path / "m.csv").write_text("path,label\nc/a.wav,bonafide\n")
    metrics = evaluate(trained, "dataset=manifest", f"dataset.root={tmp_path}/m.csv")
    assert metrics["eer"] is None and metrics["n_bonafide"] == 1 and metrics["fnr"] in (0.0, 1.0)


@pytest.fixture
def damaged(trained, tiny_la, tmp_path):
    shutil.copytree(tiny_la, tmp_path / "LA")
    soundfile.write(tmp_path / "LA/ASVspoof2019_LA_eval/flac/LA_E_1000004.flac", np.zeros(0), 16000)
    return trained, f"++dataset.root={tmp_path}/LA"


def test_a_bad_file_stops_the_evaluation_but_loses_no_score(damaged):
    trained, root = damaged
    with pytest.raises(InputError, match=r"1 of 12 files could not be scored: .*LA_E_1000004.flac.*scores.csv"):
        evaluate(trained, root)
    assert len(read_scores(trained / "evaluations" / "asvspoof2019_la-eval" / "scores.csv")) == 11


def test_a_bad_file_is_skipped_on_request_and_listed(damaged, monkeypatch):
    trained, root = damaged
    monkeypatch.setitem(run._state, "skipped", False)
    metrics = evaluate(trained, root, "++dataset.on_bad_audio=skip")
    assert metrics["n_bonafide"] == 5 and run.exit_code() == 3
    folder = trained / "evaluations" / "asvspoof2019_la-eval"
    (row,) = csv.DictReader((folder / "skipped.csv").open())
    assert row["utterance"] == "LA_E_1000004"


def test_an_imported_detector_has_no_corpus_of_its_own(trained):
    config = yaml.safe_load((trained / "config.yaml").read_text())
    (trained / "config.yaml").write_text(yaml.safe_dump({k: config[k] for k in ("name", "features", "model")}))
    with pytest.raises(InputError, match="say dataset="):
        evaluate(trained)


def test_balanced_subsets_are_those_of_the_runs_seed(trained):
    first = evaluate(trained, "++dataset.per_class.eval=2")
    assert (first["n_bonafide"], first["n_spoof"]) == (2, 2)
    ids = read_scores(trained / "evaluations/asvspoof2019_la-eval/scores.csv").ids
    evaluate(trained, "++dataset.per_class.eval=2")
    assert read_scores(trained / "evaluations/asvspoof2019_la-eval/scores.csv").ids == ids


@pytest.mark.parametrize(("partition", "theirs"), [("eval", "LA_2001"), ("dev", "LA_1001")])
def test_training_speakers_are_warned_about(trained, tiny_la, tmp_path, caplog, partition, theirs):
    shutil.copytree(tiny_la, tmp_path / "LA")
    protocol = tmp_path / f"LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.{partition}.trl.txt"
    assert theirs in protocol.read_text()
    protocol.write_text(protocol.read_text().replace(theirs, "LA_0001"))
    evaluate(trained, f"++dataset.root={tmp_path}/LA", f"partition={partition}")
    assert f"1 speakers of {partition} were in training (LA_0001" in caplog.text


def test_the_record_of_the_training_data_is_not_written_over(trained):
    before = (trained / "manifests" / "train.csv").read_text()
    evaluate(trained, "partition=train", "++dataset.per_class.train=2")
    assert (trained / "manifests" / "train.csv").read_text() == before


def test_training_attacks_have_rates_of_their_own(trained, tiny_la, tmp_path):
    shutil.copytree(tiny_la, tmp_path / "LA")
    protocol = tmp_path / "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt"
    protocol.write_text(protocol.read_text().replace("A07", "A01", 2))
    metrics = evaluate(trained, f"++dataset.root={tmp_path}/LA")
    assert {name: entry["n"] for name, entry in metrics["by_training"].items()} == {"seen": 2, "unseen": 4}


def test_a_failed_evaluation_leaves_no_report_of_an_earlier_one(damaged, tiny_la):
    trained, root = damaged
    evaluate(trained, f"++dataset.root={tiny_la}")
    with pytest.raises(InputError, match="could not be scored"):
        evaluate(trained, root)
    assert not (trained / "evaluations" / "asvspoof2019_la-eval" / "metrics.json").exists()


def test_damage_behind_the_clip_is_noticed(trained, tmp_path):
    for name in "ab":
        write_audio(tmp_path / f"{name}.flac", spoof=name == "a", seed=0, seconds=3.0)
    whole = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(whole[: int(0.8 * len(whole))])
    (tmp_path / "m.csv").write_text("path,label\na.flac,0\nb.flac,1\n")
    with pytest.raises(InputError, match=r"1 of 2 files could not be scored: .*a\.flac"):
        evaluate(trained, "dataset=manifest", f"dataset.root={tmp_path}/m.csv")


def test_a_wrong_device_is_a_sentence(trained):
    with pytest.raises(InputError, match="device=abacus cannot be used here"):
        evaluate(trained, "device=abacus")
