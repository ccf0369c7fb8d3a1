"""The `deepfake` command."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import OmegaConf
from tiny import compose, write_audio

from deepfake import CONF, run
from deepfake.cli import main
from deepfake.detector import Detector
from deepfake.runs import catalogue

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "audio"
    for i in range(3):
        write_audio(folder / f"{i}.wav", spoof=i == 1, seed=i)
    return folder


def test_predict_as_json(run_folder, audio, capsys):
    assert main(["predict", "--run", str(run_folder), str(audio), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["file"] for row in rows] == [str(audio / f"{i}.wav") for i in range(3)]
    detector = Detector.load(run_folder)
    for row in rows:
        assert row["score"] == pytest.approx(detector.score_file(row["file"]), abs=1e-5)
        assert row["p_fake"] == pytest.approx(detector.p_fake(row["score"]))
        side = "bonafide" if row["score"] > detector.threshold else "spoof"
        assert row["verdict"] == ("inconclusive" if "uncertain" in row["cautions"] else side)
        assert row["calibrated"] is False


def test_a_bad_file_becomes_a_row_and_sets_the_exit_code(run_folder, audio, capsys):
    (audio / "bad.wav").write_text("this is text")
    soundfile.write(audio / "one.wav", np.ones(1), 16000)
    assert main(["predict", "--run", str(run_folder), str(audio), str(audio / "none.wav"), "--format", "json"]) == 3
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 6 and sum("score" in row for row in rows) == 3
    assert all(set(row) == {"file", "error"} and row["file"] in row["error"] for row in rows if "score" not in row)


def test_predict_as_csv_and_table(run_folder, audio, capsys):
    assert main(["predict", "--run", str(run_folder / "detector.pt"), str(audio), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 3 and {"file", "score", "p_fake", "verdict"} <= rows[0].keys()
    assert main(["predict", "--run", str(run_folder), str(audio / "0.wav")]) == 0
    out = capsys.readouterr().out
    assert "calibrated: false" in out and "verdict" in out


def test_predict_from_a_manifest_and_a_random_one(run_folder, capsys):
    manifest = str(run_folder / "manifests" / "dev.csv")
    assert main(["predict", "--run", str(run_folder), "--manifest", manifest, "--format", "json"]) == 0
    everything = {row["file"] for row in json.loads(capsys.readouterr().out)}
    assert len(everything) == 12
    assert main(["predict", "--run", str(run_folder), "--manifest", manifest, "--random", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["file"] in everything


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "--run", "RUN"], "nothing to score"),
        (["predict", "--run", "/nowhere", "x.wav"], "/nowhere does not exist"),
        (["predict", "--run", "RUN", "EMPTY"], "no audio files"),
        (["predict", "--run", "RUN", "x.wav", "--device", "abacus"], "device=abacus"),
        (["predict", "--run", "RUN", "--manifest", "/nowhere.csv"], "no such manifest"),
        (["import", "aasist", "--weights", "/nowhere.pth", "--output", "OUT"], "/nowhere.pth does not exist"),
        (["runs", "/nowhere"], "is not a folder"),
    ],
)
def test_errors_are_sentences(run_folder, tmp_path, capsys, arguments, message):
    (tmp_path / "empty").mkdir()
    places = {"RUN": str(run_folder), "EMPTY": str(tmp_path / "empty"), "OUT": str(tmp_path / "out")}
    assert main([places.get(a, a) for a in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_wrong_usage_exits_with_2():
    with pytest.raises(SystemExit) as stop:
        main(["predict", "--format", "xml"])
    assert stop.value.code == 2


def test_without_a_run_the_newest_finished_one_is_taken_and_named(run_folder, audio, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = str(audio / "0.wav")
    assert main(["predict", file]) == 1
    assert "no finished run below outputs/" in capsys.readouterr().err
    for age, name in enumerate(("new", "old")):
        shutil.copytree(run_folder, tmp_path / "outputs" / "train" / name)
        detector = tmp_path / "outputs" / "train" / name / "detector.pt"
        os.utime(detector, (1e9 - age, 1e9 - age))
    (tmp_path / "outputs" / "train" / "unfinished").mkdir()
    assert main(["predict", "--format", "json", file]) == 0
    done = capsys.readouterr()
    assert "run: outputs/train/new" in done.err
    assert json.loads(done.out)[0]["score"] == pytest.approx(Detector.load(run_folder).score_file(file), abs=1e-5)


def test_weights_become_a_run_that_scores_as_published(tmp_path, capsys):
    torch.manual_seed(0)
    source = Detector(catalogue.read("aasist_l").config({})).eval()
    torch.save(source.model.state_dict(), tmp_path / "AASIST-L.pth")
    folder = tmp_path / "run"
    assert main(["import", "aasist", "--weights", str(tmp_path / "AASIST-L.pth"), "--output", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder)
    loaded = Detector.load(folder)
    waveform = 0.1 * torch.randn(1, 16000)
    with torch.inference_mode():
        assert torch.equal(loaded(waveform), source.logits(waveform)[:, 1])
    assert loaded.threshold == 0.0 and loaded.n_samples == 64600
    assert main(["import", "aasist", "--weights", str(tmp_path / "AASIST-L.pth"), "--output", str(folder)]) == 1
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    assert main(["import", "aasist", "--weights", str(tmp_path / "other.pth"), "--output", str(tmp_path / "x")]) == 1
    assert "neither AASIST nor AASIST-L" in capsys.readouterr().err


WRAPPED = {
    "DataParallel": lambda state: {f"module.{name}": weights for name, weights in state.items()},
    "a checkpoint": lambda state: {"epoch": 3, "state_dict": state},
    "nested": lambda state: {"optimizer": {"x": torch.zeros(1)}, "model": {"net": state}},
    "Lightning": lambda state: {
        "epoch": 3,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": {f"model.net.{name}": weights for name, weights in state.items()},
    },
    "compiled": lambda state: {"net": {f"_orig_mod.module.{name}": weights for name, weights in state.items()}},
}


@pytest.mark.parametrize("wrapping", WRAPPED)
def test_weights_are_imported_from_their_wrappings(tmp_path, wrapping):
    torch.manual_seed(0)
    state = Detector(catalogue.read("aasist_l").config({})).model.state_dict()
    torch.save(WRAPPED[wrapping](state), tmp_path / "w.pth")
    assert main(["import", "aasist", "--weights", str(tmp_path / "w.pth"), "--output", str(tmp_path / "run")]) == 0
    loaded = Detector.load(tmp_path / "run").model.state_dict()
    assert all(torch.equal(loaded[name], weights) for name, weights in state.items())


def test_what_differs_of_weights_is_named(tmp_path, capsys):
    state = Detector(catalogue.read("aasist").config({})).model.state_dict()
    first, second, *_ = [name for name, weights in state.items() if weights.ndim > 1]
    state[first] = torch.zeros(2, 3)
    state["head.extra"] = state.pop(second)
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    assert main(["import", "aasist", "--weights", str(tmp_path / "w.pth"), "--output", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert "from aasist differ 3 of its entries: " in error and error.count("\n") == 1
    assert f"{first} is (2, 3), not (" in error
    assert f"{second} is not there, head.extra is unknown" in error
    (tmp_path / "w.safetensors").write_bytes(b"x")
    given = ["--weights", str(tmp_path / "w.safetensors"), "--output", str(tmp_path / "run")]
    assert main(["import", "aasist", *given]) == 1
    assert "w.safetensors is not a state dict" in capsys.readouterr().err


def test_fetch_checks_what_it_downloads(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    buffer = io.BytesIO()
    torch.save(Detector(catalogue.read("aasist").config({})).model.state_dict(), buffer)
    content = buffer.getvalue()
    (tmp_path / "AASIST.pth").write_bytes(content)
    (tmp_path / "yamls").mkdir()
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path / "yamls")

    def describe(folder, digest):
        stated = {"url": f"file://{folder}/AASIST.pth", "sha256": digest, "also": []}
        described = OmegaConf.merge(OmegaConf.load(CONF / "published" / "aasist.yaml"), stated)
        OmegaConf.save(described, tmp_path / "yamls" / "aasist.yaml")

    describe(tmp_path, "0" * 64)
    assert main(["fetch", "aasist", "--output", str(tmp_path / "a")]) == 1
    assert "is not the published file" in capsys.readouterr().err
    digest = hashlib.sha256(content).hexdigest()
    describe(tmp_path, digest)
    assert main(["fetch", "aasist", "--output", str(tmp_path / "a")]) == 0
    assert Detector.load(tmp_path / "a").config["imported"]["sha256"] == digest
    describe(tmp_path / "nowhere", digest)
    assert main(["fetch", "aasist", "--output", str(tmp_path / "b")]) == 1
    assert "could not be fetched" in capsys.readouterr().err and not (tmp_path / "b").exists()


def test_the_published_weights_are_evaluated_like_any_run(shared, tmp_path, tiny_la):
    weights = shared / "reference" / "aasist_l" / "AASIST-L.pth"
    assert main(["import", "aasist", "--weights", str(weights), "--output", str(tmp_path)]) == 0
    arguments = ("dataset=asvspoof2019_la", f"dataset.root={tiny_la}", "++dataset.per_class.eval=2", "num_workers=0")
    metrics = run.evaluate(compose(f"run={tmp_path}", *arguments, config="evaluate"))
    assert metrics["n_bonafide"] == 2 and metrics["threshold"] == 0.0


def test_runs_side_by_side(run_folder, tmp_path, capsys):
    for name in ("one", "two"):
        shutil.copytree(run_folder, tmp_path / name)
    config = (tmp_path / "two" / "config.yaml").read_text()
    (tmp_path / "two" / "config.yaml").write_text(config.replace("batch_size: 4", "batch_size: 5", 1))
    assert main(["runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("one", "two", "dev", "batch_size=4", "batch_size=5")) and "seed" not in out
