"""The WebSocket `/stream`: audio that comes in blocks, a row of JSON for each hop, and the verdict at its end.

The first message is a header (`deepfake.serve.schemas.StreamHeader`), those that follow are samples, and the text
`{"end": true}` ends the audio. Each answer has a `type`: `row`, `verdict`, or that of a problem, which is the reason of
the closing too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import FrameType

from pydantic import ValidationError
from starlette.types import Message, Receive, Scope, Send

from deepfake.audio.mono import BeyondLimits
from deepfake.audio.pcm import FORMATS, Pcm
from deepfake.audio.sound import Info
from deepfake.errors import InputError
from deepfake.forensics.live import LiveAssessment
from deepfake.localisation.stream import Row
from deepfake.serve.keys import Keys
from deepfake.serve.limits import request_id
from deepfake.serve.metrics import Metrics
from deepfake.serve.problems import MEDIA_TYPE, Problem, busy, type_of
from deepfake.serve.schemas import StreamHeader
from deepfake.serve.service import Service

log = logging.getLogger(__name__)

PATH = "/stream"
NAME = "the stream"
PIECE = 1 << 16  # bytes that are computed at once, so that others have their turn
MOST_HEADER = 4096  # characters
DRAIN_SECONDS = 60.0
DRAIN = "stream.drain"  # a message that no client sends
DONE, GOING_AWAY = 1000, 1001
CODES = {413: 1009, 429: 1013, 500: 1011, 503: GOING_AWAY}  # of closings, by status; else 1008


@dataclass(frozen=True)
class StreamLimits:
    """Limits on streams.

    Args:
        n_streams: At once; the next is told to come back.
        n_bytes: Of the samples of one.
        grace_seconds: For which it may keep the server waiting altogether, beyond twice the length of its audio, and
            for which an answer may wait to be read.
        idle_seconds: Between its messages.
    """

    n_streams: int = 8
    n_bytes: int = 2_000_000_000
    grace_seconds: float = 20.0
    idle_seconds: float = 30.0


class Streams:
    """The streams of one process, as an ASGI application of WebSockets.

    Args:
        service: The detector.
        limits: On streams.
        keys: Those accepted; None for no check.
        origins: Whose pages may ask, beside those of this server.
        metrics: Of this process.
    """

    def __init__(
        self,
        service: Service,
        *,
        keys: Keys | None,
        origins: Collection[str],
        metrics: Metrics,
        limits: StreamLimits | None = None,
    ) -> None:
        self.service, self.limits = service, limits or StreamLimits()
        self.keys, self.origins, self.metrics = keys, origins, metrics
        self.n_open = 0
        self.draining = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, connection = time.perf_counter(), Connection(scope, receive, send, self)
        await receive()  # that it asks to connect
        try:
            self._admit(scope)
        except Problem as problem:
            await connection.deny(problem)
        else:
            self.n_open += 1
            try:
                await connection.serve()
            finally:
                self.n_open -= 1
        self._note(scope, connection, time.perf_counter() - started)

    def _admit(self, scope: Scope) -> None:
        """Let a stream in before anything of it is read.

        Raises:
            Problem: It has no key, another address, comes of a page of another origin, or there are too many.
        """
        if self.keys is not None and not self.keys.accept(scope["headers"]):
            detail = "Give a key as X-API-Key, or as Authorization: Bearer."
            raise Problem("unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
        if scope["path"] != PATH:
            raise Problem("not-found", f"WebSockets are at {PATH} alone.")
        headers = dict(scope["headers"])
        origin, host = (headers.get(name, b"").decode("latin-1") for name in (b"origin", b"host"))
        if origin and origin.partition("://")[2] != host and not {origin, "*"} & set(self.origins):
            raise Problem("origin-not-allowed", "Start the server with --allow-origin to let this page ask.")
        if self.draining.is_set():
            raise Problem("not-ready", "The server is about to end.")
        if self.n_open >= self.limits.n_streams:
            raise busy(f"{self.n_open} streams are open; come back later.")

    async def drain(self) -> None:
        """Have each stream judged as far as it came, and closed; no other is let in."""
        self.draining.set()
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.n_open and time.monotonic() < deadline:
            await asyncio.sleep(0.05)

    @contextmanager
    def drained_first(self) -> Iterator[None]:
        """While this is open, a signal that ends the server drains the streams before the server hears of it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop, tasks = asyncio.get_running_loop(), set()

        async def drain(go_on: Callable[[], object]) -> None:
            await self.drain()
            go_on()

        def ended(number: int, frame: FrameType | None) -> None:
            go_on = partial(before[signal.Signals(number)], number, frame)
            if self.draining.is_set() or not self.n_open:
                go_on()
            else:
                loop.call_soon_threadsafe(lambda: tasks.add(loop.create_task(drain(go_on))))

        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
        for number in before:
            signal.signal(number, ended)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, scope: Scope, connection: Connection, seconds: float) -> None:
        """One line in the log and one in the metrics, as of a request."""
        route = PATH if scope["path"] == PATH else "unmatched"
        self.metrics.requests.labels("WEBSOCKET", route, connection.status).inc()
        if problem := connection.problem:
            self.metrics.problems.labels(problem).inc()
        facts = {
            "request_id": connection.request_id,
            "method": "WEBSOCKET",
            "route": route,
            "status": connection.status,
        }
        facts |= {"problem": problem, "bytes": connection.n_bytes, "seconds": round(seconds, 4)}
        log.info("request", extra={"facts": {name: value for name, value in facts.items() if value is not None}})


