"""The WebSocket `/stream`: its rows and its verdict against those of the file, and what it refuses."""

from __future__ import annotations

import json
import logging
import signal

import numpy as np
import pytest
from sounds import encode, speech
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from deepfake.detector import Detector
from deepfake.localisation.scan import scan
from deepfake.serve.app import application
from deepfake.serve.service import Settings
from deepfake.serve.stream import StreamLimits

HEADER = {"sample_rate": 16_000}
SAMPLES = (speech(1.3) * 2**15).astype("<i2")


def all_of(socket):
    """What is still said, and the code and the reason of the closing."""
    said = []
    with pytest.raises(WebSocketDisconnect) as closed:
        while True:
            said.append(json.loads(socket.receive_text()))
    return said, closed.value.code, closed.value.reason


def judged(client, header, samples, sizes=(3_001,), end=True):
    with client.websocket_connect("/stream") as socket:
        socket.send_text(json.dumps(header))
        data, i = samples.tobytes(), 0
        while data:
            socket.send_bytes(data[: sizes[i % len(sizes)]])
            data, i = data[sizes[i % len(sizes)] :], i + 1
        if end:
            socket.send_text('{"end": true}')
        return all_of(socket)


def served(run, limits=None, **settings):
    door = application(Settings(run, device="cpu", **settings))
    if limits is not None:
        door.streams.limits = limits
    return TestClient(door, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("rate", "channels", "form", "sizes"),
    [(16_000, 1, "s16le", (1, 3_001)), (44_100, 2, "f32le", (100_003,)), (8_000, 2, "s16le", (640,))],
)
def test_rows_and_verdict_are_those_of_the_file(client, served_run, rate, channels, form, sizes, tmp_path):
    samples = np.stack([speech(2.3, rate, seed) for seed in range(channels)], 1)
    samples = (samples * 2**15).astype("<i2") if form == "s16le" else samples.astype("<f4")
    (tmp_path / "a.wav").write_bytes(encode(samples, rate, subtype="PCM_16" if form == "s16le" else "FLOAT"))
    header = {"sample_rate": rate, "channels": channels, "format": form, "hop": 0.1}
    (*rows, verdict), code, reason = judged(client, header, samples, sizes)
    assert (code, reason) == (1000, "")
    found = scan(Detector.load(served_run), tmp_path / "a.wav", overlap=0.8, batch_size=1)
    assert [row.pop("type") for row in rows] == ["row"] * len(found.scores)
    assert list(rows[0]) == ["start", "end", "score", "spoof", "p_fake", "mean", "verdict"]
    for name, column in (("start", found.starts), ("end", found.ends), ("score", found.scores)):
        assert [row[name] for row in rows] == column.tolist()
    with (tmp_path / "a.wav").open("rb") as file:
        expected = client.post("/predict", files={"file": file}).json()
    assert verdict == {**expected, "type": "verdict", "file_sha256": None}


def test_a_row_comes_before_the_audio_ends(client):
    with client.websocket_connect("/stream") as socket:
        socket.send_text(json.dumps(HEADER))
        socket.send_bytes(SAMPLES[:8_001].tobytes())
        row = json.loads(socket.receive_text())
        assert (row["type"], row["start"], row["end"]) == ("row", 0.0, 0.5)
        socket.send_bytes(SAMPLES[8_001:12_001].tobytes())
        assert json.loads(socket.receive_text())["end"] == 0.75
        socket.send_text('{"end": true}')
        assert all_of(socket)[0][-1]["seconds"] == 12_001 / 16_000


@pytest.mark.parametrize(
    ("header", "kind", "detail"),
    [
        ("no JSON", "invalid-request", "header: Invalid JSON"),
        ("{}", "invalid-request", "sample_rate: Field required"),
        ('{"sample_rate": 16000, "format": "mp3"}', "invalid-request", "format: Input should be"),
        ('{"sample_rate": 16000, "rate": 1}', "invalid-request", "rate: Extra inputs"),
        ('{"sample_rate": 16000, "hop": 9}', "invalid-request", "hop=9.0: 0.005 to 0.5 s"),
        ('{"sample_rate": 1}', "beyond-limits", "the stream: 1 Hz, 4000 to 192000 are accepted"),
        ('{"sample_rate": 16000, "channels": 9}', "beyond-limits", "9 channels"),
        (" " * 5_000, "too-large", "at most 4096 characters"),
        (b"samples", "invalid-request", "A header was expected first"),
    ],
)
def test_a_header_that_is_none_is_named(client, header, kind, detail):
    with client.websocket_connect("/stream") as socket:
        (socket.send_bytes if isinstance(header, bytes) else socket.send_text)(header)
        (problem,), code, reason = all_of(socket)
    assert problem["type"] == reason == f"urn:problem-type:deepfake:{kind}"
    assert detail.lower() in problem["detail"].lower() and problem["instance"].startswith("urn:request:")
    assert code == (1009 if kind in ("beyond-limits", "too-large") else 1008)


@pytest.mark.parametrize(
    ("samples", "header", "kind", "detail"),
    [
        (SAMPLES[:0], HEADER, "unusable-audio", "the stream: no audio came"),
        (SAMPLES[:99], HEADER, "unusable-audio", "99 samples of audio"),
        (np.full(99_999, np.nan, "<f4"), {**HEADER, "format": "f32le"}, "unusable-audio", "NaN, infinite"),
    ],
)
def test_audio_that_cannot_be_used_is_named(client, samples, header, kind, detail):
    said, code, reason = judged(client, header, samples)
    assert (code, reason) == (1008, f"urn:problem-type:deepfake:{kind}")
    assert detail in said[-1]["detail"]


