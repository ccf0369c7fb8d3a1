"""What the API answers."""

from __future__ import annotations

import json
import shutil

import pytest
from starlette.testclient import TestClient

from deepfake.cli import main
from deepfake.commands.predict import row
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.forensics.assess import Scanning, assess
from deepfake.serve.app import application
from deepfake.serve.service import Settings


def post(client, path, content: bytes, name="x.wav", **more):
    return client.post(path, files={"file": (name, content, "audio/wav")}, **more)


def test_health_says_what_earlier_clients_read(client, served_run):
    found = client.get("/health").json()
    assert found["status"] == "ok" and found["model_loaded"] is True and found["device"] == "cpu"
    assert len(found["detector_sha256"]) == 64 and set(found["versions"]) == {"deepfake", "torch", "python"}
    assert client.get("/ready").json() == {"ready": True}


def test_a_server_that_is_full_is_not_ready_but_alive(client, monkeypatch):
    monkeypatch.setattr("deepfake.serve.limits.Door.full", True)
    answer = client.get("/ready")
    assert answer.status_code == 503 and answer.json()["type"].endswith(":not-ready")
    assert int(answer.headers["retry-after"]) > 0 and client.get("/health").status_code == 200


def test_a_verdict_is_that_of_predict_to_the_last_bit(client, served_run, recordings):
    detector = Detector.load(served_run)
    for path in recordings:
        expected = row(assess(detector, path))
        answer = post(client, "/predict", path.read_bytes())
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert {key: found[key] for key in expected} == expected
        is_fake = expected["score"] <= detector.threshold
        assert found["is_fake"] is is_fake and found["prediction"] == ("FAKE" if is_fake else "REAL")
        assert found["confidence"] == max(expected["p_fake"], 1 - expected["p_fake"])
        assert found["threshold"] == detector.config["threshold"]
        assert [reason["name"] for reason in found["reasons"]] == expected["cautions"]


def test_on_onnx_runtime_a_verdict_is_that_of_predict_on_it(served_run, recordings, tmp_path, capsys):
    pytest.importorskip("onnxruntime", reason='needs pip install "deepfake[export]"')
    run = shutil.copytree(served_run, tmp_path / "run")
    with TestClient(application(Settings(run, backend="onnx"))) as on_onnx:
        assert on_onnx.get("/health").json()["device"] == "cpu"
        found = [post(on_onnx, "/predict", path.read_bytes()).json() for path in recordings[:3]]
    assert (run / "detector.onnx").is_file()
    files = [str(path) for path in recordings[:3]]
    assert main(["predict", "--run", str(run), "--backend", "onnx", "--format", "json", *files]) == 0
    for expected, answer in zip(json.loads(capsys.readouterr().out), found, strict=True):
        del expected["file"]
        assert {key: answer[key] for key in expected} == expected
    with pytest.raises(InputError, match="device=meta with --backend onnx: cpu was expected"):
        application(Settings(run, device="meta", backend="onnx"))


def test_a_timeline_is_given_if_asked_for_and_moves_no_score(client, served_run, recordings):
    content = recordings[4].read_bytes()
    plain = post(client, "/predict", content).json()
    found = post(client, "/predict?timeline=true", content).json()
    timeline = found.pop("timeline")
    assert found == plain and "timeline" not in plain
    expected = assess(Detector.load(served_run), recordings[4], scanning=Scanning()).timeline
    assert timeline["segments"] == [segment._asdict() for segment in expected.segments]
    assert timeline["window"] == expected.scan.window and timeline["kind"] == "trend"
    assert post(client, "/predict?timeline=perhaps", content).json()["type"].endswith("invalid-request")


def test_a_batch_is_answered_in_order_and_one_bad_file_spoils_nothing(client, recordings):
    files = [("files", (path.name, path.read_bytes())) for path in recordings[:2]]
    files.insert(1, ("files", ("bad.wav", b"no audio at all")))
    first, bad, last = client.post("/predict/batch", files=files).json()["results"]
    assert first == post(client, "/predict", recordings[0].read_bytes()).json()
    assert last == post(client, "/predict", recordings[1].read_bytes()).json()
    assert bad["type"].startswith("urn:problem-type:deepfake:") and bad["status"] in (415, 422)


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "name"),
    [
        ("GET", "/nothing", {}, 404, "not-found"),
        ("DELETE", "/predict", {}, 405, "method-not-allowed"),
        ("POST", "/predict", {"json": {"file": "x"}}, 415, "not-multipart"),
        ("POST", "/predict", {"data": {"file": "x"}}, 415, "not-multipart"),
        ("POST", "/predict", {}, 415, "not-multipart"),
        ("POST", "/predict", {"files": {"other": b"x"}}, 422, "invalid-request"),
        ("POST", "/predict", {"files": {"file": (None, "text")}}, 422, "invalid-request"),
        ("POST", "/predict", {"headers": {"content-type": "multipart/form-data"}, "content": b"x"}, 400, "bad-request"),
        ("POST", "/predict/batch", {"files": [("files", b"x")] * 33}, 413, "too-many-parts"),
    ],
)
def test_every_error_is_a_problem_of_its_own_type(client, method, path, options, status, name):
    answer = client.request(method, path, **options)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["type"] == f"urn:problem-type:deepfake:{name}" and found["status"] == status
    assert found["instance"] == f"urn:request:{answer.headers['x-request-id']}"
    assert set(found) >= {"title", "detail"}


def test_an_error_of_the_server_is_a_problem_too_and_tells_nothing(client, recordings, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a secret path /srv")

    monkeypatch.setattr("deepfake.serve.service.assess", fail)
    answer = post(client, "/predict", recordings[0].read_bytes())
    assert answer.status_code == 500 and answer.json()["type"].endswith(":internal")
    assert "secret" not in answer.text


def test_a_request_keeps_its_id_if_that_is_harmless(client):
    assert client.get("/health", headers={"X-Request-ID": "a-1.b"}).headers["x-request-id"] == "a-1.b"
    assert len(client.get("/health", headers={"X-Request-ID": "a b\t<"}).headers["x-request-id"]) == 32
    assert client.get("/health").headers["x-request-id"] != client.get("/health").headers["x-request-id"]


def test_the_metrics_count_routes_and_not_addresses(client):
    client.get("/nothing/secret")
    text = client.get("/metrics").text
    assert 'deepfake_requests_total{method="GET",route="/health",status="200"}' in text
    assert 'route="unmatched"' in text and "secret" not in text
    assert 'deepfake_stage_seconds_count{stage="inference"}' in text


def test_pages_of_other_origins_get_nothing_unless_told(client):
    answer = client.get("/health", headers={"Origin": "https://example.org"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
