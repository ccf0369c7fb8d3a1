"""What stands in a file, bytes or an array, as its container says and its codec gives; only `mono.py` uses it.

libsndfile reads what it counts exactly (WAV, FLAC ...), FFmpeg everything else. Both read the open file by its
descriptor: there is no callback in which an interruption could be lost, and no other file is opened. Nothing is
believed, limited, mixed or resampled here: that is done above, so that it is done once for all of them.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile as sf

from deepfake.archive import member_of
from deepfake.audio import ffmpeg, libsndfile
from deepfake.audio.libsndfile import HEADS, INSTALL, TAG_BYTES
from deepfake.audio.sound import WAYS_OUT, Info, Sound, Source, broken, frames_of, reason
from deepfake.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

# What shows, in the first bytes, that it is a format which only PyAV reads.
MARKS = {
    "Speex": b"Speex   ",
    "FLAC in Ogg": b"\x7fFLAC",
    "ALAC in CAF": b"alac",
    "MP4, M4A or 3GP": b"ftyp",
    "WebM or Matroska": b"\x1aE\xdf\xa3",
    "WMA": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    "AVI": b"AVI LIST",
    "AMR": b"#!AMR",
    "FLV": b"FLV\x01",
}
MARK_BYTES = 64


@contextmanager
def opened(source: Source) -> Iterator[Sound]:
    """Open a source; what its header claims is not checked.

    Raises:
        InputError: It is missing, unreadable, or no audio; also later, where its blocks cannot be decoded.
    """
    if isinstance(source, tuple):
        yield _array(*source)
        return
    name = "the given bytes" if isinstance(source, bytes) else os.fspath(source)
    with ExitStack() as stack:
        try:
            sound = _sound(name, _file(name, source, stack), stack)
        except InputError:
            raise
        except FileNotFoundError as error:
            raise InputError(f"{name}: no such file; {WAYS_OUT} that is there") from error
        except OSError as error:
            raise InputError(f"{name}: cannot be read ({reason(error)}); {WAYS_OUT} that may be read") from error
        except Exception as error:  # of whatever kind: it belongs to this file, and the next one may be good
            raise broken(name, 0.0, error) from error
        yield replace(sound, blocks=_guarded(sound))


def _file(name: str, source: str | os.PathLike[str] | bytes, stack: ExitStack) -> Any:
    if not isinstance(source, bytes) and (inside := member_of(source)) and not Path(source).exists():
        source = inside.read()
    if isinstance(source, bytes):
        copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        copy.write(source)
        copy.seek(0)
        return copy.raw
    found = Path(source).stat()
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{name}: not a file (a folder?); {WAYS_OUT}")
    if not found.st_size:  # nor are those of /proc opened, some of which never end or never begin
        raise InputError(f"{name}: not audio but empty (0 bytes); {WAYS_OUT}")
    return stack.enter_context(Path(source).open("rb", buffering=0))


def _guarded(sound: Sound) -> Callable[[int, int], Iterator[np.ndarray]]:
    """The same blocks, where an exception of any kind belongs to the file."""

    def blocks(first: int, size: int) -> Iterator[np.ndarray]:
        n_read = first
        try:
            for block in sound.blocks(first, size):
                n_read += len(block)
                yield block
        except InputError:
            raise
        except Exception as error:
            raise broken(sound.name, n_read / sound.info.sample_rate, error) from error

    return blocks


def _array(array: np.ndarray | Tensor, rate: int) -> Sound:
    name = "the given array"
    frames, scale = frames_of(name, array)
    n, channels = frames.shape
    header = Info(n / rate if rate > 0 else None, rate, channels, "array", str(frames.dtype), n)

    def blocks(first: int, size: int) -> Iterator[np.ndarray]:
        for i in range(first, n, size):
            yield (frames[i : i + size] / scale).astype(np.float32)

    return Sound(name, header, blocks, can_seek=True)


def _sound(name: str, file: Any, stack: ExitStack) -> Sound:
    """By libsndfile, or by FFmpeg where that reads more."""
    try:
        import av
    except ImportError:  # the extra `media` is not installed
        av = None
    head, why = _head(file), "a codec that libsndfile does not know"
    if av is None or head.startswith(HEADS):
        try:
            sound = libsndfile.sound(name, file, head, stack)
            if av is None or (sound.info.n_frames != 0 and not sound.info.subtype.startswith("MPEG")):
                return sound  # no frames: the recorder crashed before it knew the length
        except (sf.LibsndfileError, TypeError) as error:  # TypeError: headerless audio, known by its suffix alone
            why = reason(error)
    if av is None:
        found = [kind for kind, mark in MARKS.items() if mark in head[:MARK_BYTES]]
        what = f"{found[0]}, which" if found else f"not audio, or damaged ({why}), or a format that"
        raise InputError(f"{name}: {what} only PyAV reads: {INSTALL}, or convert the file to FLAC")
    return ffmpeg.sound(name, file, head, stack, av)


def _head(file: Any) -> bytes:
    """The first bytes after an ID3 tag, if there is one."""
    head = file.read(TAG_BYTES)
    if head[:3] == b"ID3" and len(head) > 10:
        file.seek(10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)))
        head = file.read(TAG_BYTES)
    file.seek(0)
    return head
