"""What is said of one recording is the same in every command, to the last digit, and each opens it once."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny import compose, write_audio

from deepfake import run
from deepfake.audio import mono
from deepfake.cli import main
from deepfake.detector import Detector
from deepfake.metrics.calibration import Calibration
from deepfake.scores.table import read_scores

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def calibrated(run_folder, tmp_path_factory):
    """The tiny run, whose clips are half a second, with a calibration that says much."""
    folder = tmp_path_factory.mktemp("calibrated") / "run"
    shutil.copytree(run_folder, folder)
    detector = Detector.load(folder)
    detector.set_calibration(Calibration(40.0, 3.0, -6.0, 6.0, 500, 500), "a test")
    detector.save(folder / "detector.pt")
    return folder


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    """Shorter than a clip, as long as one, a little longer, much longer, and half bona fide."""
    folder = tmp_path_factory.mktemp("corpus") / "real"
    for name, seconds in (("short", 0.3), ("clip", 0.5), ("longer", 0.51), ("long", 3.3)):
        write_audio(folder / f"{name}.wav", spoof=name != "longer", seed=1, seconds=seconds)
    halves = [soundfile.read(folder / f"{name}.wav")[0] for name in ("longer", "long")]
    soundfile.write(folder / "mixed.wav", np.concatenate([np.tile(halves[0], 6), halves[1]]), 16000)
    return folder


@pytest.fixture
def opens(monkeypatch):
    """The files that were opened for decoding, in order."""
    found, opened = [], mono.opened

    def counted(source):
        found.append(str(source))
        return opened(source)

    monkeypatch.setattr(mono, "opened", counted)
    return found


def corpus_of(audio, root):
    """The files as bona fide ones, and again as spoofs."""
    shutil.copytree(audio, root / "real")
    (root / "fake").mkdir()
    for file in audio.iterdir():
        shutil.copy(file, root / "fake" / f"fake_{file.name}")


def predicted(capsys, *arguments, kind="json"):
    capsys.readouterr()  # what other commands printed
    assert main(["predict", "--device", "cpu", "--format", kind, *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_every_command_gives_the_same_numbers_and_opens_a_file_once(calibrated, audio, tmp_path, capsys, opens):
    rows = json.loads(predicted(capsys, "--run", calibrated, audio))
    files = sorted(map(str, audio.iterdir()))
    assert opens == files == [row["file"] for row in rows]
    detector = Detector.load(calibrated)
    for row in rows:
        assert list(row) == [
            *("file", "score", "p_fake", "verdict", "calibrated", "log10_lr_spoof", "capped"),
            *("seconds", "scored_seconds", "domain", "domain_percentile", "domain_misjudged", "domain_n", "cautions"),
        ]
        assert row["score"] == detector.score_file(row["file"])
        assert row["seconds"] == row["scored_seconds"] == soundfile.info(row["file"]).duration

    opens.clear()
    config = compose(f"run={calibrated}", f"input={audio}", f"output={tmp_path}", "device=cpu", config="explain")
    reports = run.explain(config)
    assert opens == files
    for row in rows:
        report = reports[row["file"]]
        assert (report["score"], report["p_fake"], report["verdict"]) == (row["score"], row["p_fake"], row["verdict"])
        assert report["llr"] == {key: row[key] for key in ("calibrated", "log10_lr_spoof", "capped")}
        assert [reason["name"] for reason in report["reasons"]] == row["cautions"]
        assert report["recording"]["seconds"] == row["seconds"]
        assert report["recording"]["scored_seconds"] == row["scored_seconds"]
        segments = json.loads((tmp_path / Path(row["file"]).stem / "segments.json").read_text())
        assert segments["duration"] == row["seconds"]
    windows = {
        name: reports[str(audio / f"{name}.wav")]["recording"]["n_windows"] for name in ("short", "clip", "long")
    }
    assert windows == {"short": 1, "clip": 1, "long": 13}
    assert "windows_disagree" in next(row["cautions"] for row in rows if row["file"].endswith("mixed.wav"))
    assert {row["verdict"] for row in rows} >= {"inconclusive"}

    opens.clear()
    assert main(["verify-report", str(tmp_path / "long" / "report.json"), str(audio / "long.wav")]) == 0
    assert opens == [str(audio / "long.wav")]


def test_evaluate_scores_first_clips_or_whole_files_by_the_same_rules(calibrated, audio, tmp_path, capsys):
    corpus_of(audio, tmp_path / "corpus")
    corpus = ("dataset=folder", f"dataset.root={tmp_path}/corpus", "dataset.train_share=0", "bootstrap.n=0")
    for clips in ("first", "whole"):
        rows = json.loads(predicted(capsys, "--run", calibrated, audio, "--clips", clips))
        for workers in (0, 1):
            out = tmp_path / f"{clips}{workers}"
            given = (f"run={calibrated}", f"output={out}", f"clips={clips}", f"num_workers={workers}", "device=cpu")
            run.evaluate(compose(*given, *corpus, config="evaluate"))
            found = read_scores(out / "scores.csv")
            scores = dict(zip(found.ids, found.scores, strict=True))
            for row in rows:
                score = scores[Path(row["file"]).stem]
                if clips == "whole":
                    assert score == row["score"]
                else:  # in batches of many files, which moves the last digits
                    assert score == pytest.approx(row["score"], abs=1e-6)
        assert ("every window" in (out / "report.html").read_text()) == (clips == "whole")
    capsys.readouterr()


def test_a_bad_file_is_skipped_where_whole_files_are_scored(calibrated, audio, tmp_path, capsys):
    corpus_of(audio, tmp_path / "c")
    (tmp_path / "c" / "real" / "bad.wav").write_bytes(b"RIFF")
    corpus = ("dataset=folder", f"dataset.root={tmp_path}/c", "dataset.train_share=0", "+dataset.on_bad_audio=skip")
    given = (f"run={calibrated}", f"output={tmp_path}/out", "clips=whole", "bootstrap.n=0", "num_workers=0")
    run.evaluate(compose(*given, *corpus, "device=cpu", config="evaluate"))
    (row,) = csv.DictReader((tmp_path / "out" / "skipped.csv").open())
    assert "bad" in ",".join(row.values())
    capsys.readouterr()


def test_the_first_clip_alone(calibrated, audio, capsys):
    detector = Detector.load(calibrated)
    for row in json.loads(predicted(capsys, "--run", calibrated, audio, "--clips", "first")):
        samples, _ = soundfile.read(row["file"], dtype="float32")
        assert row["scored_seconds"] == min(row["seconds"], 0.5) and row["seconds"] == len(samples) / 16000
        with torch.inference_mode():
            assert row["score"] == detector(torch.from_numpy(np.resize(samples, 8000))[None]).item()
    out = predicted(capsys, "--run", calibrated, audio / "long.wav", "--clips", "first", kind="table")
    assert "0.5 of 3.3" in out


def test_csv_and_table_have_lengths_and_cautions(calibrated, audio, capsys):
    (row,) = csv.DictReader(io.StringIO(predicted(capsys, "--run", calibrated, audio / "mixed.wav", kind="csv")))
    assert float(row["seconds"]) == float(row["scored_seconds"]) == pytest.approx(6.36, abs=0.01)
    assert "windows_disagree" in row["cautions"].split() and row["calibrated"] == "true"
    out = predicted(capsys, "--run", calibrated, audio / "mixed.wav", kind="table")
    assert "windows" in out and "6.4" in out
