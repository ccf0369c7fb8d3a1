"""Who may ask."""

from __future__ import annotations

import hashlib

import pytest
from starlette.testclient import TestClient

from deepfake.errors import InputError
from deepfake.serve.app import application
from deepfake.serve.keys import Keys
from deepfake.serve.service import Settings

PLAIN, HASHED = "0123456789abcdef plain", "another key, kept as its digest"


@pytest.fixture
def key_file(tmp_path):
    digest = hashlib.sha256(HASHED.encode()).hexdigest()
    path = tmp_path / "keys"
    path.write_text(f"# two keys\n\n{PLAIN}\nsha256:{digest}\n")
    return path


def test_both_headers_and_both_kinds_of_key_are_accepted(key_file):
    keys = Keys.read(key_file)
    for key in (PLAIN, HASHED):
        assert keys.accept([(b"host", b"x"), (b"x-api-key", key.encode())])
        assert keys.accept([(b"authorization", b"bearer " + key.encode())])
        assert not keys.accept([(b"authorization", b"Basic " + key.encode())])
        assert not keys.accept([(b"x-api-key", key[:-1].encode())])
    assert not keys.accept([]) and not keys.accept([(b"x-api-key", b"")])
    assert PLAIN not in repr(vars(keys))


@pytest.mark.parametrize("text", ["", "# none\n", "short\n", "\xff"])
def test_a_file_without_good_keys_is_refused_and_no_key_is_repeated(tmp_path, text):
    path = tmp_path / "keys"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError) as error:
        Keys.read(path)
    assert str(path) in str(error.value) and "short" not in str(error.value)
    with pytest.raises(InputError, match="a file with a key"):
        Keys.read(tmp_path / "absent")


def test_without_a_key_only_probes_and_the_schema_are_answered(served_run, key_file, recordings):
    with TestClient(application(Settings(served_run, device="cpu", key_file=key_file))) as client:
        for path in ("/health", "/ready", "/openapi.json", "/docs"):
            assert client.get(path).status_code == 200
        for method, path in [("GET", "/model"), ("GET", "/metrics"), ("POST", "/predict"), ("GET", "/nothing")]:
            answer = client.request(method, path)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["type"].endswith(":unauthorized")
        assert client.get("/metrics", headers={"X-API-Key": PLAIN}).status_code == 200
        files = {"file": recordings[0].read_bytes()}
        assert client.post("/predict", files=files, headers={"Authorization": f"Bearer {HASHED}"}).status_code == 200
