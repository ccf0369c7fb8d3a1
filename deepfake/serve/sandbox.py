"""The processes in which untrusted files are decoded: without torch, without the server's memory, ended in time.

A parent of them imports the decoders once and then only forks: a child decodes one file, under limits of its own, and
ends. What it found goes back through a pipe: a line of JSON, the samples, a line of JSON; nothing is pickled.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np

from deepfake.audio.mono import BeyondLimits
from deepfake.errors import InputError
from deepfake.forensics.reading import reading

COUNT = struct.Struct("<I")  # samples of the block that follows; 0 after the last one
MORE_MEMORY = 768 << 20  # bytes of address space beyond what the parent has: 8 channels at 192 kHz need a quarter
NAME = "the recording"


def main(descriptor: int) -> None:
    """Fork a child for each request that comes through a socket, until it is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _warm_up()
    with socket.socket(fileno=descriptor) as requests:
        requests.send(b"ready\n")
        while True:
            message, descriptors, _, _ = socket.recv_fds(requests, 4096, 2)
            if not message:
                return
            if (child := os.fork()) == 0:
                requests.close()
                _child(*descriptors, **json.loads(message))
            for descriptor in descriptors:
                os.close(descriptor)
            requests.send(b"%d\n" % child)


def _warm_up() -> None:
    """Import whatever a child would import, each anew: all that decoding needs, and PyAV where it is installed."""
    with suppress(ImportError):
        import_module("av")
    with reading((0.1 * np.sin(np.arange(8000.0)), 8000), sample_rate=16_000, seconds=1) as opened:
        _ = [*opened.blocks], opened.quality()


def _child(file: int, pipe: int, *, sample_rate: int, max_seconds: float, cpu_seconds: int) -> None:
    """Decode one file; this never returns."""
    try:
        os.setsid()
        _limit(cpu_seconds)
        with os.fdopen(pipe, "wb") as out:
            _decode(f"/dev/fd/{file}", out, sample_rate, max_seconds)
    finally:
        os._exit(0)


def _limit(cpu_seconds: int) -> None:
    limits = {
        resource.RLIMIT_AS: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + MORE_MEMORY,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform.startswith("linux"):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + MORE_MEMORY
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))


def _decode(path: str, out: IO[bytes], sample_rate: int, max_seconds: float) -> None:
    """Write what an assessment needs of a file, or what is wrong with it."""
    found: dict[str, Any] = {"problem": "not-audio"}  # until its header could be read
    try:
        with reading(path, sample_rate=sample_rate, seconds=600) as opened:
            found = {"problem": "unusable-audio"}
            _line(out, {"header": asdict(opened.header), "digest": opened.digest})
            for block in _limited(opened.blocks, round(max_seconds * sample_rate), max_seconds):
                out.write(COUNT.pack(len(block)))
                out.write(block.astype("<f4", copy=False).tobytes())
            found = {"notes": [note._asdict() for note in opened.notes], "quality": dict(opened.quality())}
    except InputError as error:
        found["problem"] = "beyond-limits" if isinstance(error, BeyondLimits) else found["problem"]
        found["detail"] = str(error).replace(path, NAME)
    out.write(COUNT.pack(0))
    _line(out, found)


def _limited(blocks: Iterator[np.ndarray], n_samples: int, max_seconds: float) -> Iterator[np.ndarray]:
    for block in blocks:
        n_samples -= len(block)
        if n_samples < 0:
            raise BeyondLimits(f"{NAME}: longer than the {max_seconds / 60:g} minutes that are accepted; cut it")
        yield block


def _line(out: IO[bytes], content: Any) -> None:
    out.write(json.dumps(content).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
