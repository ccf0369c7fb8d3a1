"""Files that would harm whoever decodes them, and processes that may end."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

import numpy as np
import psutil
import pytest
import soundfile
from starlette.testclient import TestClient
from tiny import REPOSITORY

from deepfake.serve.app import application
from deepfake.serve.decoding import Decoder
from deepfake.serve.problems import Problem
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


@pytest.fixture
def decoder():
    made = Decoder(sample_rate=RATE, max_seconds=60)
    yield made
    made.close()


def read(decoder, content: bytes, **how):
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as samples:
        file.write(content)
        return np.concatenate(list(decoder.read(file, samples, **how).blocks))


def test_samples_are_those_of_the_file_and_no_child_or_secret_is_left(decoder, monkeypatch):
    monkeypatch.setenv("SECRET_OF_A_TEST", "x")
    wanted = noise(25.0).astype(np.float32)
    assert np.array_equal(read(decoder, encoded(wanted, subtype="FLOAT")), wanted)
    parent = psutil.Process(decoder._parent.pid)
    assert_only_the_next_one_waits(parent)
    assert "SECRET_OF_A_TEST" not in parent.environ()


def assert_only_the_next_one_waits(parent) -> psutil.Process:
    for _ in range(50):
        if len(children := parent.children()) == 1:
            return children[0]
        time.sleep(0.1)
    raise AssertionError(children)


def test_no_process_decodes_two_files_and_one_that_was_killed_while_it_waited_is_replaced(decoder, monkeypatch):
    started, used = decoder._start, []
    monkeypatch.setattr(decoder, "_start", lambda *how: used.append(started(*how)) or used[-1])
    for i in range(5):
        assert len(read(decoder, encoded(noise()), alone=i % 2 == 0)) == RATE
    waiting = assert_only_the_next_one_waits(psutil.Process(decoder._parent.pid))
    assert len({*used, waiting.pid}) == 6
    waiting.kill()
    time.sleep(0.2)
    assert len(read(decoder, encoded(noise()))) == RATE and used[-1] != waiting.pid
    parent, waiting = decoder._parent, assert_only_the_next_one_waits(psutil.Process(decoder._parent.pid))
    decoder.close()
    parent.wait(10)
    waiting.wait(10)  # for a file that never comes


def test_what_is_refused_leaves_no_open_file(decoder):
    read(decoder, encoded(noise()))
    n_before = psutil.Process().num_fds()
    for _ in range(5):
        with pytest.raises(Problem):
            read(decoder, b"no audio")
    assert psutil.Process().num_fds() == n_before


def test_a_recording_that_is_longer_than_accepted_is_refused_while_it_is_decoded(decoder):
    silence = encoded(np.zeros(61 * RATE), format="FLAC")
    with pytest.raises(Problem, match="longer than the 1 minutes") as refused:
        read(decoder, silence)
    assert refused.value.name == "beyond-limits"


def test_decoding_ends_when_its_time_is_up(decoder):
    read(decoder, encoded(noise()))
    decoder.seconds = 0.0
    with pytest.raises(Problem) as refused:
        read(decoder, encoded(np.zeros(59 * RATE), format="FLAC"))
    assert refused.value.name == "decoding-too-long"
    decoder.seconds = 60.0
    assert len(read(decoder, encoded(noise()))) == RATE


def test_a_killed_child_fails_its_own_request_and_a_killed_parent_is_replaced(decoder, monkeypatch):
    started = decoder._start

    def killing(file, pipe, alone):
        child = started(file, pipe, alone)
        os.kill(child, signal.SIGKILL)
        return child

    monkeypatch.setattr(decoder, "_start", killing)
    long, results = encoded(np.zeros(59 * RATE), 192_000, format="FLAC"), []
    with pytest.raises(Problem) as refused:
        read(decoder, long)
    assert refused.value.name == "decoder-ended"
    monkeypatch.setattr(decoder, "_start", started)
    threads = [threading.Thread(target=lambda: results.append(len(read(decoder, encoded(noise()))))) for _ in range(4)]
    decoder._parent.kill()
    decoder._parent.wait()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [RATE] * 4


def test_what_decodes_imports_no_torch_and_is_limited():
    code = (
        "import json, resource, sys\n"
        "from deepfake.serve import sandbox\n"
        "sandbox._limit(7)\n"
        "limits = [resource.getrlimit(getattr(resource, f'RLIMIT_{n}'))[0] for n in ('CPU', 'FSIZE', 'CORE', 'AS')]\n"
        "print(json.dumps([*limits, 'torch' in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    cpu, size, core, space, torch = json.loads(done.stdout)
    assert (cpu, size, core, torch) == (7, 0, 0, False) and 0 < space < 4 << 30


def test_a_short_limit_is_that_of_the_server(served_run):
    with TestClient(application(Settings(served_run, device="cpu", max_minutes=0.05))) as client:
        assert client.post("/predict", files={"file": encoded(noise(2.9))}).status_code == 200
        answer = client.post("/predict", files={"file": encoded(noise(3.1))})
        assert answer.status_code == 413 and answer.json()["type"].endswith("beyond-limits")
