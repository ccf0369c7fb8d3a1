"""The server's side of decoding: a file goes to a process that may fail, and what comes back is checked."""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

import numpy as np

from deepfake.audio.sound import Info, Note
from deepfake.decoding.sandbox import COUNT, NAME
from deepfake.errors import InputError
from deepfake.forensics.reading import Reading

DECODING_SECONDS = 120.0
BLOCK_SECONDS = 10.0
SPOOLED_BYTES = 16 << 20  # samples of a recording that are held in memory, 4 minutes at 16 kHz; more go to a file
LONGEST_LINE = 65_536  # bytes
OF_FILES = ("not-audio", "unusable-audio", "beyond-limits")
NONSENSE = "The process that decodes the recording wrote nonsense; send it as WAV or FLAC."
PIECE = 1 << 20
PIPE_BYTES = 1 << 20  # 16 s of samples, in one piece; the most that Linux gives
KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "HOME", "TMPDIR")  # no secrets


class Undecodable(InputError):
    """A file cannot be used, or its process could not decode it.

    Args:
        kind: `not-audio`, `unusable-audio` or `beyond-limits`; of the process `decoder-ended` or `decoding-too-long`.
        sentence: What is wrong; it calls the file `deepfake.decoding.sandbox.NAME`.
    """

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


