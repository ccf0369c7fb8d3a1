"""The file of a detector: what is damaged, impossible or hostile in it is one sentence."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small_detectors import small

from deepfake.cli import main
from deepfake.detector import Detector
from deepfake.detector_format import SmallValues, write_detector_file
from deepfake.errors import InputError


@pytest.fixture
def file(tmp_path):
    """A small detector, with a calibration."""
    detector = small("cnn", "mel")
    detector.config["calibration"] = dict(
        weight=2.0, offset=0.5, low=-3.0, high=3.0, n_bonafide=9, n_spoof=8, source="x"
    )
    detector.save(tmp_path / "detector.pt")
    return tmp_path / "detector.pt"


def forged(file, **changes):
    """The file with other settings, and the SHA-256 that its author would give it."""
    content = torch.load(file, weights_only=True)
    del content["sha256"]
    content["config"] |= changes
    torch.save(content, file)
    return file


def test_the_hash_is_that_of_settings_and_weights(file):
    content = torch.load(file, weights_only=True)
    text = json.dumps(content["config"], sort_keys=True, ensure_ascii=False).encode()
    for name in sorted(content["state_dict"]):
        tensor = content["state_dict"][name]
        text += f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode() + tensor.numpy().tobytes()
    assert content["sha256"] == hashlib.sha256(text).hexdigest() == Detector.load(file).sha256


def test_a_detector_is_written_without_a_copy_of_its_weights(tmp_path):
    """Nor with one of half of them: XLS-R has 1.2 GB."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not os.access(reset, os.W_OK):
        pytest.skip("the system tells no peak of memory")

    def kilobytes(name):
        return int(status.read_text().split(f"{name}:")[1].split()[0])

    network = torch.nn.Linear(4000, 4000)  # 64 MB
    write_detector_file(tmp_path / "warm.pt", {}, torch.nn.Linear(1, 1))
    reset.write_text("5")  # the peak is what there is now
    before = kilobytes("VmRSS")
    write_detector_file(tmp_path / "detector.pt", {}, network)
    assert (tmp_path / "detector.pt").stat().st_size > 64_000_000
    assert kilobytes("VmHWM") - before < 20_000


def test_every_flipped_bit_of_a_weight_or_a_setting_is_noticed(file, capsys):
    content = torch.load(file, weights_only=True)
    data, weight = file.read_bytes(), next(w for w in content["state_dict"].values() if w.numel() > 9)
    for at in (
        data.index(weight.numpy().tobytes()) + 5,
        data.index(b"log_odds") + 7,
        data.index(content["sha256"].encode()),
    ):
        for bit in (0, 3, 6):
            file.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
            with pytest.raises(InputError) as refusal:
                Detector.load(file)
            assert str(refusal.value).startswith(f"{file} is damaged or was altered: ")
    assert main(["predict", "--run", str(file), "x.wav"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "bring it back from a copy" in error
    file.write_bytes(data)
    Detector.load(file)


def test_a_file_without_a_hash_loads_and_one_with_another_entry_does_not(file):
    content = torch.load(file, weights_only=True)
    torch.save({key: value for key, value in content.items() if key != "sha256"}, file)
    assert Detector.load(file).sha256 == content["sha256"]
    content["sha257"] = content.pop("sha256")
    torch.save(content, file)
    with pytest.raises(InputError, match="is not a detector, or damaged"):
        Detector.load(file)


CALIBRATION = dict(weight=2.0, offset=0.5, low=-3.0, high=3.0, n_bonafide=9, n_spoof=8, source="x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": 1e9}, "seconds=1000000000.0: a length of clips of at most 600 s was expected"),
        ({"seconds": math.nan}, "seconds=nan: "),
        ({"seconds": -1.0}, "seconds=-1.0: "),
        ({"seconds": 1e-5}, "seconds=1e-05: "),
        ({"seconds": True}, "seconds=True: "),
        ({"seconds": None}, "seconds=None: "),
        ({"sample_rate": "x"}, "sample_rate='x': a whole number of hertz from 1000 to 384000 was expected"),
        ({"sample_rate": 16000.0}, "sample_rate=16000.0: "),
        ({"sample_rate": 10**9}, "sample_rate=1000000000: "),
        ({"sample_rate": 0}, "sample_rate=0: "),
        ({"threshold": None}, "threshold=None: a finite value and its source were expected"),
        ({"threshold": {"value": math.inf, "source": "x"}}, "threshold="),
        ({"threshold": {"value": 0.0}}, "threshold="),
        ({"frame_threshold": "x"}, "frame_threshold='x': "),
        ({"calibration": "x"}, "calibration='x': a weight above 0, an offset, bounds, counts and their source"),
        ({"calibration": {**CALIBRATION, "weight": math.nan}}, "calibration="),
        ({"calibration": {**CALIBRATION, "weight": 0.0}}, "calibration="),
        ({"calibration": {**CALIBRATION, "low": 1.0}}, "calibration="),
        ({"calibration": {**CALIBRATION, "n_spoof": -1}}, "calibration="),
        ({"calibration": {"source": "x"}}, "calibration="),
        ({"score": "loudness"}, "score=loudness: one of log_odds, bonafide_logit was expected"),
        ({"features": None}, "features=None: "),
        ({"model": [1]}, r"model=[1]: "),
        ({"model": {}}, "its settings cannot be used (KeyError"),
        ({"model": {"_target_": "deepfake.models.cnn.CNN", "channels": "x"}}, "detector"),
        ({"model": {"_target_": "deepfake.models.cnn.CNN", "channels": [10**9]}}, "model has the setting 1000000000: "),
        ({"model": {"_target_": "deepfake.models.cnn.CNN", "dropout": math.nan}}, "model has the setting nan: "),
        ({"features": {"_target_": "deepfake.features.mel.Mel", "n_fft": 10**9}}, "features has the setting"),
        ({"features": {"_target_": "deepfake.features.mel.Mel", "n_fft": 10**6, "n_bands": 10**5}}, "weights were"),
    ],
    ids=str,
)  # fmt: skip
def test_an_impossible_setting_is_named_with_the_file(file, changes, message):
    with pytest.raises(InputError) as refusal:
        Detector.load(forged(file, **changes))
    assert str(refusal.value).startswith(str(file)) and message in str(refusal.value)


