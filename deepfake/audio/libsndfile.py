"""WAV, FLAC and the like by libsndfile, which counts their samples exactly; without PyAV also Ogg and MP3."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import soundfile as sf

from deepfake.audio.sound import WAYS_OUT, Info, Sound
from deepfake.errors import InputError

# What libsndfile counts exactly, against MP3 and Ogg, where the count is an estimate, or that of the first of several
# streams; and how such files begin.
COUNTED = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "AIFF", "AU", "CAF", "NIST")
HEADS = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"FORM", b".snd", b"dns.", b"caff", b"NIST")
FORMATS = (*COUNTED, "OGG", "MP3")
# Subtypes in which every frame decodes alone, so that reading after a seek gives the very same samples.
STATELESS = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
STREAMED_BYTES = 0x7FFF0000  # sizes from here on are what programs write that stream a WAV of unknown length
SIZE_LINE = re.compile(r"(?:data|SSND|Data Size) +: (\d+) \(should be (\d+)\)")  # libsndfile: the header's, the real
XING = re.compile(rb"(?:Xing|Info)\0\0\0[\1\3\5\7\t\x0b\r\x0f](....)", re.DOTALL)  # frames that an MP3 encoder counted
TAG_BYTES = 4096  # more than this behind the last sample is another stream
INSTALL = 'pip install "deepfake[media]"'


class SequentialFile(sf.SoundFile):
    """A `SoundFile` that only reads on: soundfile itself seeks after each block, which fails on a wrong header."""

    def seekable(self) -> bool:
        return False


def sound(name: str, file: Any, head: bytes, stack: ExitStack) -> Sound:
    """Open a file.

    Args:
        name: As errors call it.
        file: Unbuffered.
        head: Its first bytes.
        stack: Closes what is opened.
    """
    mp3 = not head.startswith(HEADS) or head[20:22] == b"U\0"  # in a WAV, by its format tag
    with _silenced() if mp3 else nullcontext():
        opened = stack.enter_context(SequentialFile(file.fileno(), closefd=False))
    if opened.format not in FORMATS:
        raise InputError(f"{name}: the format {opened.format} is not read; {WAYS_OUT}")
    n_frames, rate, counted = opened.frames, opened.samplerate, opened.format in COUNTED
    found = SIZE_LINE.search(opened.extra_info)
    if found and int(found[1]) < STREAMED_BYTES:  # libsndfile cut the count to what is there: undo it
        n_frames = n_frames * int(found[1]) // max(int(found[2]), 1)
    known = n_frames < 2**60  # above: libsndfile's way to say that a FLAC does not know its length
    seconds = n_frames / rate if known and rate > 0 else None
    n_exact = n_frames if known and counted else None
    header = Info(seconds, rate, opened.channels, opened.format, opened.subtype, n_exact)

    def blocks(first: int, size: int) -> Iterator[np.ndarray]:
        if first:
            opened.seek(first)
        n_read = 1
        while n_read:
            block = np.empty((size, opened.channels), dtype=np.float32)
            block[:, 0] = np.nan
            try:
                with _silenced() if mp3 else nullcontext():
                    n_read = len(opened.read(size, out=block))
            except sf.LibsndfileError:
                yield block[: int(np.isnan(block[:, 0]).argmax())]  # what it wrote before it broke off
                raise
            yield block[:n_read]
        if not counted and os.fstat(file.fileno()).st_size - file.tell() > TAG_BYTES:
            raise InputError(f"{name}: several streams joined, of which the first alone can be read; {INSTALL}")

    can_seek = n_exact is not None and opened.subtype.startswith(STATELESS)
    at_least = mp3_frames(head, rate) if opened.format == "MP3" else n_exact or 0
    return Sound(name, header, blocks, can_seek, at_least, file=file)


def mp3_frames(head: bytes, rate: int) -> int:
    """Samples that an MP3 holds at least, by what its encoder counted, less the delay; 0 where it did not."""
    found = XING.search(head)
    return max(0, int.from_bytes(found[1], "big") - 4) * (1152 if rate >= 32_000 else 576) if found else 0


@contextmanager
def _silenced() -> Iterator[None]:
    """Nothing of what mpg123 writes on the process's standard error: it cannot be told not to."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
