"""A server in a process of its own, over sockets."""

from __future__ import annotations

import getpass
import json
import signal
import socket
import threading
import time

import psutil
import pytest
import requests

from deepfake.cli import main


def head(*lines: str) -> bytes:
    return "\r\n".join(["POST /predict HTTP/1.1", "Host: x", *lines, "", ""]).encode()


MULTIPART = "Content-Type: multipart/form-data; boundary=b"


def answer_of(connection: socket.socket) -> tuple[int, dict]:
    """Status and content of what is answered until the connection is closed."""
    text = b""
    while piece := connection.recv(65_536):
        text += piece
    start, _, body = text.partition(b"\r\n\r\n")
    return int(start.split()[1]), json.loads(body)


def test_the_quick_test_of_earlier_clients_works_over_tls(serving, recordings):
    with serving("--tls") as served:
        assert served.url.startswith("https://127.0.0.1:") and "SHA-256" in served.log.read_text()
        url = served.url.replace("127.0.0.1", "localhost")
        with recordings[0].open("rb") as file, pytest.warns(match="Unverified HTTPS"):
            answer = requests.post(f"{url}/predict", files={"file": file}, verify=False)
        assert answer.json()["prediction"] in ("REAL", "FAKE")
        certificate = next(served.log.parent.glob("config/deepfake/tls/certificate.pem"))
        assert requests.get(f"{url}/health", verify=str(certificate)).status_code == 200
    assert served.process.wait(30) == 0


def test_a_body_without_end_stops_at_the_limit_and_unknown_clients_write_nothing(serving, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("0123456789abcdef\n")
    with serving("--key-file", str(keys)) as served:
        for key, status, name in [("", 401, "unauthorized"), ("0123456789abcdef", 413, "too-large")]:
            with socket.create_connection(served.address, timeout=60) as connection:
                connection.sendall(head(MULTIPART, "Transfer-Encoding: chunked", f"X-API-Key: {key}"))
                start = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.wav"\r\n\r\n'
                connection.sendall(b"%x\r\n%s\r\n" % (len(start), start))
                sent, chunk = 0, b"100000\r\n" + bytes(1 << 20) + b"\r\n"
                try:
                    while sent < 400:
                        connection.sendall(chunk)
                        sent += 1
                except OSError:
                    pass  # it is closed on the other side, some time after the answer
                found = answer_of(connection)
            assert found[0] == status and found[1]["type"].endswith(name), found
        log = [json.loads(line) for line in served.log.read_text().splitlines() if line.startswith("{")]
        requests_ = [line for line in log if line["message"] == "request"]
        assert requests_[0]["bytes"] == 0 and requests_[1]["bytes"] <= 100_000_000 + (1 << 20)
        left = {path.name for path in (tmp_path / "tmp").iterdir()} - {f"torchinductor_{getpass.getuser()}"}  # torch's
        assert not left
        assert "0123456789abcdef" not in served.log.read_text()


def test_what_runs_when_the_server_is_told_to_end_is_finished(serving, recordings):
    with serving() as served, socket.create_connection(served.address, timeout=60) as connection:
        content = recordings[0].read_bytes()
        start = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.wav"\r\n\r\n'
        body = start + content + b"\r\n--b--\r\n"
        connection.sendall(head(MULTIPART, f"Content-Length: {len(body)}") + body[:100])
        time.sleep(0.5)
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert served.process.poll() is None
        connection.sendall(body[100:])
        status, found = answer_of(connection)
        assert status == 200 and found["prediction"] in ("REAL", "FAKE")
        assert served.process.wait(30) == 0


def test_workers_share_a_port_replace_one_that_is_killed_and_end_together(serving, recordings):
    with serving("--workers", "2") as served:
        answers = []

        def ask():
            answers.append(requests.post(f"{served.url}/predict", files={"file": recordings[1].read_bytes()}).json())

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 6 and all(answer == answers[0] for answer in answers)
        worker = next(child for child in psutil.Process(served.process.pid).children() if child.children())
        worker.suspend()
        time.sleep(1.5)  # it is asked meanwhile whether it lives, and is killed before it answers
        worker.kill()
        deadline = time.monotonic() + 100  # it would take 120 s
        while served.log.read_text().count("startup complete") < 3:
            assert time.monotonic() < deadline, "no other worker takes the place of the one that was killed"
            time.sleep(0.2)
    assert served.process.wait(30) == 0


def test_what_is_no_http_is_a_problem_too(serving):
    with serving() as served:
        broken = [b"hello\r\n\r\n", head(MULTIPART, "Transfer-Encoding: chunked") + b"zz\r\n"]
        for sent in broken:
            with socket.create_connection(served.address, timeout=60) as connection:
                connection.sendall(sent)
                status, found = answer_of(connection)
            assert status == 400 and found["type"] == "urn:problem-type:deepfake:bad-request"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--host", "0.0.0.0"], "--insecure"),
        (["--host", "192.0.2.1", "--insecure"], "an address to listen at"),
        (["--workers", "0"], "at least 1"),
        (["--max-minutes", "0"], "max_minutes=0.0"),
        (["--key-file", "/nowhere"], "key_file=/nowhere"),
        (["--run", "/nowhere"], "does not exist"),
    ],
)
def test_what_is_not_safe_or_not_there_is_refused_in_a_sentence(served_run, capsys, arguments, sentence):
    assert main(["serve", "--run", str(served_run), "--port", "0", *arguments]) == 1
    assert sentence in capsys.readouterr().err
