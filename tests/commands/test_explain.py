"""The evidence for one file and for a folder: what is written, whatever the verdict, the length and the model."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pypdf
import pytest
import soundfile
import torch
from drawing import blank_figures
from small_detectors import SMALL
from tiny import compose, write_audio

from deepfake import run
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.speakers import check as speaker_check
from deepfake.speakers.embedding import Voice
from deepfake.speakers.profiles import Profile, Profiles

FILES = ["report.json", "report.pdf", "mel_saliency.npy", "seq_saliency.npy", "mel_gradcam.npy", "time_importance.npy"]
FILES += ["segments.json", "segments.txt", "segments.rttm"]
PICTURES = ["mel", "mel_saliency_overlay", "mel_gradcam_overlay", "time_importance", "waveform_highlight", "timeline"]


def drawn(run_dir, given, *overrides):
    return run.explain(compose(f"run={run_dir}", f"input='{given}'", "device=cpu", *overrides, config="explain"))


def explained(run_dir, given, *overrides):
    with blank_figures():
        return drawn(run_dir, given, *overrides)


def complete(folder):
    assert {name for name in FILES if not (folder / name).is_file()} == set()
    assert {name for name in PICTURES if not (folder / "viz" / f"{name}.png").is_file()} == set()
    for array in folder.glob("*.npy"):
        assert np.isfinite(np.load(array, allow_pickle=False)).all()
    return json.loads((folder / "report.json").read_text())


def test_one_file(run_folder, tmp_path, capsys):
    file = write_audio(tmp_path / "a, b=c.wav", spoof=True, seed=1, seconds=1.2)
    (report,) = drawn(run_folder, file, f"output='{tmp_path}/out'").values()
    folder = tmp_path / "out" / "a, b=c"
    assert capsys.readouterr().out.splitlines() == [str(folder)]
    assert complete(folder) == report
    detector = Detector.load(run_folder)
    assert report["score"] == pytest.approx(detector.score_file(file), abs=1e-4)
    assert set(report["methods"]) == {"saliency", "gradcam", "integrated_gradients", "occlusion"}
    cells = np.load(folder / "mel_saliency.npy")
    assert np.load(folder / "mel_gradcam.npy").shape == cells.shape
    assert np.load(folder / "time_importance.npy").shape == cells.shape[1:]
    assert len(np.load(folder / "seq_saliency.npy")) == 0.5 * 16000  # what of the file the detector hears
    scan = json.loads((folder / "segments.json").read_text())
    assert scan["duration"] == pytest.approx(1.2, abs=0.01)


@pytest.mark.parametrize(
    "model",
    [f"model={m}" for m in ("cnn", "cnn_bilstm", "aasist_l", "lcnn", "bimodal", "frame_cnn", "wgan_gp_critic")]
    + [f"model=aasist_l features={f}" for f in ("lfcc", "mel")]
    + ["model=rawnet2 model.gru_layers=1"],
)
def test_every_model_is_explained(tmp_path, model):
    cfg = compose(*model.split(), *SMALL[model.split()[0].removeprefix("model=")])
    torch.manual_seed(0)
    seconds = 1.0
    plain = {key: run.OmegaConf.to_container(cfg[key], resolve=True) for key in ("features", "model")}
    Detector({**plain, "sample_rate": 16000, "seconds": seconds, "score": "log_odds"}).save(tmp_path / "detector.pt")
    file = write_audio(tmp_path / "clip.wav", spoof=False, seed=3, seconds=0.7)  # shorter than the detector hears
    few = ("explain.integrated_gradients.steps=16", "explain.occlusion.seconds=0.4")
    (report,) = explained(tmp_path / "detector.pt", file, f"output='{tmp_path}/out'", *few).values()
    assert complete(tmp_path / "out" / "clip") == report
    assert len(np.load(tmp_path / "out" / "clip" / "seq_saliency.npy")) == round(0.7 * 16000)  # nothing lies on repeats


def test_a_folder_with_a_broken_file(run_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(run._state, "skipped", False)
    for folder in ("x", "y"):
        write_audio(tmp_path / "in" / folder / "same.wav", spoof=folder == "x", seed=1)
    (tmp_path / "in" / "broken.wav").write_bytes(b"RIFF")
    reports = explained(run_folder, tmp_path / "in", f"output={tmp_path}/out", "explain=[saliency]")
    assert len(reports) == 2 and run.exit_code() == 3
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"same_wav", "same_wav_2", "skipped.csv"}
    (row,) = csv.DictReader((tmp_path / "out" / "skipped.csv").open())
    assert row["file"].endswith("broken.wav")


def test_methods_that_were_not_asked_for_are_not_drawn(run_folder, tmp_path):
    file = write_audio(tmp_path / "a.wav", spoof=True, seed=1)
    explained(run_folder, file, f"output={tmp_path}/out", "explain=[gradcam]")
    assert not (tmp_path / "out/a/mel_saliency.npy").exists() and (tmp_path / "out/a/mel_gradcam.npy").exists()


@pytest.mark.parametrize("kind", ["silence", "short", "stereo"])
def test_unusual_files(run_folder, tmp_path, kind):
    samples = {
        "silence": np.zeros(16000),
        "short": 0.1 * np.random.default_rng(0).standard_normal(800),
        "stereo": 0.1 * np.random.default_rng(0).standard_normal((8000, 2)),
    }[kind]
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    (report,) = explained(run_folder, tmp_path / "a.wav", f"output={tmp_path}/out").values()
    assert complete(tmp_path / "out" / "a") == report
    assert report["state"] == report["verdict"] == "inconclusive"  # noise is no speech either


def test_what_cannot_be_explained_is_a_sentence(run_folder, tmp_path):
    with pytest.raises(InputError, match=r"gone\.wav"):
        explained(run_folder, tmp_path / "gone.wav")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no audio files in this folder"):
        explained(run_folder, tmp_path / "empty")


def test_the_voice_is_compared_with_enrolled_speakers(run_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("DEEPFAKE_SPEAKER_KEY", raising=False)
    file = write_audio(tmp_path / "a.wav", spoof=False, seed=1)
    arguments = (run_folder, file, f"output={tmp_path}/out")
    with pytest.raises(InputError, match="speaker=any: nobody is enrolled"):
        explained(*arguments, "speaker=any")
    for name, embedding in (("Zoë, x", [1, 0]), ("Bob", [0, 1])):
        Profiles().add(Profile.new(name, np.array(embedding, dtype=np.float32), n_samples=3, speech_seconds=6.0))
    monkeypatch.setattr(speaker_check, "voice", lambda source: Voice(np.array([0.8, 0.6], dtype=np.float32), 2.0))
    (report,) = explained(*arguments, "speaker=any").values()
    assert report["speaker"]["words"] == "matches Zoë, x"
    assert report["speaker"]["scores"] == pytest.approx({"Zoë, x": 0.8, "Bob": 0.6})
    pages = pypdf.PdfReader(tmp_path / "out" / "a" / "report.pdf").pages
    text = " ".join(" ".join(page.extract_text() for page in pages).split())
    assert "Matches Zoë, x." in text and "no evidence against a clone" in text
    (report,) = explained(*arguments, "speaker=Bob").values()
    assert report["speaker"]["words"] == "unknown speaker or a clone" and len(report["speaker"]["scores"]) == 1
    with pytest.raises(InputError, match="Eve is not enrolled"):
        explained(*arguments, "speaker=Eve")

    def mute(source):
        raise InputError("a.wav: 0.2 s of speech")

    monkeypatch.setattr(speaker_check, "voice", mute)
    (report,) = explained(*arguments, "speaker=Bob").values()
    assert report["speaker"] == {"words": "not compared: a.wav: 0.2 s of speech"}
    (report,) = explained(*arguments).values()
    assert report["speaker"] is None


def test_a_hundredth_of_a_second_is_explained(run_folder, tmp_path):
    soundfile.write(tmp_path / "tiny.wav", np.sin(np.arange(160)) * 0.1, 16000)
    (report,) = explained(run_folder, tmp_path / "tiny.wav", f"output={tmp_path}/out").values()
    assert complete(tmp_path / "out" / "tiny") == report
    assert report["verdict"] == "inconclusive" and "no_speech" in [reason["name"] for reason in report["reasons"]]


def test_the_methods_of_a_run_are_measured_and_warned_of(run_folder, tmp_path, capsys):
    shutil.copytree(run_folder, tmp_path / "run")
    for i in range(4):
        write_audio(tmp_path / "c" / ("fake" if i % 2 else "real") / f"{i}.wav", spoof=bool(i % 2), seed=i)
    corpus = (
        "dataset=folder",
        f"dataset.root={tmp_path}/c",
        "dataset.train_share=0",
        "faithfulness=true",
        "quick=true",
    )
    config = compose(f"run={tmp_path}/run", "device=cpu", "explain=[saliency]", *corpus, config="explain")
    result = run.explain(config)
    folder = tmp_path / "run" / "faithfulness"
    assert capsys.readouterr().out.splitlines() == [str(folder)] and (folder / "report.html").is_file()
    assert {"saliency", "random", "loudness"} <= set(result["methods"])
    written = json.loads((folder / "faithfulness.json").read_text())
    written["methods"]["saliency"]["warnings"] = ["It draws the input."]
    (folder / "faithfulness.json").write_text(json.dumps(written))
    (report,) = explained(tmp_path / "run", tmp_path / "c/fake/1.wav", "explain=[saliency]").values()
    assert report["methods"]["saliency"]["warning"] == "It draws the input."
    (folder / "faithfulness.json").write_text("[]")
    with pytest.raises(InputError, match="is not a measurement of explanations"):
        explained(tmp_path / "run", tmp_path / "c/fake/1.wav", "explain=[saliency]")
