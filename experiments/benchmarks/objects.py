"""A crop from an archive over HTTP and from the disk: `python experiments/benchmarks/objects.py FOLDER [--rounds 5]`.

FOLDER holds recordings, of which the first 64 are packed into an archive. It is served by a web server on this machine,
in a process of its own, which is no object store: there is neither distance, nor TLS, nor anybody else. `--latency` has
it wait before each answer. CPU and wall time of the process that reads, the two sides in turn, median of the rounds
with their range; then the crops a second of several processes, each of which waits for itself.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import statistics
import tempfile
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import torch

from deepfake.audio import load_clip
from deepfake.datasets import shards
from deepfake.datasets.folder import audio_below
from deepfake.datasets.utterance import Utterance

N_FILES, N_SAMPLES = 64, 64_600


class Ranges(BaseHTTPRequestHandler):
    """Parts of the files in a folder."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # a header and its body at once
    folder, latency = Path(), 0.0

    def do_GET(self) -> None:
        path = self.folder / self.path.lstrip("/")
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(found[1]), int(found[2])) if found else (0, path.stat().st_size - 1)
        with path.open("rb") as file:
            file.seek(first)
            data = file.read(last - first + 1)
        time.sleep(self.latency)
        self.send_response(206 if found else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def crops(paths: Sequence[str], n: int) -> tuple[float, float]:
    """CPU and wall time of `n` crops, in seconds."""
    rng, cpu, wall = np.random.default_rng(0), time.process_time(), time.perf_counter()
    for i in range(n):
        load_clip(paths[i % len(paths)], n_samples=N_SAMPLES, rng=rng)
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds before each answer")
    parser.add_argument("--processes", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    files = [str(path) for path in audio_below(arguments.folder)[:N_FILES]]
    with tempfile.TemporaryDirectory() as folder:
        listed = [Utterance(str(i), file, i % 2, partition="train") for i, file in enumerate(files)]
        shards.write_shards(listed, Path(folder), megabytes=1000)
        Ranges.folder, Ranges.latency = Path(folder), arguments.latency / 1e3
        with ThreadingHTTPServer(("127.0.0.1", 0), Ranges) as server:
            fork = multiprocessing.get_context("fork")
            serving = fork.Process(target=server.serve_forever, daemon=True)
            serving.start()
            roots = {"disk": folder, "HTTP": f"http://127.0.0.1:{server.server_port}"}
            paths = {name: [u.path for u in shards.utterances("train", root=root)] for name, root in roots.items()}
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in paths}
            for some in paths.values():
                crops(some, N_FILES)
            for _ in range(arguments.rounds):
                for name, some in paths.items():
                    times[name].append(crops(some, N_FILES))
            with fork.Pool(arguments.processes) as pool:
                pool.starmap(crops, [(paths["HTTP"], 8)] * arguments.processes)  # connections are made
                start = time.perf_counter()
                pool.starmap(crops, [(paths["HTTP"], 2 * N_FILES)] * arguments.processes, chunksize=1)
                rate = arguments.processes * 2 * N_FILES / (time.perf_counter() - start)
            serving.terminate()
            serving.join()
    print(f"| a crop from an archive, {arguments.latency:g} ms before each answer | ms of CPU | ms |\n|---|---|---|")
    for name, each in times.items():
        columns = ([1e3 * pair[i] / N_FILES for pair in each] for i in (0, 1))
        cells = (f"{statistics.median(c):.2f} ({min(c):.2f} to {max(c):.2f})" for c in columns)
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\n{arguments.processes} processes: {rate:.0f} crops a second over HTTP")


if __name__ == "__main__":
    main()
