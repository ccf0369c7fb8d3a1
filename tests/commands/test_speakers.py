"""`deepfake enroll`, `identify`, `verify` and `speakers`."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from tiny import write_audio

from deepfake.cli import main
from deepfake.detector import Detector
from deepfake.metrics.calibration import Calibration
from deepfake.speakers import check
from deepfake.speakers.embedding import Voice


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Recordings whose embeddings lie on a circle, at the degrees that they are named by."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("DEEPFAKE_SPEAKER_KEY", raising=False)

    def voice(path):
        radians = np.deg2rad(int(path.stem))
        return Voice(np.array([np.cos(radians), np.sin(radians)], dtype=np.float32), 2.0)

    monkeypatch.setattr(check, "voice", voice)
    return {degrees: str(write_audio(tmp_path / f"{degrees}.wav", spoof=False, seed=degrees)) for degrees in DEGREES}


DEGREES = (0, 10, 20, 30, 80, 85, 90)


def test_from_enrolment_to_deletion(files, capsys):
    assert main(["enroll", "--speaker", "Zoë", *(files[d] for d in (0, 10, 20))]) == 0
    assert main(["enroll", "--speaker", "Bob", *(files[d] for d in (80, 85, 90))]) == 0
    assert "Zoë is enrolled, from 3 samples with 6.0 s of speech" in capsys.readouterr().out
    assert main(["identify", "--format", "json", files[30]]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["speaker"], found["matches"], found["words"]) == ("Zoë", True, "matches Zoë")
    assert found["scores"] == pytest.approx({"Zoë": np.cos(np.deg2rad(20)), "Bob": np.cos(np.deg2rad(55))})
    assert found["log10_lr_speaker"] == pytest.approx(6.6893 / np.log(10)) and "spoofing" not in found
    assert main(["verify", "--speaker", "Bob", files[30]]) == 0
    out = capsys.readouterr().out
    assert "unknown speaker or a clone" in out and "Zoë" not in out and "0.574" in out
    assert main(["verify", "--speaker", "Bob", "--threshold", "0.5", files[30]]) == 0
    assert "matches Bob" in capsys.readouterr().out
    assert main(["speakers", "list"]) == 0
    out = capsys.readouterr().out
    assert out.index("Bob") < out.index("Zoë")
    assert main(["speakers", "delete", "Zoë"]) == 0
    assert main(["verify", "--speaker", "Zoë", files[30]]) == 1
    assert "Zoë is not enrolled: one of the 1 speakers" in capsys.readouterr().err


def test_a_profile_has_an_end_and_a_purpose(files, capsys):
    three = [files[d] for d in (0, 10, 20)]
    assert main(["enroll", "--speaker", "Ann", "--expires", "0", *three]) == 1
    assert "expires=0: days" in capsys.readouterr().err
    assert main(["enroll", "--speaker", "Ann", "--expires", "30", "--purpose", "case 7", *three]) == 0
    assert f"until {(datetime.now(UTC) + timedelta(days=30)).date()}" in capsys.readouterr().out
    assert main(["enroll", "--speaker", "Bob", *(files[d] for d in (80, 85, 90))]) == 0
    assert main(["speakers", "list"]) == 0
    out = capsys.readouterr().out
    assert "case 7" in out and str((datetime.now(UTC) + timedelta(days=30)).date()) in out and "never" in out


def test_a_detector_scores_spoofing_beside_the_speaker(files, run_folder, tmp_path, capsys):
    main(["enroll", "--speaker", "Ann", *(files[d] for d in (0, 10, 20))])
    capsys.readouterr()
    assert main(["identify", "--run", str(run_folder), "--format", "json", files[30]]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["spoofing"]["score"] == pytest.approx(Detector.load(run_folder).score_file(files[30]), abs=1e-5)
    assert found["sasv"] is None
    assert main(["identify", "--run", str(run_folder), files[30]]) == 0
    assert "no joint decision: the detector is not calibrated" in capsys.readouterr().out

    shutil.copytree(run_folder, tmp_path / "run")
    for llr, accepted in ((2.0, True), (-3.0, False)):
        detector = Detector.load(run_folder)
        detector.set_calibration(Calibration(1e-9, llr, -9.0, 9.0, 50, 150), "test")
        detector.save(tmp_path / "run" / "detector.pt")
        assert main(["identify", "--run", str(tmp_path / "run"), "--format", "json", files[30]]) == 0
        sasv = json.loads(capsys.readouterr().out)["sasv"]
        both = -np.log((0.0095 * np.exp(-6.6893) + 0.05 * np.exp(-llr)) / 0.0595)
        assert sasv == {
            "llr": pytest.approx(both, abs=1e-6),
            "threshold": pytest.approx(-0.45785),
            "accepted": accepted,
        }
        assert main(["identify", "--run", str(tmp_path / "run"), files[30]]) == 0
        assert ("not accepted as" in capsys.readouterr().out) is not accepted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["enroll", "--speaker", "Ann", "0", "10"], "2 samples of Ann: 3 to 5 were expected"),
        (["identify", "0"], "nobody is enrolled"),
        (["speakers", "delete"], "`list`, or `delete NAME`, was expected"),
        (["speakers", "list", "Ann"], "`list`, or `delete NAME`, was expected"),
        (["speakers", "delete", "Ann"], "Ann is not enrolled, nobody is"),
    ],
)
def test_errors_are_sentences(files, tmp_path, capsys, arguments, message):
    assert main([files[int(a)] if a.isdigit() else a for a in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "config").exists()


def test_an_unlike_sample_is_said_and_enrolled(files, capsys):
    assert main(["enroll", "--speaker", "Ann", *(files[d] for d in (0, 10, 90))]) == 0
    assert "90.wav is unlike the other samples" in capsys.readouterr().err
