"""What serving costs: `python experiments/benchmarks/serve.py RUN FOLDER [--requests 1000] [--clients 64]`.

RUN is a run folder, FOLDER has recordings. A server is started, and measured against the same detector in this process:
latency of one client against the network's own time, throughput of eight against `deepfake predict`. Then many clients
send good and bad requests together; every good one must get its own file's score, every bad one its own problem.
"""

from __future__ import annotations

import argparse
import collections
import io
import os
import random
import socket
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import requests
import soundfile
import torch

from deepfake.allocator import keep_freed_memory
from deepfake.audio import load
from deepfake.commands.predict import predict
from deepfake.detector import Detector

ROUNDS = 15
MAIN = "import sys; from deepfake.cli import main; sys.exit(main())"
MULTIPART = "Content-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.wav"\r\n\r\n'


class Server:
    """`deepfake serve` in a process of its own."""

    def __init__(self, run: Path, folder: Path) -> None:
        self.log, self.temporary = folder / "log", folder / "tmp"
        self.temporary.mkdir()
        command = [sys.executable, "-c", MAIN, "serve", "--run", str(run), "--port", "0", "--device", "cpu"]
        environment = {**os.environ, "TMPDIR": str(self.temporary)}
        self.process = psutil.Popen(command, stderr=self.log.open("w"), env=environment)
        while "startup complete" not in self.log.read_text():
            if self.process.poll() is not None:
                sys.exit(self.log.read_text())
            time.sleep(0.05)
        self.url = next(line for line in self.log.read_text().splitlines() if line.startswith("http"))

    def post(self, content: bytes, name: str = "file", path: str = "/predict") -> requests.Response:
        return requests.post(self.url + path, files={name: ("../../x.wav", content)}, timeout=600)

    def raw(self, head: str, pieces: list[bytes], pause: float = 0.0) -> str:
        """The type of the problem that a request made by hand is answered with."""
        host, port = self.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=600) as connection:
            try:
                connection.sendall(f"POST /predict HTTP/1.1\r\nHost: x\r\n{MULTIPART}{head}\r\n".encode())
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
            except OSError:
                pass  # the answer is there
            text = b""
            while b'"instance"' not in text and (piece := connection.recv(65_536)):
                text += piece
        return text.split(b"urn:problem-type:deepfake:")[1].split(b'"')[0].decode()

    def resident(self) -> float:
        """MiB of the server, without its decoding processes."""
        return self.process.memory_info().rss / 2**20