def test_a_network_of_a_thousand_million_values_is_refused_before_it_is_made(file, monkeypatch):
    empty, made = torch.empty, []
    monkeypatch.setattr(torch, "empty", lambda *a, **k: made.append(t := empty(*a, **k)) or t)
    model = {"_target_": "deepfake.models.cnn.CNN", "channels": [4, 10_000, 12_000, 4]}
    with pytest.raises(
        InputError, match=r"do not fit deepfake.models.cnn.CNN: its settings ask for 1,[0-9,]{11} values"
    ):
        Detector.load(forged(file, model=model))
    assert max(t.numel() for t in made) > 10**9 > 10**6 > max(t.numel() for t in made if not t.is_meta)


def test_weights_that_are_no_larger_than_a_number_are_not_copied(file):
    content = torch.load(file, weights_only=True)
    content["state_dict"]["model.x"] = torch.zeros(1).expand(10**12)
    torch.save(content, file)
    with pytest.raises(InputError, match="weights that are there to the last value"):
        Detector.load(file)


def test_an_archive_that_unpacks_to_more_than_its_size_is_not_unpacked(file):
    with zipfile.ZipFile(file) as old:
        entries = {entry.filename: old.read(entry) for entry in old.infolist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in entries.items():
            new.writestr(name, content + bytes(10_000_000 if name.endswith("/data/0") else 0))
    with pytest.raises(InputError, match="is not a detector: it is compressed"):
        Detector.load(file)


def test_values_that_settings_give_are_small_on_the_cpu_and_nowhere_when_large():
    with torch.device("meta"), SmallValues():
        small, large, fine = torch.hann_window(400), torch.zeros(1 << 13, 1 << 12), torch.arange(0, 1, 1e-9)
        assert [torch.linspace(0, 8000, 3).device.type, torch.empty(3).device.type] == ["cpu", "meta"]
        one, many = torch.eye(80), torch.eye(1 << 13)
        drawn = torch.nn.init.xavier_normal_(torch.empty(3, 2)), torch.randn(3, 2)
    assert [t.device.type for t in (small, large, fine)] == ["cpu", "meta", "meta"]
    assert torch.equal(small, torch.hann_window(400)) and torch.equal(one, torch.eye(80)) and many.is_meta
    assert all(t.is_meta and t.shape == (3, 2) for t in drawn)


@pytest.mark.parametrize("pair", [("cnn", "mel"), ("aasist", "mel")], ids="-".join)
def test_what_only_fitting_and_compiling_need_is_not_loaded_for_a_verdict(pair, tmp_path):
    small(*pair).save(file := tmp_path / "detector.pt")
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(16_000) / 9), 16_000)
    script = (
        "import sys\nfrom deepfake.cli import main\nassert main(sys.argv[1:]) in (0, None)\n"
        "print(sorted({'sklearn', 'pandas', 'sympy', 'torch._dynamo', 'lightning', 'matplotlib'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script, "predict", "--run", str(file), str(tmp_path / "a.wav"), "--format", "json"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]" and json.loads(shown.rpartition("\n[]")[0])
