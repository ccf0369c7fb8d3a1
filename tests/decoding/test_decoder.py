"""Decoding in processes of their own: what comes back, and processes that end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import psutil
import pytest
from sounds import encode as encoded
from tiny import REPOSITORY

from deepfake.decoding.decoder import Decoder, Undecodable

RATE = 16_000
NOBODY = 2**22  # beyond the ids of processes


def noise(seconds=1.0) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE))


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


def test_what_decodes_can_be_there_before_the_first_file(decoder):
    decoder.prepare()
    deadline = time.monotonic() + 60
    while decoder._requests is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent = decoder._parent.pid
    decoder.prepare()
    assert len(read(decoder, encoded(noise()))) == RATE and decoder._parent.pid == parent


def test_what_is_refused_leaves_no_open_file(decoder):
    read(decoder, encoded(noise()))
    n_before = psutil.Process().num_fds()
    for _ in range(5):
        with pytest.raises(Undecodable):
            read(decoder, b"no audio")
    assert psutil.Process().num_fds() == n_before


def test_a_recording_that_is_longer_than_accepted_is_refused_while_it_is_decoded(decoder):
    silence = encoded(np.zeros(61 * RATE), format="FLAC")
    with pytest.raises(Undecodable, match="longer than the 1 minutes") as refused:
        read(decoder, silence)
    assert refused.value.kind == "beyond-limits"


def test_decoding_ends_when_its_time_is_up(decoder):
    read(decoder, encoded(noise()))
    decoder.seconds = 0.0
    with pytest.raises(Undecodable) as refused:
        read(decoder, encoded(np.zeros(59 * RATE), format="FLAC"))
    assert refused.value.kind == "decoding-too-long"
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
    with pytest.raises(Undecodable) as refused:
        read(decoder, long)
    assert refused.value.kind == "decoder-ended"
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
        "from deepfake.decoding import sandbox\n"
        "sandbox._limit(7)\n"
        "limits = [resource.getrlimit(getattr(resource, f'RLIMIT_{n}'))[0] for n in ('CPU', 'FSIZE', 'CORE', 'AS')]\n"
        "print(json.dumps([*limits, 'torch' in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    cpu, size, core, space, torch = json.loads(done.stdout)
    assert (cpu, size, core, torch) == (7, 0, 0, False) and 0 < space < 4 << 30


HEADER = {"seconds": 1.0, "sample_rate": RATE, "channels": 1, "format": "WAV", "subtype": "PCM_16", "n_frames": RATE}
BEGINNING = json.dumps({"header": HEADER, "digest": [3, "x"]}).encode() + b"\n"


@pytest.mark.parametrize(
    "written",
    [
        b"nonsense\n",
        b"[1, 2]\n\0\0\0\0{}\n",
        BEGINNING + b"\0\0\0\0{}\n",
        BEGINNING + b"\0\0\0\0[]\n",
        b'\0\0\0\0{"problem": "internal", "detail": "x"}\n',
        b'\0\0\0\0{"problem": "not-audio"}\n',
        b'{"header": {}}\n\0\0\0\0{"quality": {}, "notes": []}\n',
        b"x" * 70_000,
        b"",
        b"{}",
    ],
)
def test_what_a_process_writes_is_not_believed(decoder, monkeypatch, written):
    monkeypatch.setattr(decoder, "_start", lambda _, pipe, __: NOBODY + 0 * os.write(pipe, written))
    with pytest.raises(Undecodable) as refused:
        read(decoder, encoded(noise()))
    assert refused.value.kind == "decoder-ended"
