"""The model card of a trained run."""

from __future__ import annotations

import csv
import json

import pytest
from starlette.testclient import TestClient

from deepfake.serve.app import application
from deepfake.serve.service import Settings


def test_the_card_has_what_the_run_was_trained_and_judged_on_with_intervals(run_folder):
    with TestClient(application(Settings(run_folder, device="cpu"))) as client:
        found = client.get("/model").json()
        assert found["detector_sha256"] == client.get("/health").json()["detector_sha256"]
    rows = list(csv.DictReader((run_folder / "manifests" / "train.csv").open()))
    assert found["training"]["n_bonafide"] == sum(row["label"] == "1" for row in rows)
    assert found["training"]["attacks"] == sorted({row["attack"] for row in rows if row["label"] == "0"})
    assert found["training"]["n_speakers"] == len({row["speaker"] for row in rows})
    metrics = json.loads((run_folder / "reports" / "metrics.json").read_text())
    for key in ("eer", "fpr", "n_spoof", "partition", "cllr"):
        assert found["dev"][key] == metrics[key]
    assert found["dev"]["ci"]["eer"] == metrics["ci"]["eer"] and found["threshold"]["value"] == metrics["threshold"]
    assert str(run_folder) not in json.dumps(found)


def test_a_run_without_reports_has_a_card(client):
    found = client.get("/model").json()
    assert found["dev"] is None and found["evaluations"] == [] and found["training"]["n_bonafide"] is None
    assert found["limits"] and found["clip_seconds"] == pytest.approx(0.5)
