"""What every request meets first: who asks, how much may come, how fast, and how many at once.

The framework writes a whole upload to disk before a handler, or a dependency that checks a key, is called. So these
stand in pure ASGI middleware, before any byte of a body is read, and while bytes arrive.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message as Header
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepfake.serve.keys import Keys
from deepfake.serve.metrics import Metrics
from deepfake.serve.problems import MEDIA_TYPE, Problem, busy

log = logging.getLogger(__name__)

OPEN = ("/health", "/ready", "/docs", "/openapi.json")  # without a key: what probes and readers of the schema need
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
GRACE_SECONDS = 20.0  # for a body to begin; from then on it must come at least this fast
LEAST_BYTES_PER_SECOND = 16_000
LINGER_SECONDS = 3.0  # what still comes after a refusal is discarded, so that the client can read why


@dataclass(frozen=True)
class Limits:
    """Limits on requests.

    Args:
        n_bytes: Of a body.
        n_parts: Of a multipart body.
        n_inside: Uploads that arrive, wait or are computed; the next is told to come back.
        n_bytes_inside: Of the bodies of all of these.
    """

    n_bytes: int = 100_000_000
    n_parts: int = 32
    n_inside: int = 100
    n_bytes_inside: int = 2_000_000_000


class Door:
    """The middleware: each request is let in, counted, given an id and logged, or refused.

    Args:
        app: What is behind it.
        limits: On requests.
        keys: Those accepted; None for no check.
        metrics: Of this process.
        streams: What answers WebSockets, and checks for itself what is let in; None for nothing.
    """

    def __init__(
        self, app: ASGIApp, *, limits: Limits, keys: Keys | None, metrics: Metrics, streams: ASGIApp | None = None
    ) -> None:
        self.app, self.limits, self.keys, self.metrics, self.streams = app, limits, keys, metrics, streams
        self.n_inside = self.n_bytes_inside = 0

    @property
    def full(self) -> bool:
        """Whether the next upload would be told to come back."""
        return self.n_inside >= self.limits.n_inside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket" and self.streams is not None:
            await self.streams(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        body = Body(scope, receive, self)
        answer = Answer(send, request_id(scope), body)
        scope.setdefault("state", {})["request_id"] = answer.request_id
        upload = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        try:
            try:
                self._admit(scope, body, upload)
                await self.app(scope, body.receive, answer.send)
            finally:
                if body.admitted:
                    self.n_inside -= 1
                    self.n_bytes_inside -= body.n_bytes
                    self.metrics.inside.set(self.n_inside)
            if body.refusal is not None:
                raise body.refusal
        except Problem as problem:
            await answer.refuse(problem)
        except Exception as error:
            log.error(
                "%s", "an error of the server", exc_info=error, extra={"facts": {"request_id": answer.request_id}}
            )
            await answer.refuse(Problem("internal", "The server made an error; its log has it under this id."))
        finally:
            self._note(scope, answer, body, time.perf_counter() - started)

    def _admit(self, scope: Scope, body: Body, upload: bool) -> None:
        """Let a request in before its body is read.

        Raises:
            Problem: It has no key, says that it is too large, is not multipart, or too many are inside.
        """
        if self.keys is not None and scope["path"] not in OPEN and not self.keys.accept(scope["headers"]):
            detail = "Give a key as X-API-Key, or as Authorization: Bearer."
            raise Problem("unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
        if not upload:
            return
        if body.promised > self.limits.n_bytes:
            raise self.too_large()
        if self.full:
            raise busy(f"{self.n_inside} requests are in work; come back later.")
        self.n_inside += 1
        body.admitted = True
        self.metrics.inside.set(self.n_inside)

    def too_large(self) -> Problem:
        n = self.limits.n_bytes
        return Problem("too-large", f"At most {n} bytes are accepted; send a shorter or a compressed file.", limit=n)

    def _note(self, scope: Scope, answer: Answer, body: Body, seconds: float) -> None:
        """One line in the log and one in the metrics, with the route and not the address."""
        route = getattr(scope.get("route"), "path", "unmatched")
        status = answer.status or 499  # the client left
        method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD", "OPTIONS") else "other"
        self.metrics.requests.labels(method, route, status).inc()
        if problem := answer.problem or scope["state"].get("problem"):
            self.metrics.problems.labels(problem).inc()
        facts = {"request_id": answer.request_id, "method": method, "route": route, "status": status}
        facts |= {"problem": problem, "bytes": body.n_bytes, "seconds": round(seconds, 4)}
        log.info("request", extra={"facts": {name: value for name, value in facts.items() if value is not None}})


class Body:
    """The body of a request, counted as it arrives.

    Attributes:
        n_bytes: That have come.
        refusal: Why the rest is not wanted.
        admitted: Whether it takes a place inside.
    """

    def __init__(self, scope: Scope, receive: Receive, door: Door) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        self.promised = int(length) if length.isdigit() else 0
        self.n_bytes, self.n_delimiters = 0, 0
        self.complete = self.gone = self.admitted = False
        self.waits = headers.get(b"expect", b"").lower() == b"100-continue"  # and sends nothing until it is asked to
        self.refusal: Problem | None = None
        self._receive, self._door, self._started = receive, door, time.monotonic()
        self._delimiter, self._tail = _delimiter(headers.get(b"content-type", b"")), b""

    async def receive(self) -> Message:
        """The next piece.

        Raises:
            Problem: There is too much of it, or it comes too slowly.
        """
        if self.refusal is not None:
            raise self.refusal
        if self.complete:
            return await self._receive()  # which tells that the client has left
        deadline = self._started + GRACE_SECONDS + self.n_bytes / LEAST_BYTES_PER_SECOND
        self.waits = False
        try:
            message = await asyncio.wait_for(self._receive(), max(0.001, deadline - time.monotonic()))
        except TimeoutError:
            rate = LEAST_BYTES_PER_SECOND
            self.refusal = Problem("too-slow", f"At least {rate} bytes a second are expected.", limit=rate)
            raise self.refusal from None
        self._count(message)
        return message

    def _count(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self.complete = self.gone = True
            return
        piece, limits = message.get("body", b""), self._door.limits
        self.complete = not message.get("more_body", False)
        self.n_bytes += len(piece)
        if self.admitted:
            self._door.n_bytes_inside += len(piece)
        if self._delimiter:
            seen = self._tail + piece
            self.n_delimiters += seen.count(self._delimiter)
            self._tail = seen[-len(self._delimiter) + 1 :]
        if self.n_bytes > limits.n_bytes:
            self.refusal = self._door.too_large()
        elif self.n_delimiters > limits.n_parts + 1:  # the last one ends the body
            n = limits.n_parts
            self.refusal = Problem("too-many-parts", f"At most {n} parts are accepted; send several requests.", limit=n)
        elif self._door.n_bytes_inside > limits.n_bytes_inside:
            self.refusal = busy("The uploads that are in work are too large together; come back later.")
        if self.refusal is not None:
            raise self.refusal

    async def discard(self) -> None:
        """Read what still comes, for a while, and keep nothing of it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self.complete and not self.waits:
                    message = await self._receive()
                    self.complete = message["type"] == "http.disconnect" or not message.get("more_body", False)


