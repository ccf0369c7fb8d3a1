"""Copies through a vocoder in an ONNX file: its mel spectrogram, its network, and the corpus with it."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest

from deepfake.cli import main
from deepfake.datasets.demo_voice import Voice, speak
from deepfake.errors import InputError
from deepfake.synthesis import make as module
from deepfake.synthesis.log_mel import LogMel
from deepfake.synthesis.make import make_corpus
from deepfake.synthesis.neural import Vocoder, delay, opened, parts
from deepfake.synthesis.plan import Recipe

onnx = pytest.importorskip("onnx", reason='needs pip install "deepfake[export]"')
pytest.importorskip("onnxruntime", reason='needs pip install "deepfake[export]"')

SMALL = {"n_fft": 512, "hop_length": 128, "win_length": 400, "n_mels": 40}


def network(path, late=0, scale=1, shape=(1, "bands", "frames"), transposed=False):
    """A vocoder without training: each band's amplitude times a pulse in that band, at every frame.

    Args:
        path: The file to write.
        late: Samples by which its output is late.
        scale: Samples that it gives for one.
        shape: That it states of its input.
        transposed: Whether it takes frames first.
    """
    mel, most = LogMel(**SMALL), 1000
    bands = np.linspace(0, 1, mel.n_mels + 2)[1:-1, None] * mel.f_max
    at = (np.arange(mel.n_fft) - mel.n_fft / 2) / mel.sample_rate
    phase = np.random.default_rng(0).uniform(0, 2 * np.pi, (mel.n_mels, 1))
    pulses = np.cos(2 * np.pi * bands * at + phase) * np.hanning(mel.n_fft)
    pulses = np.pad(pulses, ((0, 0), (most + late, most - late)))[:, None].astype(np.float32)
    pads = [most + (mel.n_fft - mel.hop_length) // 2] * 2
    make, tensor = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes = [make("Transpose", ["mel"], ["given"], perm=[0, 2, 1] if transposed else [0, 1, 2])]
    nodes += [make("Exp", ["given"], ["amplitude"])]
    nodes += [make("ConvTranspose", ["amplitude", "pulses"], ["waveform"], strides=[mel.hop_length * scale], pads=pads)]
    graph = onnx.helper.make_graph(
        nodes,
        "vocoder",
        [tensor("mel", onnx.TensorProto.FLOAT, shape)],
        [tensor("waveform", onnx.TensorProto.FLOAT, (1, 1, "samples"))],
        [onnx.numpy_helper.from_array(pulses, "pulses")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def speech():
    rng = np.random.default_rng(3)
    voice = Voice(150, 1.05, 1, 500, 0.03, 0.003, 0.03, 4, 0.08)
    return 0.1 * speak(voice, 1.2, rng) + 0.001 * rng.standard_normal(19200)


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        ({}, {"fmax": 8000, "sr": 22050, "n_fft": 1024, "hop_length": 256, "n_mels": 80, "power": 1}),
        (
            {"sample_rate": 24000, "n_mels": 100, "f_max": 12000, "mel_scale": "htk", "mel_norm": "none"},
            {"fmax": 12000, "sr": 24000, "n_fft": 1024, "hop_length": 256, "n_mels": 100, "power": 1}
            | {"htk": True, "norm": None},
        ),
        (
            {**SMALL, "sample_rate": 16000, "f_min": 80.0, "f_max": 7600, "spectrum": "power"},
            {"fmin": 80, "fmax": 7600, "sr": 16000, "n_fft": 512, "hop_length": 128, "n_mels": 40, "power": 2}
            | {"win_length": 400},
        ),
    ],
)
@pytest.mark.parametrize("padding", ["hop", "centre"])
def test_the_mel_spectrogram_is_that_of_librosa(settings, reference, padding):
    waveform = np.random.default_rng(0).standard_normal(9 * 256)
    mode = "constant" if padding == "centre" else "reflect"
    pad = reference["n_fft"] // 2 if padding == "centre" else (reference["n_fft"] - reference["hop_length"]) // 2
    padded = np.pad(waveform, pad, mode=mode)
    expected = np.log(np.maximum(librosa.feature.melspectrogram(y=padded, center=False, **reference), 1e-5))
    found = LogMel(**settings, padding=padding, pad_mode=mode)(waveform)
    assert found.shape[1] == 9 * 256 // reference["hop_length"] + (padding == "centre")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_floor_and_the_kind_of_logarithm():
    silence = np.zeros(2048)
    assert np.allclose(LogMel()(silence), -11.512925465)
    assert np.allclose(LogMel(log="log10", floor=1e-10)(silence), -10)


@pytest.mark.parametrize(("transposed", "shape"), [(False, (1, "n", "frames")), (True, (1, "frames", 40))])
def test_a_copy_says_the_same_at_the_same_time(speech, tmp_path, transposed, shape):
    made = Vocoder(network(tmp_path / "v.onnx", transposed=transposed, shape=shape), LogMel(**SMALL)).copy(speech)
    assert made.shape == speech.shape

    def level(x):
        return 10 * np.log10(np.mean(np.square(x[:19200].reshape(-1, 320)), axis=1) + 1e-8)

    assert np.corrcoef(level(made), level(speech))[0, 1] > 0.8
    assert np.abs(np.corrcoef(made, speech)[0, 1]) < 0.9


@pytest.mark.parametrize("late", [-441, 882])  # 20 and 40 ms
def test_the_delay_of_a_network_is_removed(speech, tmp_path, late):
    on_time, other = (Vocoder(network(tmp_path / f"{n}.onnx", late=n), LogMel(**SMALL)).copy(speech) for n in (0, late))
    lag = int(np.argmax(np.correlate(other, on_time, "full"))) - len(on_time) + 1
    assert abs(lag) <= 24  # 1.5 ms


def test_a_delay_is_found_whatever_the_polarity():
    pulse = np.exp(-(((np.arange(1000) - 500) / 20.0) ** 2))
    assert [delay(-3 * np.roll(pulse, n), pulse, 50) for n in (20, -31)] == pytest.approx([20, -31], abs=1)


def test_the_largest_sample_is_scaled_to_that_of_the_training_data(speech, tmp_path):
    file = network(tmp_path / "v.onnx")
    scaled, kept = (Vocoder(file, LogMel(**SMALL, peak=peak)) for peak in (0.5, None))
    assert np.allclose(scaled.vocoded(speech), scaled.vocoded(0.01 * speech))
    assert np.allclose(kept.vocoded(0.5 * speech / np.abs(speech).max()), scaled.vocoded(speech))


@pytest.fixture
def tiny(tmp_path):
    """A vocoder with its settings, as `--vocoder` takes it."""
    (tmp_path / "mel.json").write_text(json.dumps(SMALL))
    return f"{network(tmp_path / 'hifi.onnx')}:{tmp_path / 'mel.json'}"


def test_a_corpus_with_a_vocoder(speakers, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "available", lambda: {"A04": ""})
    recipe = Recipe(speakers, tmp_path / "a", workers=1, spoofs=2, splices=0.5, eval_only=(), vocoders=(tiny,))
    made = make_corpus(recipe)
    assert not made.left_out and all(counts.keys() == {"-", "A04", "V01"} for counts in made.counts.values())
    again = ["make-corpus", "--bonafide", str(speakers), "--output", str(tmp_path / "b"), "--workers", "1"]
    again += ["--spoofs", "2", "--splices", "0.5", "--eval-only", "--vocoder", tiny]
    assert main(again) == 0
    sounds = {p.relative_to(tmp_path / "a"): p.read_bytes() for p in (tmp_path / "a").rglob("*.flac")}
    assert sounds == {p.relative_to(tmp_path / "b"): p.read_bytes() for p in (tmp_path / "b").rglob("*.flac")}
    settings = json.loads((tmp_path / "b" / "corpus.json").read_text())
    assert settings["systems"]["V01"] == {"what": "copy-synthesis, vocoder hifi.onnx", "with": "ONNX Runtime"}
    assert settings["vocoders"]["V01"]["settings"]["hop_length"] == 128
    assert "| V01 | copy-synthesis, vocoder hifi.onnx (ONNX Runtime)" in (tmp_path / "b" / "README.md").read_text()
    rows = list(csv.DictReader((tmp_path / "b" / "partial" / "labels.csv").open()))
    assert {"A04", "V01"} >= {r["system"] for r in rows if r.get("system", "-") != "-"}
    (Path(tiny.split(":")[1])).write_text(json.dumps(SMALL | {"peak": 0.5}))
    opened.cache_clear()
    capsys.readouterr()
    assert main(again) == 1 and "made with other vocoders" in capsys.readouterr().err


def test_what_cannot_be_a_vocoder(tmp_path, tiny):
    file, settings = map(str, parts(tiny))
    (tmp_path / "not.onnx").write_text("text")

    def said(given):
        with pytest.raises(InputError) as error:
            opened(given)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "no such file: FILE.onnx or" in said(f"{tmp_path}/none.onnx:{settings}")
    assert "not.onnx: an ONNX file was expected (" in said(f"{tmp_path}/not.onnx:{settings}")
    assert "none.json: a JSON file was expected" in said(f"{file}:none.json")
    assert "about 11136 samples were expected, check hop_length" in said(
        f"{network(tmp_path / 'twice.onnx', scale=2)}:{settings}"
    )
    fixed = network(tmp_path / "fixed.onnx", shape=(1, 40, 100))
    assert "takes 100 frames only: export it with a dynamic axis" in said(f"{fixed}:{settings}")
    flat = network(tmp_path / "flat.onnx", shape=(1, 40, "frames"))
    assert "takes 40 bands: n_mels=80 was expected" in said(str(flat))
    assert "fails on" in said(file)  # 80 bands into 40


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([], "a JSON object of sample_rate"),
        ({"hop_size": 256}, "hop_size: some of sample_rate, n_fft"),
        ({"hop_length": 0}, "hop_length=0: a whole number from 1"),
        ({"hop_length": 2.5}, "hop_length=2.5: a whole number from 1"),
        ({"n_fft": 512}, "win_length=1024: at most n_fft=512"),
        ({"f_max": 12000}, "within 0 and half the sample rate of 22050 Hz"),
        ({"f_min": True}, "f_min=True: a number from 0"),
        ({"log": "ln"}, "log='ln': one of natural, log10"),
        ({"log": []}, r"log=\[\]: one of natural, log10"),
        ({"floor": 0}, "floor=0: above 0"),
        ({"peak": 2}, "peak=2: above 0, at most 1, or null"),
        ({"n_mels": 4000}, "bands hold no bin"),
    ],
)
def test_settings_out_of_range(tmp_path, settings, said):
    (tmp_path / "mel.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match=said) as error:
        LogMel.read(tmp_path / "mel.json")
    assert f"--vocoder settings {tmp_path / 'mel.json'}: " in str(error.value) and "\n" not in str(error.value)


def test_without_onnx_runtime_the_extra_is_named(tmp_path, tiny, speakers, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    opened.cache_clear()
    made = tmp_path / "made"
    assert main(["make-corpus", "--bonafide", str(speakers), "--output", str(made), "--vocoder", tiny]) == 1
    assert 'onnxruntime is not installed: pip install "deepfake[export]"' in capsys.readouterr().err
    assert not made.exists()
