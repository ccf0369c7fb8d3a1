"""`POST /explain`: the evidence of `explain.py`, of which nothing stays."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from pathlib import Path

import pytest
import yaml
from pypdf import PdfReader
from tiny import REPOSITORY

from deepfake.serve.accept import chosen
from deepfake.serve.evidence import methods
from deepfake.serve.problems import Problem

TYPES = ("application/zip", "application/pdf", "application/json")


def test_the_methods_are_those_of_the_configs():
    conf = REPOSITORY / "conf"
    defaults = yaml.safe_load((conf / "explain.yaml").read_text())["defaults"]
    names = next(entry["explain"] for entry in defaults if "explain" in entry)
    assert list(methods()) == names
    for name, method in methods().items():
        settings = yaml.safe_load((conf / "explain" / f"{name}.yaml").read_text())
        assert settings.pop("_target_") == f"{type(method).__module__}.{type(method).__name__}"
        settings = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
        assert vars(type(method)(**settings)) == vars(method)


def test_the_form_is_what_the_client_accepts_and_nothing_stays(client, recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    content = recordings[1].read_bytes()

    def explain(accept):
        files = {"file": ("../../etc/x.wav", content)}
        answer = client.post("/explain", files=files, headers={"Accept": accept})
        assert answer.status_code == 200 and answer.headers["content-type"] == accept, answer.text
        assert not list(tmp_path.iterdir())
        return answer.content

    report = json.loads(explain("application/json"))
    verdict = client.post("/predict", files={"file": content}).json()
    assert report["score"] == verdict["score"] and report["file"]["sha256"] == verdict["file_sha256"]
    assert report["environment"]["command"] == ["deepfake", "serve"] and "etc" not in json.dumps(report["file"])
    archive = zipfile.ZipFile(io.BytesIO(explain("application/zip")))
    assert archive.testzip() is None
    assert {"report.json", "report.pdf", "manifest.json", "segments.json"} <= set(archive.namelist())
    assert not [name for name in archive.namelist() if name.startswith("audio/")]
    assert len(PdfReader(io.BytesIO(explain("application/pdf"))).pages) > 1


def test_no_path_of_the_server_is_told_but_the_hash_of_its_detector(client, served_run, recordings):
    answer = client.post("/explain", files={"file": recordings[0].read_bytes()})
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    report = json.loads(archive.read("report.json"))
    assert report["detector"]["path"] == "detector.pt"
    assert report["detector"]["sha256"] == hashlib.sha256((served_run / "detector.pt").read_bytes()).hexdigest()
    texts = [archive.read(name).decode() for name in archive.namelist() if name.endswith((".json", ".txt", ".csv"))]
    pdf = "".join(page.extract_text() for page in PdfReader(io.BytesIO(archive.read("report.pdf"))).pages)
    assert "detector.pt" in pdf and len(texts) >= 3
    for text in (*texts, pdf.replace("\n", "")):
        assert served_run.name not in text and str(Path.cwd()) not in text and tempfile.gettempdir() not in text


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", "application/zip"),
        ("text/html, application/pdf;q=0.5", "application/pdf"),
        ("application/*;q=0.2, application/json;q=0.4", "application/json"),
        ("*/*, application/zip;q=0", "application/pdf"),
        ("application/json; charset=utf-8", "application/json"),
    ],
)
def test_of_what_is_accepted_the_best_is_given(accept, expected):
    assert chosen(accept, TYPES) == expected


@pytest.mark.parametrize("accept", ["text/html", "application/zip;q=0", "application/zip;q=x", ","])
def test_what_cannot_be_given_is_refused(client, recordings, accept):
    with pytest.raises(Problem):
        chosen(accept, TYPES)
    answer = client.post("/explain", files={"file": recordings[0].read_bytes()}, headers={"Accept": accept})
    assert answer.status_code == 406 and answer.json()["type"].endswith(":not-acceptable")
