"""`deepfake export`, and `deepfake predict --backend onnx` beside `deepfake predict`."""

from __future__ import annotations

import errno
import json
import shutil
import sys

import onnxruntime
import pytest
import torch
from small_detectors import small, with_domain
from tiny import write_audio

from deepfake.audio import load
from deepfake.cli import main
from deepfake.commands.predict import predict
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.export import onnx
from deepfake.export.export import export
from deepfake.models.network import Network

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def run(run_folder, tmp_path_factory):
    """A copy of the tiny run, in which there will be a `detector.onnx`."""
    return shutil.copytree(run_folder, tmp_path_factory.mktemp("export") / "run")


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for i, seconds in enumerate((0.3, 0.5, 1.7)):
        write_audio(folder / f"{i}.wav", spoof=i != 1, seed=i, seconds=seconds)
    return folder


def rows(capsys, *arguments):
    assert main(["predict", "--device", "cpu", "--format", "json", *map(str, arguments)]) == 0
    return json.loads(capsys.readouterr().out)


def stated(file):
    return onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map["detector_sha256"]


def test_export_says_what_the_file_takes_and_how_well_it_agrees(run, audio, tmp_path, capsys):
    file = tmp_path / "a.onnx"
    assert main(["export", "--run", str(run), "--output", str(file), str(audio / "1.wav")]) == 0
    out, err = capsys.readouterr()
    assert out == f"{file}\n"
    detector = Detector.load(run)
    half = load(audio / "1.wav") * (torch.arange(8000) < 4000)
    clips = [load(audio / "1.wav"), half, torch.zeros(8000)]
    scores = [detector(clip[None]).item() for clip in clips]
    assert f"{file}: ONNX opset 20, " in err
    assert "waveform [B, 8000], 16000 Hz, from -1 to 1 -> score [B], logits; B any number of clips" in err
    said = f"3 clips, digital silence among them, scores from {min(scores):.4g} to {max(scores):.4g}: at most "
    assert said in err and "(allowed: 0.0001)" in err
    assert stated(file) == detector.sha256


def test_predict_on_onnx_gives_the_rows_of_torch(run, audio, capsys):
    expected, found = rows(capsys, "--run", run, audio), rows(capsys, "--run", run, audio, "--backend", "onnx")
    assert [row["file"] for row in found] == [str(audio / f"{i}.wav") for i in range(3)]
    for one, other in zip(found, expected, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)
        assert one["p_fake"] == pytest.approx(other["p_fake"], abs=1e-4)
        keys = ("verdict", "calibrated", "seconds", "scored_seconds", "cautions")
        assert [one[key] for key in keys] == [other[key] for key in keys]


def test_the_file_in_the_run_folder_is_kept_until_the_detector_changes(run, audio, capsys):
    file, one = run / "detector.onnx", audio / "0.wav"
    rows(capsys, "--run", run, one, "--backend", "onnx")
    assert stated(file) == Detector.load(run).sha256
    made = file.stat().st_mtime_ns
    rows(capsys, "--run", run, one, "--backend", "onnx")
    assert file.stat().st_mtime_ns == made
    detector = Detector.load(run)
    detector.set_threshold(3.0, "a test")
    detector.save(run / "detector.pt")
    rows(capsys, "--run", run, one, "--backend", "onnx")
    assert stated(file) == detector.sha256
    file.write_bytes(file.read_bytes()[:1000])
    rows(capsys, "--run", run, one, "--backend", "onnx")
    assert stated(file) == detector.sha256


def test_the_scores_are_those_of_the_file(run, audio, capsys, monkeypatch):
    """Not torch's by another way."""
    before = rows(capsys, "--run", run, audio, "--backend", "onnx")
    call = onnx.Onnx.__call__
    monkeypatch.setattr(onnx.Onnx, "__call__", lambda self, clip: tuple(x + 1 for x in call(self, clip)))
    after = rows(capsys, "--run", run, audio, "--backend", "onnx")
    assert [row["score"] != other["score"] for row, other in zip(after, before, strict=True)] == [True] * 3


def test_a_full_disk_costs_the_next_command_time_and_this_one_nothing(run, audio, capsys, monkeypatch, caplog):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    (run / "detector.onnx").unlink(missing_ok=True)
    monkeypatch.setattr(onnx, "write_atomically", full)
    assert len(rows(capsys, "--run", run, audio, "--backend", "onnx")) == 3
    assert "No space left on device, so that the next command will make it again" in caplog.text
    assert not (run / "detector.onnx").exists()


def test_rows_of_the_two_are_not_mixed_in_a_file(run, audio, tmp_path, capsys):
    command = ["predict", "--run", str(run), str(audio), "--output", str(tmp_path / "a.csv")]
    assert main(command) == 0
    assert main([*command, "--backend", "onnx"]) == 1
    assert "a.csv was begun with backend=None, this is onnx" in capsys.readouterr().err


def test_another_device_and_a_missing_package_are_named(run, audio, monkeypatch):
    how = {"device": torch.device("meta"), "backend": "onnx"}
    with pytest.raises(InputError, match=r"^device=meta with --backend onnx: cpu was expected"):
        predict(run, [audio / "0.wav"], **how)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "deepfake.export.onnx")
    with pytest.raises(InputError, match=r'^onnxruntime is not installed: pip install "deepfake\[export\]"$'):
        predict(run, [audio / "0.wav"], **{**how, "device": torch.device("cpu")})


def test_the_domain_is_told_from_the_embedding_in_the_file(audio, tmp_path, capsys, monkeypatch):
    detector = with_domain(small("cnn", "linear"))
    detector.save(tmp_path / "detector.pt")
    expected = rows(capsys, "--run", tmp_path, audio)
    without = {name: value for name, value in detector.config.items() if name != "domain"}
    plain = Detector(without)
    plain.load_state_dict({name: x for name, x in detector.state_dict().items() if not name.startswith("domain.")})
    with monkeypatch.context() as patch:  # a file of a version that did not export embeddings
        patch.setattr(Detector, "sha256", detector.sha256)
        (tmp_path / "detector.onnx").write_bytes(export(plain, onnx.Onnx).content)
    assert stated(tmp_path / "detector.onnx") == detector.sha256
    rows(capsys, "--run", tmp_path, audio / "0.wav", "--backend", "onnx")
    outputs = onnxruntime.InferenceSession(tmp_path / "detector.onnx").get_outputs()
    assert [output.name for output in outputs] == ["score", "logits", "embedding"]

    monkeypatch.setattr(Network, "forward", None)  # torch has no part in it
    monkeypatch.setattr(Network, "with_embedding", None)
    found = rows(capsys, "--run", tmp_path, audio, "--backend", "onnx")
    for one, other in zip(found, expected, strict=True):
        assert one["domain"] == other["domain"] in ("in", "edge", "outside")
        assert one["domain_percentile"] == pytest.approx(other["domain_percentile"], abs=1e-2)
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)