class Decoder:
    """Has files decoded, each in a process of its own.

    Args:
        sample_rate: Of the samples, in hertz.
        max_seconds: Of a recording.
        seconds: That decoding may take.
    """

    def __init__(self, *, sample_rate: int, max_seconds: float, seconds: float = DECODING_SECONDS) -> None:
        self.sample_rate, self.max_seconds, self.seconds = sample_rate, max_seconds, seconds
        self._lock = threading.Lock()
        self._parent: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def prepare(self) -> None:
        """Start the parent of the children meanwhile, so that the first file does not wait for it."""
        threading.Thread(target=self._prepare, daemon=True).start()

    def _prepare(self) -> None:
        with self._lock, suppress(OSError):  # which the first file will meet again
            self._requests = self._requests or self._begin()

    def close(self) -> None:
        """End the parent of the children; those that decode go on to their end."""
        with self._lock:
            self._end()

    def read(self, file: IO[bytes], samples: IO[bytes], *, alone: bool = True) -> Reading:
        """Decode a file.

        Args:
            file: What was uploaded; a temporary file.
            samples: Where the samples are kept; the reading reads them from there.
            alone: Whether nobody else waits: then the next process may use the processor to make itself ready.

        Raises:
            Undecodable: The recording cannot be used, or its process ended or took too long.
        """
        if isinstance(file, tempfile.SpooledTemporaryFile):
            file.rollover()  # to a file without a name, which a descriptor leads to
        file.flush()
        ours, theirs = os.pipe()
        with suppress(AttributeError, OSError):  # of Linux alone, and as long as this user has few of them
            fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        with os.fdopen(ours, "rb", buffering=0) as pipe:
            try:
                child = self._start(file.fileno(), theirs, alone)
            finally:
                os.close(theirs)
            answer = _Answer(pipe, child, time.monotonic() + self.seconds)
            try:
                return self._reading(answer, samples)
            except Undecodable:
                raise
            except (ValueError, KeyError, TypeError) as error:  # of a process that a file has taken over, say
                raise Undecodable("decoder-ended", NONSENSE) from error

    def _reading(self, answer: _Answer, samples: IO[bytes]) -> Reading:
        start = answer.line() if answer.peek() != COUNT.pack(0) else {}
        n = answer.samples(samples, round((self.max_seconds + BLOCK_SECONDS) * self.sample_rate))
        end = answer.line()
        if "problem" in end:
            raise Undecodable(OF_FILES[OF_FILES.index(end["problem"])], str(end["detail"]))
        digest, quality = start["digest"], dict(end["quality"])
        blocks, notes = _blocks(samples, n, round(BLOCK_SECONDS * self.sample_rate)), end["notes"]
        found = [Note(**note) for note in notes]
        return Reading(NAME, Info(**start["header"]), (digest[0], digest[1]), blocks, found, lambda: quality)

    def _start(self, file: int, pipe: int, alone: bool) -> int:
        """Give a child its file, and return its id; its parent is started too if it is not there any more."""
        cpu_seconds = round(self.seconds) + 1
        limits = {"sample_rate": self.sample_rate, "max_seconds": self.max_seconds, "cpu_seconds": cpu_seconds}
        message = json.dumps({"limits": limits, "alone": alone}).encode()
        with self._lock:
            for _ in range(2):
                with suppress(OSError, ValueError):
                    requests = self._requests or self._begin()
                    socket.send_fds(requests, [message], [file, pipe])
                    return int(requests.recv(64))
                self._end()
        raise Undecodable("decoder-ended", "No process could be started to decode the recording; try again.")

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        path = {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "deepfake.decoding.sandbox", str(theirs.fileno())]
        with theirs:
            self._parent = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                env={**kept, **threads, **path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._requests = ours
        ours.settimeout(60)
        if ours.recv(64) != b"ready\n":
            raise OSError("the parent of the decoding processes does not answer")
        return ours

    def _end(self) -> None:
        if self._requests is not None:
            self._requests.close()
        if self._parent is not None:
            self._parent.kill()
            self._parent.wait()
        self._requests = self._parent = None


class _Answer:
    """What a child writes, up to a deadline."""

    def __init__(self, pipe: IO[bytes], child: int, deadline: float) -> None:
        self._pipe, self._child, self._deadline = pipe, child, deadline
        self._held = bytearray()
        self._selector = selectors.PollSelector()  # which holds no descriptor, unlike that of epoll
        self._selector.register(pipe, selectors.EVENT_READ)

    def peek(self) -> bytes:
        while len(self._held) < COUNT.size:
            self._more()
        return bytes(self._held[: COUNT.size])

    def line(self) -> dict[str, Any]:
        while (end := self._held.find(b"\n")) < 0:
            if len(self._held) > LONGEST_LINE:
                self._kill()
                raise Undecodable("decoder-ended", NONSENSE)
            self._more()
        found = json.loads(self._take(end + 1))
        return found

    def samples(self, out: IO[bytes], most: int) -> int:
        """Write the samples of all blocks to a file, and return how many there are."""
        total = 0
        while n := COUNT.unpack(self._exactly(COUNT.size))[0]:
            if (total := total + n) > most:
                self._kill()
                raise Undecodable("beyond-limits", f"{NAME}: longer than what is accepted; cut it")
            n_missing = 4 * n
            while n_missing:
                if not self._held:
                    self._more()
                piece = self._take(min(n_missing, len(self._held)))
                out.write(piece)
                n_missing -= len(piece)
        return total

    def _exactly(self, n: int) -> bytes:
        while len(self._held) < n:
            self._more()
        return self._take(n)

    def _take(self, n: int) -> bytes:
        taken = bytes(self._held[:n])
        del self._held[:n]
        return taken

    def _more(self) -> None:
        """Read on.

        Raises:
            Undecodable: Time is up, or there is no more.
        """
        if not self._selector.select(max(0.0, self._deadline - time.monotonic())):
            self._kill()
            raise Undecodable("decoding-too-long", "Decoding the recording takes too long; send it as WAV or FLAC.")
        if not (piece := self._pipe.read(PIECE)):
            raise Undecodable(
                "decoder-ended", "The process that decodes the recording ended; send it again, or as WAV."
            )
        self._held += piece

    def _kill(self) -> None:
        """End the child, which is there as long as its pipe is open."""
        with suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGKILL)


def _blocks(samples: IO[bytes], n: int, size: int) -> Iterator[np.ndarray]:
    samples.seek(0)
    for first in range(0, n, size):
        yield np.frombuffer(bytearray(samples.read(4 * min(size, n - first))), dtype="<f4")
