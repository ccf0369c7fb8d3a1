"""What serving costs: `python experiments/benchmarks/serve.py RUN FOLDER [--requests 1000] [--clients 64]`.

RUN is a run folder, FOLDER has recordings. A server is started, and measured against the same detector in this process:
latency of one client against the network's own time, throughput of eight against `deepfake predict`. Then many clients
send good and bad requests together; every good one must get its own file's score, every bad one its own problem. Last,
processes of the server are killed during requests. What is not as expected is told as WRONG, and is exit code 1.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
import soundfile
import torch
from serve_crowd import Server, crowd, killed_decoders, killed_worker
from serve_files import silence

from deepfake.allocator import keep_freed_memory
from deepfake.audio import load
from deepfake.commands.predict import row
from deepfake.detector import Detector
from deepfake.forensics.assess import assess
from deepfake.runs.provenance import score_range

ROUNDS = 15


def clip_of(path: Path) -> bytes:
    """Four seconds of a recording, as WAV."""
    waveform = load(path, seconds=4.0)
    file = io.BytesIO()
    soundfile.write(file, waveform.repeat(1 + 64_000 // len(waveform))[:64_000].numpy(), 16_000, format="WAV")
    return file.getvalue()


def seconds_of(*works: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """The median of each, measured in turn."""
    found: list[list[float]] = [[] for _ in works]
    for i in range(rounds + 2):
        for work, taken in zip(works, found, strict=True):
            start = time.perf_counter()
            work()
            if i > 1:  # the first ones are slow
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in found]


def latency(server: Server, detector: Detector, clip: bytes) -> None:
    samples, _ = soundfile.read(io.BytesIO(clip), dtype="float32")
    waveform = torch.from_numpy(samples)
    network, assessed, served, health = seconds_of(
        lambda: detector.score_blocks([waveform], "the clip"),
        lambda: row(assess(detector, clip)),
        lambda: server.quick(clip),
        lambda: requests.get(f"{server.url}/health"),
    )
    print(f"4 s clip, one client: {served / network:.2f} x the network's own time ({1e3 * network:.0f} ms)")
    print(
        f"    of it {1e3 * (served - network):.0f} ms around it: {1e3 * (assessed - network):.0f} ms of `predict` too, "
    )
    print(f"    {1e3 * (served - assessed):.0f} ms of the server; GET /health takes {1e3 * health:.0f} ms")


def throughput(server: Server, run: Path, detector: Detector, files: list[Path]) -> dict[bytes, float]:
    """By content of a file: its score, as `predict` has it."""
    contents = [path.read_bytes() for path in files]

    def alone() -> list[float]:
        return [assess(detector, path, score_range=score_range(run, detector)).score for path in files]

    def served() -> list[float]:
        with ThreadPoolExecutor(8) as clients:
            return list(clients.map(server.quick, contents))

    scores = alone()
    assert served() == scores
    one, eight = seconds_of(alone, served, rounds=3)
    print(f"{len(files)} files, eight clients: {one / eight:.2f} x the throughput of predict's loop on them")
    return dict(zip(contents, scores, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=1000, help="0 for the timings alone")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--files", type=int, default=40)
    given = parser.parse_args()
    keep_freed_memory()  # as both commands do
    files = sorted(path for path in given.folder.rglob("*") if path.suffix in (".flac", ".wav"))[: given.files]
    detector = Detector.load(given.run)
    with tempfile.TemporaryDirectory() as temporary:
        folder, well = Path(temporary), True
        server = Server(given.run, folder / "one")
        try:
            start = server.process.cpu_times()
            print(f"cold start: {start.user + start.system:.1f} s of CPU")
            latency(server, detector, clip_of(files[0]))
            good = throughput(server, given.run, detector, files)
            if given.requests:
                well &= crowd(server, given.run, folder / "bad", good, given.requests, given.clients)
                well &= killed_decoders(server, good, silence(240, rate=192_000, channels=8))
            well &= server.end() == 0
        finally:
            if server.process.poll() is None:
                server.end()
        if given.requests:
            well &= killed_worker(given.run, folder / "two", good)
    sys.exit(not well)


if __name__ == "__main__":
    main()