def clip_of(path: Path) -> bytes:
    """Four seconds of a recording, as WAV."""
    waveform = load(path, seconds=4.0)
    file = io.BytesIO()
    soundfile.write(file, waveform.repeat(1 + 64_000 // len(waveform))[:64_000].numpy(), 16_000, format="WAV")
    return file.getvalue()


def seconds_of(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    work()
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def latency(server: Server, detector: Detector, clip: bytes) -> None:
    samples, _ = soundfile.read(io.BytesIO(clip), dtype="float32")
    waveform = torch.from_numpy(samples)
    network = seconds_of(lambda: detector.score_blocks([waveform], "the clip"))
    served = seconds_of(lambda: server.post(clip).raise_for_status())
    health = seconds_of(lambda: requests.get(f"{server.url}/health"))
    print(f"4 s clip, one client: {served / network:.2f} x the network's own time ({1e3 * network:.0f} ms)")
    print(f"    of it {1e3 * (served - network):.0f} ms around it; GET /health takes {1e3 * health:.0f} ms")


def throughput(server: Server, run: Path, files: list[Path]) -> dict[Path, float]:
    """The scores by `predict`."""
    contents = [path.read_bytes() for path in files]
    start = time.perf_counter()
    _, rows = predict(run, files, device=torch.device("cpu"))
    alone = time.perf_counter() - start
    start = time.perf_counter()
    with ThreadPoolExecutor(8) as clients:
        answers = [answer.json() for answer in clients.map(server.post, contents)]
    served = time.perf_counter() - start
    print(
        f"{len(files)} files, eight clients: {alone / served:.2f} x the throughput of predict (detector loaded by it)"
    )
    scores = {path: row["score"] for path, row in zip(files, rows, strict=True) if "score" in row}
    assert all(answer["score"] == scores[path] for path, answer in zip(files, answers, strict=True))
    return scores


def problem_of(answer: requests.Response) -> str:
    return answer.json()["type"].rpartition(":")[2]


def bad_requests(server: Server, good: bytes) -> dict[str, tuple[str, Callable[[], str]]]:
    """By name: the problem that is expected, and what is sent."""

    def posted(content: bytes, name: str = "file") -> Callable[[], str]:
        return lambda: problem_of(server.post(content, name))

    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.wav", bytes(50_000_000))
    first, chunk = b"%x\r\n%s\r\n" % (len(PART), PART), b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    return {
        "text": ("not-audio", posted(b"no audio " * 1000)),
        "empty": ("not-audio", posted(b"")),
        "ZIP bomb": ("not-audio", posted(bomb.getvalue())),
        "truncated": ("unusable-audio", posted(good[: len(good) // 2])),
        "missing part": ("invalid-request", posted(good, "other")),
        "101 MB": ("too-large", lambda: server.raw("Content-Length: 101000000\r\n", [PART + good])),
        "no multipart": (
            "not-multipart",
            lambda: requests.post(f"{server.url}/predict", data=good).json()["type"][26:],
        ),
        "without end": ("too-large", lambda: server.raw("Transfer-Encoding: chunked\r\n", [first, *[chunk] * 97])),
        "slow": ("too-slow", lambda: server.raw("Content-Length: 99999\r\n", [PART, *[b"x"] * 50], pause=0.5)),
    }


def crowd(server: Server, scores: dict[Path, float], n_requests: int, n_clients: int) -> None:
    rng, files = random.Random(0), list(scores)
    bad = bad_requests(server, files[0].read_bytes())
    heavy = ["without end", "slow"]  # each once a hundred
    light = [name for name in bad if name not in heavy]

    def right() -> tuple[str, bool]:
        path = rng.choice(files)
        answer = server.post(path.read_bytes())
        return "good", answer.status_code == 200 and answer.json()["score"] == scores[path]

    def wrong() -> tuple[str, bool]:
        name = rng.choice(heavy) if rng.random() < 0.02 else rng.choice(light)
        expected, send = bad[name]
        got = send()
        return (name, True) if got == expected else (f"{name}: {got}", False)

    for _ in range(20):
        right()
    before, start = server.resident(), time.perf_counter()
    with ThreadPoolExecutor(n_clients) as clients:
        found = list(clients.map(lambda i: right() if i % 2 else wrong(), range(n_requests)))
    seconds = time.perf_counter() - start
    time.sleep(4)
    print(f"{n_requests} requests of {n_clients} clients, half of them bad, in {seconds:.0f} s:")
    for (name, well), n in sorted(collections.Counter(found).items()):
        print(f"    {name}: {n} {'as expected' if well else 'WRONG'}")
    print(
        f"    memory {before:.0f} -> {server.resident():.0f} MiB; files left: {len(list(server.temporary.iterdir()))}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--files", type=int, default=40)
    given = parser.parse_args()
    keep_freed_memory()  # as both commands do
    files = sorted(path for path in given.folder.rglob("*") if path.suffix in (".flac", ".wav"))[: given.files]
    detector = Detector.load(given.run)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(given.run, Path(folder))
        try:
            start = server.process.cpu_times()
            print(f"cold start: {start.user + start.system:.1f} s of CPU")
            latency(server, detector, clip_of(files[0]))
            crowd(server, throughput(server, given.run, files), given.requests, given.clients)
        finally:
            server.process.terminate()
            server.process.wait(60)


if __name__ == "__main__":
    main()
