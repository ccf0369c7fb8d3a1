"""A crowd of clients, half of whose requests are bad, and a server some of whose processes are killed meanwhile."""

from __future__ import annotations

import collections
import http.client
import json
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
import requests
import torch
from serve_files import bombs, damaged, hostile, zip_bomb

from deepfake.commands.predict import predict

MAIN = "import sys; from deepfake.cli import main; sys.exit(main())"
HEADERS = {"Content-Type": "multipart/form-data; boundary=b"}
MULTIPART = "Content-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.wav"\r\n\r\n'
END = b"\r\n--b--\r\n"
TYPE = "urn:problem-type:deepfake:"
OF_FILES = ("not-audio", "unusable-audio", "beyond-limits")
NAMES = (
    *(
        "../../etc/passwd",
        "/dev/zero",
        "/proc/self/mem",
        "..\\x.wav",
        "..%2f..%2fx.wav",
        "-rf.wav",
        "$(touch pwned).wav",
    ),
    *("new\nline.wav", "nul\0.wav", "=cmd|'x'!A1.wav", "\x1b[31mred.wav", "名前 🎙.wav", '"quoted" \'.wav', "x" * 3_000),
)
MORE_MEMORY = 1.05  # that a server may hold after a crowd: its allocator keeps what it has once had
SETTLED_SECONDS = 4.0  # after a refusal the server reads on for 3 s
Answer = float | str  # a score or a problem


class Request(NamedTuple):
    """What a client sends.

    Attributes:
        kind: Under which it is counted.
        expected: The answers that are right.
        send: Sends it, and returns the answer.
        slow: Whether it takes long, and is sent once.
    """

    kind: str
    expected: tuple[Answer, ...]
    send: Callable[[], Answer]
    slow: bool = False


