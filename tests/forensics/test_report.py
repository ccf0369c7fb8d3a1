"""The report of a file, its layout, and its verification: one flipped byte or one changed entry is found."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
import shutil

import numpy as np
import pytest
import soundfile
import torch
from sounds import measure
from tiny import write_audio

from deepfake.cli import main
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.explain.clip import Clip
from deepfake.explain.map import Map
from deepfake.explain.regions import regions
from deepfake.forensics import schema
from deepfake.forensics.assess import assess
from deepfake.forensics.cautions import Reason, reasons
from deepfake.forensics.report import Explanation, report
from deepfake.forensics.verify import read_report, verify
from deepfake.metrics.calibration import Calibration
from deepfake.runs import provenance
from deepfake.runs.environment import environment


@pytest.fixture(scope="module")
def runs(run_folder, tmp_path_factory):
    """The tiny run, and the same one calibrated so that the recording's likelihood ratio for spoof is 40."""
    calibrated = tmp_path_factory.mktemp("calibrated") / "run"
    shutil.copytree(run_folder, calibrated)
    return {"plain": run_folder, "calibrated": calibrated}


@pytest.fixture(scope="module")
def recording(tmp_path_factory, runs):
    path = write_audio(tmp_path_factory.mktemp("audio") / "a file, Größe 1.wav", spoof=True, seed=3, seconds=0.9)
    detector = Detector.load(runs["calibrated"])
    offset = -math.log(40) - detector.score_file(path)
    detector.set_calibration(Calibration(1.0, offset, -6.0, 6.0, 500, 500), provenance.OWN_DEV)
    detector.save(runs["calibrated"] / "detector.pt")
    return path


GOOD = {"nonfinite_samples": 0.0, "speech_s": 3.0, "snr_db": 30.0, "silence_share": 0.1, "clipped_share": 0.0}
GOOD |= {"top_hz": 8000.0}


def made(path, run, *, clip_start=None, measures=GOOD, more=(), **options):
    detector = Detector.load(run)
    found = assess(detector, path, clip_start=clip_start)
    why = [*reasons(measures, detector, found.score, windows=found.scores), *more]
    found = dataclasses.replace(found, quality=measures, reasons=why)
    clip = Clip(detector, found.clip.clip)
    values = np.random.default_rng(0).standard_normal((40, len(clip.seconds) - 1))
    one = Map("test", values, clip.hz, clip.seconds, {"error": np.float32(0.5), "ratio": math.nan})
    explanation = Explanation(clip, {"test": one}, regions(one, shortest_seconds=0), "test")
    facts = environment(["explain.py"], torch.device("cpu"), None)
    return report(found, explanation, run=run, environment=facts, parameters={"threshold": 0.6}, **options)


@pytest.fixture(scope="module")
def whole(recording, runs):
    return made(recording, runs["calibrated"])


def written(content, folder):
    path = folder / "report.json"
    path.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    return path


def test_a_report_says_what_can_be_checked_by_hand(whole, recording, runs):
    assert whole["file"]["sha256"] == hashlib.sha256(recording.read_bytes()).hexdigest()
    samples, _ = soundfile.read(recording, dtype="float32")
    assert whole["recording"] == {
        "seconds": 0.9,
        "scored_seconds": 0.9,
        "n_windows": 3,
        "sha256": hashlib.sha256(samples.astype("<f4").tobytes()).hexdigest(),
    }
    start = round(whole["heard"]["start_s"] * 16000)
    clip = samples[start : start + 8000]
    assert start in (0, 4000, 6400)  # half overlapping, and the one that ends with the recording
    assert whole["heard_sha256"] == hashlib.sha256(clip.astype("<f4").tobytes()).hexdigest()
    assert whole["heard"]["score"] == pytest.approx(
        Detector.load(runs["calibrated"])(torch.from_numpy(clip)[None]).item(), abs=1e-6
    )
    assert (whole["heard"]["seconds"], whole["heard"]["n_samples"]) == (0.5, 8000)
    file = runs["calibrated"] / "detector.pt"
    assert whole["detector"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert whole["score"] == Detector.load(file).score_file(recording)
    assert whole["llr"]["log10_lr_spoof"] == pytest.approx(math.log10(40), abs=1e-5) and not whole["llr"]["capped"]
    assert whole["p_fake"] == pytest.approx(40 / 41, abs=1e-5) and whole["prior"] == 0.5
    assert whole["methods"] == {"test": {"error": 0.5, "ratio": None}}
    assert 0 < whole["coverage"] <= 1 and whole["regions"] and whole["environment"]["command"] == ["explain.py"]
    assert (
        whole["threshold"]["dev"]["n_bonafide"] == 6 and "asvspoof2019_la, partition dev" in whole["words"]["sentence"]
    )
    assert f"{start / 16000:.2f} to {start / 16000 + 0.5:.2f} s" in whole["words"]["limits"][-1]  # of 0.9 s
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole


def test_every_entry_is_documented_and_each_is_missed(whole):
    schema.check(whole)
    for name in schema.SCHEMA:
        lacking = copy.deepcopy(whole)
        *above, last = name.replace("[]", ".0").split(".")
        part = lacking
        for key in above:
            part = (part[int(key)] if part else None) if isinstance(part, list) else part[key]
        if part is None:
            continue  # of an item of an empty list
        if isinstance(part, list):
            part[0] = 1
        else:
            del part[last]
        with pytest.raises(InputError, match=name.split(".")[-1].split("[")[0]):
            schema.check(lacking)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": math.inf}, "score holds a number that is not finite"),
        ({"score": "high"}, "score is 'high': number was expected"),
        ({"score": True}, "score is True"),
        ({"parameters": {"a": [math.nan]}}, "parameters holds"),
        ({"quality": {}}, "lacks quality.clipped_share"),
        ({"regions": {}}, "a list was expected"),
        ({"words": []}, "an object was expected"),
        ({"mood": 1}, "unknown to its schema, mood"),
        ({"schema": "9"}, "schema 9, this version reads"),
    ],
)
def test_a_report_that_breaks_the_layout_is_refused(whole, change, message):
    with pytest.raises(InputError, match=message):
        schema.check({**whole, **change})


