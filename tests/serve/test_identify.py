"""Whose voice is it, over HTTP."""

from __future__ import annotations

import numpy as np
import pytest
from starlette.testclient import TestClient

from deepfake.commands.predict import row
from deepfake.detector import Detector
from deepfake.forensics.assess import assess
from deepfake.serve import service
from deepfake.serve.app import application
from deepfake.serve.service import Settings
from deepfake.speakers import check
from deepfake.speakers.embedding import LONGEST_SECONDS, Voice
from deepfake.speakers.profiles import Profile, Profiles


@pytest.fixture
def speakers(tmp_path, monkeypatch):
    """Two who are enrolled, and the samples that were compared with them, whose voice is half-way to the first."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("DEEPFAKE_SPEAKER_KEY", raising=False)
    monkeypatch.setattr(service, "installed", lambda: True)
    taken = []

    def voice(source):
        taken.append(source)
        return Voice(np.array([0.8, 0.6], dtype=np.float32), 2.0)

    monkeypatch.setattr(check, "voice", voice)
    for name, embedding in (("Zoë", [1, 0]), ("Bob", [0, 1])):
        profile = Profile.new(name, np.array(embedding, dtype=np.float32), n_samples=3, speech_seconds=6.0)
        Profiles().add(profile)
    return taken


def asked(client, path, file, **query):
    return client.post(path, files={"file": file.read_bytes()}, params=query)


def test_the_nearest_of_those_enrolled_beside_the_verdict_of_predict(client, served_run, recordings, speakers):
    found = asked(client, "/identify", recordings[1]).json()
    assert (found["speaker"], found["matches"], found["words"]) == ("Zoë", True, "matches Zoë")
    assert found["scores"] == pytest.approx({"Zoë": 0.8, "Bob": 0.6}) and found["sasv"] is None
    assert found["spoofing"] == row(assess(Detector.load(served_run), recordings[1]))
    ((samples, rate),) = speakers
    assert rate == 16_000 and len(samples) == pytest.approx(2.3 * 16_000, abs=1)


def test_a_claim_is_checked_against_that_speaker_alone(client, recordings, speakers):
    found = asked(client, "/identify", recordings[0], speaker=" Zoe\u0308").json()
    assert found["scores"] == pytest.approx({"Zoë": 0.8})
    found = asked(client, "/identify", recordings[0], speaker="Bob").json()
    assert (found["matches"], found["words"]) == (False, "unknown speaker or a clone")
    answer = asked(client, "/identify", recordings[0], speaker="Eve\n")
    assert answer.status_code == 404 and answer.json()["type"].endswith(":not-enrolled")


def test_only_the_beginning_is_compared():
    blocks, kept = [np.full(10, i, dtype=np.float32) for i in range(3)], []
    assert sum(len(block) for block in service._noted(iter(blocks), kept, 15)) == 30
    assert np.concatenate(kept).tolist() == [0.0] * 10 + [1.0] * 5 and LONGEST_SECONDS == 120


def test_without_speakers_or_their_package_there_is_a_problem(served_run, recordings, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with TestClient(application(Settings(served_run, device="cpu"))) as client:
        monkeypatch.setattr(service, "installed", lambda: True)
        assert asked(client, "/identify", recordings[0]).json()["type"].endswith(":not-enrolled")
        monkeypatch.setattr(service, "installed", lambda: False)
        answer = asked(client, "/identify", recordings[0])
        assert answer.status_code == 501 and answer.json()["type"].endswith(":no-speaker-check")
