"""What is refused while it arrives."""

from __future__ import annotations

import asyncio
import json

import pytest

from deepfake.serve import limits
from deepfake.serve.limits import Door, Limits
from deepfake.serve.metrics import Metrics

MULTIPART = (b"content-type", b"multipart/form-data; boundary=b")


class Client:
    """Sends pieces to a door, and keeps what comes back."""

    def __init__(self, door, pieces, *, headers=(), pause=0.0):
        self.door, self.pieces, self.pause, self.n_taken = door, list(pieces), pause, 0
        self.scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [MULTIPART, *headers]}
        self.status, self.headers, self.content = None, {}, b""

    async def receive(self):
        await asyncio.sleep(self.pause)
        self.n_taken += 1
        piece = self.pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.content += message["body"]

    async def ask(self):
        await self.door(self.scope, self.receive, self.send)
        return self

    @property
    def problem(self):
        return json.loads(self.content)["type"].rpartition(":")[2]


async def swallow(scope, receive, send):
    """An application that reads everything, and answers with errors of its own when it cannot."""
    try:
        while (await receive())["more_body"]:
            pass
        status = 200
    except Exception:
        status = 400
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"read"})


def door(app=swallow, **given) -> Door:
    return Door(app, limits=Limits(**given), keys=None, metrics=Metrics())


def ask(made, pieces, **more):
    client = Client(made, pieces, **more)
    asyncio.run(client.ask())
    return client


def test_a_body_within_the_limits_is_passed_on():
    made = door(n_bytes=100, n_parts=2)
    assert ask(made, [b"--b\r\n", b"x" * 50, b"\r\n--", b"b--"]).status == 200
    assert (made.n_inside, made.n_bytes_inside) == (0, 0)


def test_a_promise_that_is_too_large_is_refused_unread():
    read = []

    async def app(scope, receive, send):
        read.append(1)

    client = ask(door(app, n_bytes=100), [b"x"], headers=[(b"content-length", b"101")])
    assert (client.status, client.problem) == (413, "too-large") and not read
    assert client.headers[b"connection"] == b"close"


def test_too_much_is_refused_where_it_shows_whatever_the_application_makes_of_it():
    made = door(n_bytes=100)
    client = ask(made, [b"x" * 60] * 5)
    assert (client.status, client.problem) == (413, "too-large")
    assert (made.n_inside, made.n_bytes_inside) == (0, 0)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_parts_are_counted_however_the_body_is_cut(size):
    body = b"--b\r\n\r\nx\r\n" * 3 + b"--b--"
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    assert ask(door(n_parts=3), pieces).status == 200
    client = ask(door(n_parts=2), pieces)
    assert (client.status, client.problem) == (413, "too-many-parts")


def test_a_slow_client_is_refused_and_a_steady_one_is_not(monkeypatch):
    monkeypatch.setattr(limits, "GRACE_SECONDS", 0.2)
    monkeypatch.setattr(limits, "LINGER_SECONDS", 0.1)
    client = ask(door(), [b"x"] * 50, pause=0.02)
    assert (client.status, client.problem) == (408, "too-slow")
    assert ask(door(), [b"x" * 1600] * 20, pause=0.02).status == 200


def test_more_requests_or_bytes_than_find_room_are_told_to_come_back():
    async def together(made, n):
        clients = [Client(made, [b"x" * 40] * 3, pause=0.01) for _ in range(n)]
        return await asyncio.gather(*(client.ask() for client in clients))

    made = door(n_inside=3)
    answers = asyncio.run(together(made, 5))
    refused = [client for client in answers if client.status == 429]
    assert len(refused) == 2 and sum(client.status == 200 for client in answers) == 3
    assert all(client.problem == "busy" and int(client.headers[b"retry-after"]) > 0 for client in refused)
    assert made.n_inside == 0 and not made.full and door(n_inside=0).full
    crowded = asyncio.run(together(door(n_bytes_inside=300), 5))
    assert {client.status for client in crowded} == {200, 429}


def test_who_asks_whether_to_go_on_is_told_no_before_anything_is_sent():
    client = ask(door(n_bytes=10), [b"x"], headers=[(b"content-length", b"11"), (b"expect", b"100-continue")])
    assert client.status == 413 and client.n_taken == 0