def test_without_calibration_there_is_no_likelihood_ratio(recording, runs):
    found = made(recording, runs["plain"])
    assert found["llr"] == {"calibrated": False, "log10_lr_spoof": None, "capped": None} and found["prior"] is None
    assert found["p_fake"] == pytest.approx(Detector.load(runs["plain"]).p_fake(found["score"]))
    assert found["detector"]["calibration"] is None and "not calibrated" in found["words"]["sentence"]


def test_the_prior_moves_the_probability_and_nothing_else(whole, recording, runs):
    found = made(recording, runs["calibrated"], prior=0.01)
    assert found["p_fake"] == pytest.approx(40 / (40 + 99), abs=1e-5)
    assert found["words"] == whole["words"] and found["llr"] == whole["llr"]
    with pytest.raises(InputError, match="prior=1"):
        made(recording, runs["calibrated"], prior=1.0)


def test_an_inconclusive_result_makes_no_statement(recording, runs):
    obstacle = Reason("no_speech", 0.0, 0.1, "There is no speech in it.")
    found = made(recording, runs["calibrated"], more=[obstacle])
    assert found["verdict"] == found["state"] == "inconclusive" and "times" not in found["words"]["sentence"]
    caution = Reason("clipped", 0.1, 0.001, "It is clipped.")
    found = made(recording, runs["calibrated"], more=[caution])
    assert found["verdict"] in ("spoof", "bonafide") and "40 times" in found["words"]["sentence"]


def test_a_later_part_is_reported_by_its_place_in_the_file(whole, recording, runs, tmp_path):
    hashes = set()
    for start in (0.0, 0.25, 0.4):
        found = made(recording, runs["calibrated"], clip_start=start)
        assert found["heard"]["start_s"] == start and found["score"] == whole["score"]
        assert all(start <= r["start_s"] < r["end_s"] <= start + 0.5 for r in found["regions"])
        assert verify(written(found, tmp_path), recording) == []
        hashes.add(found["heard_sha256"])
    assert len(hashes) == 3 and whole["heard_sha256"] in hashes
    found["heard"]["start_s"] = 0.3
    (sentence,) = verify(written(found, tmp_path), recording)
    assert "no window of the detector begins at 0.3 s" in sentence


@pytest.mark.parametrize("run", ["plain", "calibrated"])
def test_a_true_report_is_verified_wherever_the_file_lies(recording, runs, tmp_path, run):
    copied = shutil.copy(recording, tmp_path / "other name")
    assert verify(written(made(recording, runs[run]), tmp_path), copied) == []


def test_a_flipped_byte_of_the_file_is_found(whole, recording, tmp_path):
    data = bytearray(recording.read_bytes())
    start = 44 + 2 * round(whole["heard"]["start_s"] * 16000)
    behind = len(data) - 1 if start == 44 else 44  # of what was explained, or before
    for place, within in ((behind, False), (start + 8000, True)):
        changed = tmp_path / "changed.wav"
        changed.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        sentences = verify(written(whole, tmp_path), changed)
        assert "SHA-256 of the file" in sentences[0] and "of the decoded samples" in sentences[1]
        assert any("were explained" in s for s in sentences) == within


