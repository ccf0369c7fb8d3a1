"""The server does what its schema says, for requests that schemathesis makes up from it."""

from __future__ import annotations

import html
import json
import re

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS, load_all_checks

from deepfake.serve.app import application
from deepfake.serve.problems import KINDS, MEDIA_TYPE
from deepfake.serve.schemas import EXAMPLE, Prediction
from deepfake.serve.service import Settings

FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def test_every_answer_is_as_the_schema_says(served_run):
    load_all_checks()
    # The schema has no word for which bytes are a recording, so what it allows may be refused.
    # In a multipart body a number is text like any other; a batch has the problem of such a file in its place.
    excluded = {path: [CHECKS.get_one("positive_data_acceptance")] for path in ("/predict", "/explain", "/identify")}
    excluded["/predict/batch"] = [*excluded["/predict"], CHECKS.get_one("negative_data_rejection")]
    schema = schemathesis.openapi.from_asgi("/openapi.json", application(Settings(served_run, device="cpu")))
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.path for operation in operations} >= {"/predict", "/predict/batch", "/explain", "/model"}
    for operation in operations:
        modes = list(schemathesis.GenerationMode) if operation.body else [schemathesis.GenerationMode.POSITIVE]
        for mode in modes:
            made = operation.as_strategy(generation_mode=mode)

            @FEW
            @given(case=made)
            def asked(case):
                case.call_and_validate(excluded_checks=excluded.get(case.operation.path, []))

            asked()


def test_every_error_of_every_operation_is_documented_with_an_example(client):
    found = client.get("/openapi.json").json()
    documented = set()
    for path, operations in found["paths"].items():
        for operation in operations.values():
            assert operation["summary"] and operation["description"], path
            for status, response in operation["responses"].items():
                if status == "200":
                    continue
                assert list(response["content"]) == [MEDIA_TYPE], (path, status)
                examples = response["content"][MEDIA_TYPE]["examples"]
                assert all(example["value"]["status"] == int(status) for example in examples.values())
                documented |= set(examples)
    assert documented | {"not-found", "method-not-allowed", "origin-not-allowed"} == set(KINDS)  # the last: WebSockets
    assert found["components"]["schemas"]["Prediction"]["examples"]


def test_the_documentation_has_all_of_the_schema_and_loads_nothing(client):
    answer = client.get("/docs")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert not re.search(r"<script|<link|<img|src=|@import|url\(", answer.text)
    assert re.findall(r"href=(\S*?)>", answer.text) == ['"openapi.json"']
    text = html.unescape(re.sub(r"<[^>]+>", "", answer.text))
    found = client.get("/openapi.json").json()
    assert "/docs" not in found["paths"] and found["info"]["title"] in text
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            assert f"{method.upper()} {path}\n{operation['description']}" in text
            for status, response in operation["responses"].items():
                assert f"{status} {response['description']}" in text
    for name in KINDS.keys() - {"not-found", "method-not-allowed"}:
        assert f'"type": "urn:problem-type:deepfake:{name}"' in text
    assert json.dumps(EXAMPLE, indent=2, sort_keys=True) in text
    assert "Whether the score is not above the threshold." in text
    assert "timelinein the queryboolean" in text.replace("\n", "") and "multipart/form-data" in text


def test_the_example_is_what_is_answered(client, recordings):
    found = client.post("/predict?timeline=true", files={"file": recordings[0].read_bytes()}).json()
    assert set(found) <= set(EXAMPLE) and set(EXAMPLE) - set(found) <= {"log10_lr_spoof", "capped"}  # if calibrated
    assert set(found["timeline"]) == set(EXAMPLE["timeline"])
    Prediction.model_validate(EXAMPLE)