class Server:
    """`deepfake serve` in a process of its own."""

    def __init__(self, run: Path, folder: Path, workers: int = 1) -> None:
        folder.mkdir(exist_ok=True)
        self.log, self.temporary = folder / "log", folder / "tmp"
        self.temporary.mkdir()
        command = [sys.executable, "-c", MAIN, "serve", "--run", str(run), "--port", "0", "--device", "cpu"]
        environment = {**os.environ, "TMPDIR": str(self.temporary)}
        command += ["--workers", str(workers)]
        self.process = psutil.Popen(command, stderr=self.log.open("w"), env=environment)
        while self.log.read_text().count("startup complete") < workers:
            if self.process.poll() is not None:
                sys.exit(self.log.read_text())
            time.sleep(0.05)
        self.url = next(line for line in self.log.read_text().splitlines() if line.startswith("http"))

    def end(self) -> int:
        """Tell it to end, and return its exit code."""
        self.process.terminate()
        return self.process.wait(60)

    def post(
        self, content: bytes, name: str = "file", file_name: str = "x.wav", path: str = "/predict"
    ) -> requests.Response:
        return requests.post(self.url + path, files={name: (file_name, content)}, timeout=600)

    def quick(self, content: bytes) -> float:
        """The score of a good file, asked for by a client that costs little beside the server."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=600)
        try:
            connection.request("POST", "/predict", PART + content + END, HEADERS)
            return json.loads(connection.getresponse().read())["score"]
        finally:
            connection.close()

    def answer(self, content: bytes, **how: str) -> Answer:
        """The score of a file, or the problem that it is."""
        return answer_of(self.post(content, **how))

    def raw(self, head: str, pieces: list[bytes], pause: float = 0.0) -> Answer:
        """The answer to a request made by hand."""
        host, port = self.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=600) as connection:
            try:
                connection.sendall(f"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n".encode())
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
            except OSError:
                pass  # the answer is there
            text = b""
            while b'"instance"' not in text and (piece := connection.recv(65_536)):
                text += piece
        if (at := text.find(TYPE.encode())) >= 0:
            return text[at + len(TYPE) :].split(b'"')[0].decode()
        return json.loads(text.partition(b"\r\n\r\n")[2])["score"]

    def state(self) -> tuple[float, int, int]:
        """MiB of the server without its decoding processes, its open files, and its processes."""
        return (
            self.process.memory_info().rss / 2**20,
            self.process.num_fds(),
            len(self.process.children(recursive=True)),
        )

    def left(self) -> list[str]:
        """What lies in its temporary folder."""
        return [path.name for path in self.temporary.iterdir() if not path.name.startswith("torchinductor_")]  # torch's


def answer_of(answer: requests.Response) -> Answer:
    found = answer.json()
    return found["score"] if answer.status_code == 200 else found["type"].removeprefix(TYPE)


def predicted(run: Path, folder: Path, contents: dict[str, bytes]) -> dict[str, Answer]:
    """By name: the score that `deepfake predict` gives a file, or its error."""
    folder.mkdir()
    paths = [folder / f"{i}.bin" for i in range(len(contents))]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content)
    predict(run, paths, device=torch.device("cpu"), output=folder / "rows.json")
    rows = {row["file"]: row for row in json.loads((folder / "rows.json").read_text())}
    return {name: rows[str(path)].get("score", "an error") for name, path in zip(contents, paths, strict=True)}


def files_to_send(server: Server, run: Path, folder: Path, n_damaged: int) -> list[Request]:
    """Hostile files, those that are large when decoded, and damaged ones; each answer is that of `predict`."""
    lying, large, broken = hostile(), bombs(), dict(damaged(n_damaged))
    expected = {name: wanted for name, (wanted, _) in (lying | large).items()}
    contents = {name: content for name, (_, content) in (lying | large).items()} | broken
    found = []
    for name, score in predicted(run, folder, contents).items():
        refused = isinstance(score, str)
        if name in expected and refused == (expected[name] == "score"):
            raise SystemExit(f"{name}: {expected[name]} was expected, predict says {score}")
        answers = (score,) if not refused else (expected[name],) if name in expected else OF_FILES
        kind = name if name in expected else "damaged, refused" if refused else "damaged, but decoded"
        found.append(Request(kind, answers, partial(server.answer, contents[name]), name in large))
    return found


def requests_to_send(server: Server, good: bytes, score: float) -> list[Request]:
    """Requests that are wrong, or whose file has a name that is none."""

    def by_hand(kind: str, expected: Answer, head: str, pieces: list[bytes], pause: float = 0.0) -> Request:
        return Request(kind, (expected,), lambda: server.raw(MULTIPART + head, pieces, pause), slow=len(pieces) > 2)

    def asked(kind: str, expected: Answer, method: str = "POST", path: str = "/predict", **how: object) -> Request:
        return Request(kind, (expected,), lambda: answer_of(requests.request(method, server.url + path, **how)))  # type: ignore[arg-type]

    def named(name: str) -> Request:
        content = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n--b--\r\n'
        quoted = name.replace("\\", "\\\\").replace('"', "%22").replace("\n", "%0A").encode()
        body = content % (quoted, good)
        return by_hand("a name like a path or worse", score, f"Content-Length: {len(body)}\r\n", [body])

    whole = PART + good
    first, chunk = b"%x\r\n%s\r\n" % (len(PART), PART), b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    steady = [whole[i : i + len(whole) // 8 + 1] for i in range(0, len(whole), len(whole) // 8 + 1)] + [END]
    return [
        *map(named, NAMES),
        asked("JSON", "not-multipart", json={"file": "x"}),
        asked("a form", "not-multipart", data={"file": "x"}),
        asked("bare bytes", "not-multipart", data=good),
        asked("nothing", "not-multipart"),
        asked("another part", "invalid-request", files={"other": good}),
        asked("text as file", "invalid-request", files={"file": (None, "text")}),
        asked("a number for a switch", "invalid-request", path="/predict?timeline=7.5", files={"file": good}),
        asked("33 parts", "too-many-parts", path="/predict/batch", files=[("files", b"x")] * 33),
        asked("a name of 5,000 letters", "bad-request", files={"file": ("x" * 5_000, good)}),
        asked("no boundary", "bad-request", data=b"x", headers={"Content-Type": "multipart/form-data"}),
        asked("another method", "method-not-allowed", method="DELETE"),
        asked("another address", "not-found", path="/../../etc/passwd", files={"file": good}),
        asked("ZIP bomb called .wav", "not-audio", files={"file": ("x.wav", zip_bomb(), "audio/wav")}),
        by_hand("101 MB", "too-large", "Content-Length: 101000000\r\n", [whole]),
        by_hand("a chunk that is none", "bad-request", "Transfer-Encoding: chunked\r\n", [b"zz\r\n"]),
        by_hand("slow, but fast enough", score, f"Content-Length: {len(whole + END)}\r\n", steady, 0.2),
        by_hand("chunks without end", "too-large", "Transfer-Encoding: chunked\r\n", [first, *[chunk] * 97]),
        by_hand("too slow", "too-slow", "Content-Length: 99999\r\n", [PART, *[b"x"] * 50], 0.5),
    ]  # fmt: skip


def sent_well(server: Server, good: dict[bytes, float]) -> list[Request]:
    return [Request("good", (score,), partial(server.answer, content)) for content, score in good.items()]


def leave(server: Server, good: bytes) -> Answer:
    """Close the connection in the middle of a body; nobody reads the answer."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\n{MULTIPART}Content-Length: {len(good) + 500}\r\n\r\n"
        connection.sendall(head.encode() + PART + good[: len(good) // 2])
    return "left"


def crowd(server: Server, run: Path, folder: Path, good: dict[bytes, float], n_requests: int, n_clients: int) -> bool:
    """Whether every answer was right, and nothing is left of the requests."""
    n_bad, (content, score) = n_requests // 2, next(iter(good.items()))
    other = [*requests_to_send(server, content, score), Request("left", ("left",), lambda: leave(server, content))]
    once = [*other, *other[-3:] * 3, *files_to_send(server, run, folder, n_bad // 2)]
    again = [request for request in once if not request.slow]
    bad = [*once, *again * (n_bad // len(again) + 1)][:n_bad]
    random.Random(0).shuffle(bad)
    if len(bad) < len(once):
        print(f"{n_bad} bad requests are too few for the {len(once)} that there are", file=sys.stderr)
    ours = sent_well(server, good)
    todo = [request for i, wrong in enumerate(bad) for request in (ours[i % len(ours)], wrong)]
    with ThreadPoolExecutor(n_clients) as clients:
        first = [*(request for request in once if request.slow), *todo[: n_requests // 4]]
        found = list(clients.map(answered, first))  # until it has had what such a crowd takes
        time.sleep(SETTLED_SECONDS)
        before, start = server.state(), time.perf_counter()
        found += clients.map(answered, todo)
        seconds = time.perf_counter() - start
        time.sleep(SETTLED_SECONDS)
    after, left = server.state(), server.left()
    print(f"{len(todo)} requests of {n_clients} clients, half of them bad, in {seconds:.0f} s:")
    tell(found)
    print(f"    memory {before[0]:.0f} -> {after[0]:.0f} MiB, open files {before[1]} -> {after[1]}, ", end="")
    print(f"processes {before[2]} -> {after[2]}, files left {left}")
    well = after[0] <= MORE_MEMORY * before[0] and before[2] == after[2] and not left
    well &= after[1] <= before[1] + 4  # of pipes and threads that wait for work
    return well and all(right for _, right in found)


def answered(request: Request) -> tuple[str, bool]:
    """Under which name an answer is counted, and whether it is right."""
    try:
        answer = request.send()
    except Exception as error:  # of whatever kind: no answer
        answer = f"{type(error).__name__}: {error}"
    right = answer in request.expected
    return (request.kind, True) if right else (f"{request.kind}: {answer} where {request.expected} was expected", False)


def tell(found: list[tuple[str, bool]]) -> None:
    for (name, well), n in sorted(collections.Counter(found).items()):
        print(f"    {name}: {n} {'as expected' if well else 'WRONG'}")


@contextmanager
def busy(server: Server, good: dict[bytes, float], n_clients: int = 8) -> Iterator[list[tuple[str, bool]]]:
    """Clients who send good requests meanwhile; their answers."""
    ended, found = threading.Event(), list[tuple[str, bool]]()
    todo = sent_well(server, good)

    def ask(first: int) -> None:
        while not ended.is_set():
            for request in todo[first:] + todo[:first]:
                if not ended.is_set():
                    found.append(answered(request))

    threads = [threading.Thread(target=ask, args=(i % len(todo),)) for i in range(n_clients)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def killed_decoders(server: Server, good: dict[bytes, float], long: bytes) -> bool:
    """Kill a process that decodes, then the parent of all of them; whether only the one request noticed."""
    with busy(server, good) as found, ThreadPoolExecutor(1) as client:
        asked = client.submit(server.answer, long)
        while not (long_at_it := decoding(server, 0.3)) and not asked.done():
            time.sleep(0.02)
        for child in long_at_it:
            child.kill()
        found.append(("the one whose process was killed", asked.result() == "decoder-ended"))
        time.sleep(1)
        server.process.children()[0].kill()
        time.sleep(3)
    print("a decoding process killed, then the parent of them, while eight clients send good requests:")
    tell(found)
    return all(right for _, right in found)


def decoding(server: Server, seconds: float) -> list[psutil.Process]:
    """The processes that decode, and have taken so many seconds."""
    found = []
    for child in server.process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.parent() != server.process and child.cpu_times().user > seconds:
                found.append(child)
    return found


def killed_worker(run: Path, folder: Path, good: dict[bytes, float]) -> bool:
    """Kill one of two workers; whether at most what it had in work failed, and two work on."""
    server = Server(run, folder, workers=2)
    try:
        with busy(server, good) as found:
            time.sleep(3)
            workers = [child for child in server.process.children() if child.children()]
            workers[0].kill()
            time.sleep(1)
            n_before = len(found)
            while server.log.read_text().count("startup complete") < 3:
                time.sleep(0.1)
            time.sleep(2)
        lost = [name for name, right in found if not right]
        clear = all("ConnectionError" in name or "ChunkedEncoding" in name for name in lost)
        late = [name for name, right in found[n_before:] if not right]
        print(f"one of two workers killed: {len(lost)} of {len(found)} requests had their connection closed")
        well = clear and len(lost) <= 8 and not late and server.end() == 0
        print(f"    {'nobody else noticed, and another one took its place' if well else f'WRONG: {lost} {late}'}")
        return well
    finally:
        if server.process.poll() is None:
            server.end()