def test_a_file_that_can_no_longer_be_decoded_is_a_mismatch(whole, recording, tmp_path):
    damaged = tmp_path / "damaged.wav"
    damaged.write_bytes(recording.read_bytes()[:1000])
    sentences = verify(written(whole, tmp_path), damaged)
    assert len(sentences) == 2 and "SHA-256 of the file" in sentences[0] and "cannot be decoded" in sentences[1]


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("score", 1.25, "the score is"),
        ("verdict", "inconclusive", "verdict"),
        ("state", "inconclusive", "state"),
        ("llr.log10_lr_spoof", 3.6, "log10_lr_spoof"),
        ("p_fake", 0.999, "p_fake"),
        ("threshold.value", 0.123, "value of the threshold"),
        ("words.sentence", "It is 4,000 times more probable.", "words.sentence"),
        ("words.strength", "strong support", "words.strength"),
        ("words.places", "Everywhere.", "words.places"),
        ("words.limits", [], "does not show"),
        ("heard_sha256", "0" * 64, "were explained"),
        ("heard.score", 1.25, "the score of what was explained"),
        ("recording.sha256", "0" * 64, "of the decoded samples"),
        ("recording.n_windows", 7, "recording.n_windows"),
        ("recording.seconds", 0.5, "recording.seconds"),
        ("detector.sha256", "0" * 64, "of the detector"),
        ("detector.calibration_sha256", None, "of the calibration"),
        ("reasons", [{"name": "mood", "value": 1, "limit": 0, "sentence": "Bad."}], "unknown here: mood"),
    ],
)
def test_a_changed_entry_is_found(whole, recording, tmp_path, where, value, message):
    changed = copy.deepcopy(whole)
    *above, last = where.split(".")
    part = changed
    for key in above:
        part = part[key]
    part[last] = value
    assert any(message in sentence for sentence in verify(written(changed, tmp_path), recording))


def test_a_reason_that_was_taken_out_is_found(recording, runs, tmp_path):
    samples, rate = soundfile.read(recording)
    found = made(recording, runs["calibrated"], measures=measure(samples, rate))
    names = [reason["name"] for reason in found["reasons"]]
    assert "too_short" in names or "no_speech" in names
    assert verify(written(found, tmp_path), recording) == []
    found["reasons"].pop(0)
    sentences = verify(written(found, tmp_path), recording)
    assert any(f"lacks the reason {names[0]}" in sentence for sentence in sentences)
    samples[5] = math.nan
    found = made(recording, runs["calibrated"], measures=measure(samples, rate))
    assert found["quality"]["speech_s"] is None and found["verdict"] == "inconclusive"
    assert verify(written(found, tmp_path), recording) == []


def test_the_tolerance_is_that_of_the_score(whole, recording, tmp_path):
    near = {**whole, "score": whole["score"] + 5e-4}
    assert not any("the score is" in s for s in verify(written(near, tmp_path), recording))
    assert any("the score is" in s for s in verify(written(near, tmp_path), recording, tolerance=1e-4))


def test_another_detector_is_found(whole, recording, runs, tmp_path):
    sentences = " ".join(verify(written(whole, tmp_path), recording, detector=runs["plain"]))
    assert "of the detector" in sentences and "of the calibration" in sentences


def test_the_command(whole, recording, runs, tmp_path, capsys):
    path = written(whole, tmp_path)
    assert main(["verify-report", str(path), str(recording), "--run", str(runs["calibrated"])]) == 0
    assert str(path) in capsys.readouterr().out
    changed = written({**whole, "verdict": "inconclusive", "p_fake": 0.5}, tmp_path)
    assert main(["verify-report", str(changed), str(recording)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("mismatch: ") for line in lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such report"), ("{", "is not JSON"), ("[]", "is no report"), ("{}", "is no report")],
)
def test_a_file_that_is_not_a_report_is_an_error_of_one_sentence(tmp_path, recording, capsys, content, message):
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_report(path)
    assert main(["verify-report", str(path), str(recording)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_scores_of_the_calibration_set(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "run")
    run, detector = tmp_path / "run", Detector.load(run_folder)
    rows = [line.split(",") for line in (run / "scores" / "dev.csv").read_text().splitlines()]
    values = [float(row[rows[0].index("score")]) for row in rows[1:]]
    assert provenance.score_range(run, detector) == (min(values), max(values))
    detector.set_calibration(Calibration(1.0, 0.0, -1.0, 1.0, 6, 6), provenance.OWN_DEV)
    assert provenance.score_range(run, detector) == (min(values), max(values))
    assert provenance.calibration_set(run, detector) == "asvspoof2019_la, partition dev"
    detector.set_calibration(Calibration(1.0, 0.0, -1.0, 1.0, 600, 6), "elsewhere")
    assert provenance.score_range(run, detector) is None and provenance.calibration_set(run, detector) == "elsewhere"
    detector.set_threshold(99.0, "by hand")
    assert provenance.dev_rates(run, detector) is None