class Answer:
    """The answer to a request, with its id.

    Attributes:
        status: Of what was sent; None for nothing.
        problem: Its kind, if it is a problem that was found here.
    """

    def __init__(self, send: Send, request_id: str, body: Body) -> None:
        self.request_id, self.body = request_id, body
        self.status: int | None = None
        self.problem: str | None = None
        self._send = send

    async def send(self, message: Message) -> None:
        """Send what the application says, unless the request was refused meanwhile."""
        if self.body.refusal is not None and self.status is None:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", []), *self._headers()]}
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        """Send a problem, and discard what still comes of the body before the connection is closed."""
        if self.status is not None or self.body.gone:
            return
        content = problem.body(self.request_id)
        headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(content)), **problem.headers}
        headers |= {} if self.body.complete else {"Connection": "close"}
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self.status, self.problem = problem.kind.status, problem.name
        start = {"type": "http.response.start", "status": self.status, "headers": [*encoded, *self._headers()]}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": content, "more_body": True})
        await self.body.discard()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _headers(self) -> list[tuple[bytes, bytes]]:
        kept = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
        return [*kept, (b"x-request-id", self.request_id.encode())]


def request_id(scope: Scope) -> str:
    """The client's own, if it is harmless; else a new one."""
    given = dict(scope["headers"]).get(b"x-request-id", b"")
    return given.decode() if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _delimiter(content_type: bytes) -> bytes:
    """What stands between the parts of a multipart body; nothing for another body."""
    header = Header()
    header["content-type"] = content_type.decode("latin-1").replace("\n", " ").replace("\r", " ")
    boundary: Any = header.get_param("boundary")
    return b"--" + boundary.encode("latin-1") if isinstance(boundary, str) and boundary else b""
