"""Files that would harm whoever decodes them."""

from __future__ import annotations

import io
import tempfile
import zipfile

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from deepfake.serve.app import application
from deepfake.serve.service import Settings

RATE = 16_000


def encoded(samples, rate=RATE, **keywords) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **({"format": "WAV"} | keywords))
    return file.getvalue()


def noise(seconds=1.0, *more) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal((round(seconds * RATE), *more))


def zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.wav", bytes(50_000_000))
    return file.getvalue()


def forged_flac() -> bytes:
    """A second of FLAC that claims 2^36 - 1 samples."""
    content = bytearray(encoded(noise(), format="FLAC"))
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    return bytes(content)


HOSTILE = {
    "text": (b"this is no audio at all " * 100, 415, "not-audio"),
    "empty": (b"", 415, "not-audio"),
    "zip bomb": (zip_bomb(), 415, "not-audio"),
    "playlist": (b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\nfile:///etc/passwd\n", 415, "not-audio"),
    "head alone": (encoded(noise())[:20], 415, "not-audio"),
    "no samples": (encoded(np.zeros(0)), 415, "not-audio"),
    "truncated": (encoded(noise())[:-8000], 422, "unusable-audio"),
    "truncated FLAC": (encoded(noise(5.0), format="FLAC")[:20_000], 422, "unusable-audio"),
    "forged FLAC": (forged_flac(), 413, "beyond-limits"),
    "NaN": (encoded(np.full(RATE, np.nan), subtype="FLOAT"), 422, "unusable-audio"),
    "infinite": (encoded(np.full(RATE, np.inf), subtype="FLOAT"), 422, "unusable-audio"),
    "too many channels": (encoded(noise(0.1, 9)), 413, "beyond-limits"),
    "too high a rate": (encoded(noise(), 384_000), 413, "beyond-limits"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_each_hostile_file_has_its_own_problem(client, name):
    content, status, problem = HOSTILE[name]
    answer = client.post("/predict", files={"file": ("x.wav", content)})
    found = answer.json()
    assert (answer.status_code, found["type"]) == (status, f"urn:problem-type:deepfake:{problem}"), found
    assert "/dev" not in found["detail"] and "the recording" in found["detail"]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/shadow", "a\x00b.wav", "..\\x.wav", "名前.wav", "x" * 5000, "%2e%2e/"]
)
def test_a_name_is_not_used_for_anything(client, recordings, name, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    content = recordings[0].read_bytes()
    expected = client.post("/predict", files={"file": ("x.wav", content)}).json()
    answer = client.post("/predict", files={"file": (name, content)})
    assert answer.status_code == 400 if len(name) > 4000 else answer.json() == expected
    assert not list(tmp_path.iterdir())


def test_a_process_that_ends_is_a_problem_of_its_own(client, recordings, monkeypatch):
    content = {"file": recordings[0].read_bytes()}
    with monkeypatch.context() as patched:
        patched.setattr("deepfake.decoding.decoder.Decoder._start", lambda *_: 2**22)  # nobody writes to the pipe
        answer = client.post("/predict", files=content)
    assert answer.status_code == 500 and answer.json()["type"].endswith(":decoder-ended")
    assert client.post("/predict", files=content).status_code == 200


def test_a_short_limit_is_that_of_the_server(served_run):
    with TestClient(application(Settings(served_run, device="cpu", max_minutes=0.05))) as client:
        assert client.post("/predict", files={"file": encoded(noise(2.9))}).status_code == 200
        answer = client.post("/predict", files={"file": encoded(noise(3.1))})
        assert answer.status_code == 413 and answer.json()["type"].endswith("beyond-limits")