def test_a_text_other_than_the_end_is_named(client):
    with client.websocket_connect("/stream") as socket:
        socket.send_text(json.dumps(HEADER))
        socket.send_text('{"end": false}')
        (problem,), code, _ = all_of(socket)
    assert code == 1008 and 'Samples, or {"end": true} as text' in problem["detail"]


def test_length_bytes_and_time_are_limited(served_run):
    with served(served_run, max_minutes=0.01) as client:
        said, code, reason = judged(client, HEADER, SAMPLES, end=False)
        assert (code, reason) == (1009, "urn:problem-type:deepfake:beyond-limits")
        assert "longer than the 0.01 minutes that are read" in said[-1]["detail"]
    with served(served_run, StreamLimits(n_bytes=30_000)) as client:
        said, code, reason = judged(client, HEADER, SAMPLES, end=False)
        assert (code, reason, said[-1]["limit"]) == (1009, "urn:problem-type:deepfake:too-large", 30_000)
        assert said[0]["type"] == "row"
    for limits in (StreamLimits(idle_seconds=0.01), StreamLimits(grace_seconds=0.01)):
        with served(served_run, limits) as client:
            assert judged(client, HEADER, SAMPLES[:0], end=False)[1:] == (1008, "urn:problem-type:deepfake:too-slow")


def refusal(client, headers=None, path="/stream"):
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(path, headers=headers or {}):
        pass
    answer = refused.value
    assert answer.headers["content-type"] == "application/problem+json" and answer.headers["x-request-id"]
    return answer.status_code, answer.json()["type"].removeprefix("urn:problem-type:deepfake:"), answer.headers


def test_no_more_streams_than_find_room_are_let_in(served_run):
    with served(served_run, StreamLimits(n_streams=1)) as client:
        with client.websocket_connect("/stream"):
            status, kind, headers = refusal(client)
            assert (status, kind, headers["retry-after"]) == (429, "busy", "5")
        assert judged(client, HEADER, SAMPLES)[1] == 1000


def test_who_has_no_key_is_refused_before_anything_else(served_run, tmp_path):
    (tmp_path / "keys").write_text("0123456789abcdef\n")
    with served(served_run, key_file=tmp_path / "keys") as client:
        for path in ("/stream", "/other"):
            assert refusal(client, path=path)[:2] == (401, "unauthorized")
        assert refusal(client, {"X-API-Key": "another"})[:2] == (401, "unauthorized")
        key = {"Authorization": "Bearer 0123456789abcdef"}
        assert refusal(client, key, "/other")[:2] == (404, "not-found")
        with client.websocket_connect("/stream", headers=key):
            pass


def test_pages_of_other_origins_are_refused(served_run):
    with served(served_run, allow_origins=("https://ours.example",)) as client:
        for origin in ("https://theirs.example", "http://[", "null"):
            assert refusal(client, {"Origin": origin})[:2] == (403, "origin-not-allowed")
        for origin in ("https://ours.example", "http://testserver"):
            with client.websocket_connect("/stream", headers={"Origin": origin}):
                pass


def test_a_stream_is_one_line_of_the_log_and_one_of_the_metrics(client, caplog):
    with caplog.at_level(logging.INFO, "deepfake"):
        judged(client, HEADER, SAMPLES)
    facts = [record.facts for record in caplog.records if hasattr(record, "facts")][-1]
    assert (facts["method"], facts["route"], facts["status"], facts["bytes"]) == ("WEBSOCKET", "/stream", 1000, 41_600)
    text = client.get("/metrics").text
    assert 'deepfake_requests_total{method="WEBSOCKET",route="/stream",status="1000"}' in text


def test_the_documentation_has_it(client):
    text = client.get("/docs").text
    assert "WebSocket /stream" in text and "sample_rate" in text and "s16le or f32le" in text


def test_over_a_socket_rows_come_early_and_the_end_of_the_server_is_not_that_of_the_audio(serving):
    websockets = pytest.importorskip("websockets.sync.client", reason='needs pip install "deepfake[serve]"')
    with serving() as server:
        url = server.url.replace("http", "ws") + "/stream?token=secret"
        with websockets.connect(url, open_timeout=60) as socket:
            socket.send(json.dumps(HEADER))
            socket.send(SAMPLES[:8_001].tobytes())
            assert json.loads(socket.recv(60))["end"] == 0.5
            server.process.send_signal(signal.SIGTERM)
            *rows, verdict = map(json.loads, socket)
            assert [row["type"] for row in rows] == ["row"] and verdict["type"] == "verdict"
            assert verdict["seconds"] == 8_001 / 16_000
            assert (socket.close_code, socket.close_reason) == (1001, "urn:problem-type:deepfake:not-ready")
        assert server.process.wait(30) == 0
        lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
        (facts,) = [line for line in lines if line["message"] == "request"]
        assert (facts["method"], facts["route"], facts["status"], facts["bytes"]) == (
            "WEBSOCKET",
            "/stream",
            1001,
            16_002,
        )
        assert "secret" not in server.log.read_text() and "connection open" not in server.log.read_text()
