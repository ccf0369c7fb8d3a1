"""The rows of `deepfake predict`: in a file as they come, resumed, on stdout of any encoding."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys

import numpy as np
import pytest
import soundfile
from tiny import compose, write_audio

from deepfake import run
from deepfake.cli import main
from deepfake.commands import predict
from deepfake.commands.rows import CsvRows, JsonRows
from deepfake.detector import Detector

pytestmark = pytest.mark.usefixtures("undrawn")

ROWS = [
    {"file": "a\u2028\n,\"b\".wav", "score": -1.25, "calibrated": False, "cautions": ["no_speech", "clipped"]},
    {"file": "=1+1.wav", "error": "=1+1.wav: not audio\nor damaged"},
    {"file": "x.wav", "score": 0.1 + 0.2, "calibrated": True, "capped": False, "cautions": []},
]  # fmt: skip


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "audio"
    for i in range(4):
        write_audio(folder / f"{i}.wav", spoof=i == 1, seed=i)
    (folder / "2.wav").write_text("this is text")
    return folder


@pytest.fixture
def stopped(monkeypatch):
    """Ctrl-C, once, after so many files."""

    def after(n):
        assess, calls = predict.assess, []

        def counted(*args, **more):
            calls.append(args[1].name)
            if len(calls) == n + 1:
                raise KeyboardInterrupt
            return assess(*args, **more)

        monkeypatch.setattr(predict, "assess", counted)
        return calls

    return after


def predicted(capsys, *arguments):
    capsys.readouterr()
    code = main(["predict", "--device", "cpu", *map(str, arguments)])
    done = capsys.readouterr()
    return code, done.out, done.err


def text_of(form, rows):
    out = io.StringIO()
    written = form(out)
    for row in rows:
        written.add(row)
    written.close()
    return out.getvalue()


def test_a_list_that_is_written_row_by_row_is_that_of_one_call():
    assert text_of(JsonRows, ROWS) == json.dumps(ROWS, indent=2, ensure_ascii=False) + "\n"
    assert text_of(JsonRows, []) == "[]\n"
    found = list(csv.DictReader(io.StringIO(text_of(CsvRows, ROWS), newline="")))
    assert [row["file"] for row in found] == ['a\u2028\n,"b".wav', "'=1+1.wav", "x.wav"]
    assert found[0]["cautions"] == "no_speech clipped" and found[1]["error"] == "'=1+1.wav: not audio\nor damaged"
    assert (found[2]["score"], found[2]["calibrated"], found[2]["capped"]) == ("0.30000000000000004", "true", "false")


@pytest.mark.parametrize("form", [CsvRows, JsonRows])
def test_a_file_that_was_broken_off_anywhere_gives_its_whole_rows(form):
    text = text_of(form, ROWS)
    header, counts = text.index("\n"), []
    for n in range(len(text) + 1):
        kept, rows = form.begun(text[:n]) if form is JsonRows or n > header or n == 0 else ("", [])
        assert [row["file"] for row in rows] == [row["file"] for row in ROWS[: len(rows)]] and text.startswith(kept)
        out = io.StringIO()
        written = form(out, len(rows))
        for row in ROWS[len(rows) :]:
            written.add(row)
        written.close()
        assert kept + out.getvalue() == text
        counts.append(len(rows))
    assert counts == sorted(counts) and {*counts} == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["rows.csv", "rows.json"])
def test_an_interrupted_file_is_gone_on_with(run_folder, audio, tmp_path, capsys, caplog, stopped, name):
    whole, file = tmp_path / f"whole-{name}", tmp_path / name
    assert predicted(capsys, "--run", run_folder, audio, "--output", whole)[:2] == (3, f"{whole}\n")
    calls = stopped(3)
    code, out, err = predicted(capsys, "--run", run_folder, audio, "--output", file)
    assert (code, out) == (1, "") and err.endswith("error: interrupted\n")
    if name == "rows.json":
        assert [row["file"][-5:] for row in json.loads(file.read_text())] == ["0.wav", "1.wav", "2.wav"]
    assert whole.read_text().startswith(file.read_text().removesuffix("\n]\n"))
    code, out, err = predicted(capsys, "--run", run_folder, audio, "--output", file)
    assert code == 3 and f"{file} has 3 of 4 files, which are not scored again" in caplog.text
    assert calls == ["0.wav", "1.wav", "2.wav", "3.wav", "3.wav"] and file.read_bytes() == whole.read_bytes()
    assert predicted(capsys, "--run", run_folder, audio, "--output", file)[0] == 3 and len(calls) == 5
    assert file.read_bytes() == whole.read_bytes()


def test_rows_of_other_settings_are_not_mixed(run_folder, audio, tmp_path, capsys):
    file = tmp_path / "rows.csv"
    given = ("--run", run_folder, audio / "0.wav", "--output", file)
    assert predicted(capsys, *given)[0] == 0
    assert json.loads((tmp_path / "rows.csv.settings.json").read_text()) == {
        "format": "csv",
        "detector": str(run_folder),
        "detector_sha256": Detector.load(run_folder).sha256,
        "clips": "whole",
    }
    before = file.read_bytes()
    assert "begun with clips=whole, this is first" in predicted(capsys, *given, "--clips", "first")[2]
    assert "begun with format=csv, this is json" in predicted(capsys, *given, "--format", "json")[2]
    other = shutil.copytree(run_folder, tmp_path / "other")
    assert predicted(capsys, "--run", other, *given[2:])[0] == 0  # the same detector elsewhere
    detector = Detector.load(other)
    detector.set_threshold(1.0, "a test")
    detector.save(other / "detector.pt")
    code, _, err = predicted(capsys, "--run", other, *given[2:])
    assert code == 1 and "begun with detector_sha256=" in err and file.read_bytes() == before
    (tmp_path / "mine.csv").write_text("utterance,label\n")
    code, _, err = predicted(capsys, *given[:3], "--output", tmp_path / "mine.csv")
    assert code == 1 and "was not begun by this command: give another --output" in err
    assert (tmp_path / "mine.csv").read_text() == "utterance,label\n"


@pytest.mark.parametrize("kind", ["csv", "json", "table"])
def test_what_was_scored_before_an_interruption_is_on_stdout(run_folder, audio, capsys, stopped, kind):
    stopped(2)
    code, out, _ = predicted(capsys, "--run", run_folder, audio, "--format", kind)
    assert code == 1 and "0.wav" in out and "1.wav" in out and "2.wav" not in out
    if kind == "json":
        assert len(json.loads(out)) == 2


@pytest.mark.parametrize("kind", ["csv", "json", "table"])
def test_all_rows_are_written_in_an_encoding_that_lacks_their_letters(run_folder, tmp_path, monkeypatch, kind):
    folder = tmp_path / "audio"
    for name in ("émoji 🎙.wav", "\udcff\x1b[31m.wav", "plain.wav"):
        folder.mkdir(exist_ok=True)
        write_audio(tmp_path / "x.wav", spoof=False, seed=0).rename(folder / name)
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["predict", "--device", "cpu", "--run", str(run_folder), str(folder), "--format", kind]) == 0
    out = raw.getvalue().decode("ascii")
    if kind == "json":
        assert [row["file"] for row in json.loads(out)] == sorted(str(folder / n) for n in
            ("émoji 🎙.wav", "\udcff\x1b[31m.wav", "plain.wav"))  # fmt: skip
    else:
        assert "\\xe9moji \\U0001f399.wav" in out and "plain.wav" in out and "\\udcff" in out
    assert ("\x1b" in out) == (kind == "csv")  # raw into a file, never on a terminal


def test_predict_and_explain_call_the_same_files_inconclusive(run_folder, tmp_path, capsys):
    t = np.arange(16000) / 16000
    sounds = {"silence": np.zeros(16000), "ten_ms": 0.1 * np.sin(2 * np.pi * 300 * t[:160]), "dc": np.full(16000, 0.25)}
    sounds["tone"] = 0.3 * np.sin(2 * np.pi * 440 * t)
    for name, samples in sounds.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "in" / f"{name}.wav", samples, 16000)
    code, out, _ = predicted(capsys, "--run", run_folder, tmp_path / "in", "--format", "json")
    rows = json.loads(out)
    assert code == 0 and [row["verdict"] for row in rows] == ["inconclusive"] * 4
    assert all("no_speech" in row["cautions"] for row in rows)
    code, out, _ = predicted(capsys, "--run", run_folder, tmp_path / "in", "--format", "csv")
    assert [row["verdict"] for row in csv.DictReader(io.StringIO(out))] == ["inconclusive"] * 4
    assert predicted(capsys, "--run", run_folder, tmp_path / "in")[1].count("inconclusive") == 4
    given = (f"run={run_folder}", f"input={tmp_path}/in", f"output={tmp_path}/out", "device=cpu", "explain=saliency")
    reports = run.explain(compose(*given, config="explain"))
    assert reports.keys() == {row["file"] for row in rows}
    for row in rows:
        report = reports[row["file"]]
        assert (report["state"], report["verdict"], report["score"]) == ("inconclusive", "inconclusive", row["score"])
        assert [reason["name"] for reason in report["reasons"]] == row["cautions"]