class Gone(Exception):
    """The client has left, or does not read what it is sent."""


class Connection:
    """One stream.

    Attributes:
        status: The code it was closed with, or the status of the refusal; 1006 if the client left.
        problem: Its kind, if there was one.
        n_bytes: Of samples, that have come.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, streams: Streams) -> None:
        self.streams, self.limits, self.service = streams, streams.limits, streams.service
        self.request_id = request_id(scope)
        self.status, self.n_bytes = 1006, 0
        self.problem: str | None = None
        self._scope, self._receive, self._send = scope, receive, send
        self._waited, self._audio_seconds = 0.0, 0.0

    async def deny(self, problem: Problem) -> None:
        """Refuse to connect; where the server cannot say why, it says 403."""
        self.problem, self.status = problem.name, problem.kind.status
        with suppress(Gone):
            await self._deny(problem)

    async def _deny(self, problem: Problem) -> None:
        if "websocket.http.response" not in self._scope.get("extensions", {}):
            await self._put({"type": "websocket.close", "code": 1008, "reason": type_of(problem.name)})
            return
        headers = {"Content-Type": MEDIA_TYPE, "X-Request-ID": self.request_id, "Cache-Control": "no-store"}
        encoded = [(name.lower().encode(), text.encode()) for name, text in {**headers, **problem.headers}.items()]
        start = {"type": "websocket.http.response.start", "status": self.status, "headers": encoded}
        await self._put(start)
        await self._put({"type": "websocket.http.response.body", "body": problem.body(self.request_id)})

    async def serve(self) -> None:
        """Answer until the audio ends, or something is wrong."""
        with suppress(Gone):
            await self._put({"type": "websocket.accept", "headers": [(b"x-request-id", self.request_id.encode())]})
            try:
                await self._close(await self._judge())
            except Gone:
                raise
            except (Problem, InputError) as error:
                await self._fail(_problem(error))
            except Exception as error:
                facts = {"request_id": self.request_id}
                log.error("%s", "an error of the server", exc_info=error, extra={"facts": facts})
                await self._fail(Problem("internal", "The server made an error; its log has it under this id."))

    async def _judge(self) -> int:
        """Judge what comes, and return the code to close with."""
        if (first := await self._next())["type"] == DRAIN:
            raise Problem("not-ready", "The server is about to end.")
        if (text := first.get("text")) is None:
            raise Problem("invalid-request", "A header was expected first, as text: JSON with sample_rate.")
        header = _header(text)
        sound = Info(None, header.sample_rate, header.channels, "stream", FORMATS[header.format], None)
        live, pcm = self.service.live(NAME, sound, header.hop), Pcm(sound.subtype, sound.channels)
        while (data := (message := await self._next()).get("bytes")) is not None:
            self._count(len(data))
            for i in range(0, len(data), PIECE):
                frames = pcm.take(data[i : i + PIECE])
                self._audio_seconds += len(frames) / sound.sample_rate
                await self._rows(await self.service.heard(live, frames))
        drained = message["type"] == DRAIN
        if not drained and _json(message["text"]) != {"end": True}:
            raise Problem("invalid-request", 'Samples, or {"end": true} as text, were expected.')
        await self._verdict(live)
        return GOING_AWAY if drained else DONE

    def _count(self, n: int) -> None:
        self.n_bytes += n
        if self.n_bytes > (most := self.limits.n_bytes):
            raise Problem("too-large", f"At most {most} bytes are accepted; begin another stream.", limit=most)

    async def _rows(self, rows: list[Row]) -> None:
        for row in rows:
            await self._say({"type": "row", **row._asdict()})

    async def _verdict(self, live: LiveAssessment) -> None:
        rows, prediction = await self.service.ended(live)
        await self._rows(rows)
        await self._say({"type": "verdict", **prediction})

    async def _next(self) -> Message:
        """The next message; one of the type `DRAIN` where the server is about to end.

        Raises:
            Problem: It does not come in time.
            Gone: The client has left.
        """
        limits, asked = self.limits, time.monotonic()
        left = limits.grace_seconds + 2 * self._audio_seconds - self._waited
        receiving: asyncio.Future[Message] = asyncio.ensure_future(self._receive())
        draining = asyncio.ensure_future(self.streams.draining.wait())
        wait = {"timeout": max(0.001, min(left, limits.idle_seconds)), "return_when": asyncio.FIRST_COMPLETED}
        try:
            done, _ = await asyncio.wait({receiving, draining}, **wait)
        finally:
            for task in (receiving, draining):
                task.cancel()
        self._waited += time.monotonic() - asked
        if receiving in done:
            message = receiving.result()
            if message["type"] == "websocket.disconnect":
                raise Gone
            return message
        if draining in done:
            return {"type": DRAIN}
        raise Problem("too-slow", "Samples are expected no slower than at half their own rate; in pauses send silence.")

    async def _say(self, content: dict[str, object]) -> None:
        await self._put({"type": "websocket.send", "text": json.dumps(content, ensure_ascii=False, allow_nan=False)})

    async def _fail(self, problem: Problem) -> None:
        self.problem = problem.name
        await self._say(problem.content(self.request_id))
        await self._close(CODES.get(problem.kind.status, 1008), type_of(problem.name))

    async def _close(self, code: int, reason: str = "") -> None:
        reason = type_of("not-ready") if code == GOING_AWAY else reason
        self.status = code
        await self._put({"type": "websocket.close", "code": code, "reason": reason})

    async def _put(self, message: Message) -> None:
        """Send a message.

        Raises:
            Gone: The client has left, or reads nothing.
        """
        try:
            await asyncio.wait_for(self._send(message), self.limits.grace_seconds)
        except Exception as error:  # each server has its own for a connection that is closed
            raise Gone from error


def _problem(error: Problem | InputError) -> Problem:
    if isinstance(error, Problem):
        return error
    return Problem("beyond-limits" if isinstance(error, BeyondLimits) else "unusable-audio", str(error))


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _header(text: str) -> StreamHeader:
    if len(text) > MOST_HEADER:
        raise Problem("too-large", f"A header of at most {MOST_HEADER} characters is accepted.", limit=MOST_HEADER)
    try:
        return StreamHeader.model_validate_json(text)
    except ValidationError as error:
        faults = [{"location": list(fault["loc"]), "message": fault["msg"]} for fault in error.errors()]
        where = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'header'}: {fault['msg']}" for fault in error.errors())
        raise Problem("invalid-request", where, errors=faults) from error
