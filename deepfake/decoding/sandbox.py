"""The processes in which untrusted files are decoded: without torch, without the server's memory, ended in time.

A parent of them imports the decoders once and then only forks: a child decodes one file, under limits of its own, and
ends; the next one waits already. What a child found goes back through a pipe: a line of JSON, the samples, a line of
JSON; nothing is pickled.
"""

from __future__ import annotations

import gc
import io
import json
import os
import random
import resource
import signal
import socket
import struct
import sys
import tempfile
import wave
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from select import select
from typing import IO, Any

import numpy as np

from deepfake.allocator import keep_freed_memory
from deepfake.audio.mono import BeyondLimits
from deepfake.errors import InputError
from deepfake.forensics.reading import reading

COUNT = struct.Struct("<I")  # samples of the block that follows; 0 after the last one
MORE_MEMORY = 768 << 20  # bytes of address space beyond what the parent has: 8 channels at 192 kHz need a quarter
NAME = "the recording"
IDLE_SECONDS = 0.01  # that a child leaves to the one before it


def main(descriptor: int) -> None:
    """Have a child decode each file that comes through a socket, until that is closed.

    The next child is there before its file is: starting it takes about as long as decoding a few seconds. Where nobody
    else wants the processor, it decodes a sound of its own meanwhile: that takes most of the time of its first file.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    with suppress(ImportError):
        import_module("av")
    with socket.socket(fileno=descriptor) as requests, _example() as example:
        _try(example)  # which imports what decoding needs
        gc.collect()
        gc.freeze()  # or each child would copy the pages of all these objects at its first collection
        requests.send(b"ready\n")
        child, spare = _fork(requests, example, alone=True)
        while True:
            message, descriptors, _, _ = socket.recv_fds(requests, 4096, 2)
            if not message:
                return
            alone = json.loads(message)["alone"]
            try:
                socket.send_fds(spare, [message], descriptors)
            except OSError:  # it was killed meanwhile
                spare.close()
                child, spare = _fork(requests, example, alone=False)
                socket.send_fds(spare, [message], descriptors)
            spare.close()
            for descriptor in descriptors:
                os.close(descriptor)
            requests.send(b"%d\n" % child)
            child, spare = _fork(requests, example, alone=alone)


def _fork(requests: socket.socket, example: IO[bytes], *, alone: bool) -> tuple[int, socket.socket]:
    """A child that waits for its file, and the socket that it waits at."""
    ours, theirs = socket.socketpair()
    if (child := os.fork()) == 0:
        requests.close()
        ours.close()
        _child(theirs, example if alone else None)
    theirs.close()
    return child, ours


def _child(own: socket.socket, example: IO[bytes] | None) -> None:
    """Decode one file, and before it the example; this never returns."""
    try:
        os.setsid()
        if example is not None and not select([own], [], [], IDLE_SECONDS)[0]:
            _try(example)
        message, descriptors, _, _ = socket.recv_fds(own, 4096, 2)
        if message:
            _answer(*descriptors, **json.loads(message)["limits"])
    finally:
        os._exit(0)


def _answer(file: int, pipe: int, *, sample_rate: int, max_seconds: float, cpu_seconds: int) -> None:
    _limit(cpu_seconds)
    with os.fdopen(pipe, "wb") as out:
        _decode(f"/dev/fd/{file}", out, sample_rate, max_seconds)


def _example() -> IO[bytes]:
    """Four seconds of noise, as a WAV file without a name."""
    file = tempfile.TemporaryFile()  # noqa: SIM115
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes(random.Random(0).randbytes(2 * 64_000))
    file.flush()
    return file


def _try(example: IO[bytes]) -> None:
    """Decode it: what that needs of memory is there from then on."""
    _decode(f"/dev/fd/{example.fileno()}", io.BytesIO(), 16_000, 60.0)


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
