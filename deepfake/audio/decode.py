"""What stands in a file, bytes or an array, as its container says and its codec gives; only `waveform.py` uses it.

The containers are told apart by their first bytes, opened with libsndfile or FFmpeg, and read on in blocks. Nothing is
believed, limited, mixed or resampled here: that is done above, so that it is done once for all of them.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from torch import Tensor

from deepfake.errors import InputError

Source = str | os.PathLike[str] | bytes | tuple[np.ndarray | Tensor, int]

# Formats whose headers count frames exactly, against MP3 and Ogg, where the count is an estimate or a scan.
COUNTED = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "AIFF", "AU", "CAF", "NIST")
FORMATS = (*COUNTED, "OGG", "MP3")
# Subtypes in which every frame decodes alone, so that reading after a seek gives the very same samples.
STATELESS = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
STREAMED_BYTES = 0x7FFF0000  # sizes from here on are what programs write that stream a WAV of unknown length
SIZE_LINE = re.compile(r"(?:data|SSND|Data Size) +: (\d+) \(should be (\d+)\)")  # libsndfile: the header's, the real
WAYS_OUT = "give a WAV, FLAC, OGG, MP3 or M4A file"


@dataclass(frozen=True)
class Info:
    """What a header claims.

    Attributes:
        seconds: Duration; None where the header does not know it.
        sample_rate: In hertz.
        channels: Number of channels.
        format: Container, such as `WAV`.
        subtype: Coding inside it, such as `PCM_16`.
        n_frames: Samples per channel, where the container counts them exactly, else None.
    """

    seconds: float | None
    sample_rate: int
    channels: int
    format: str
    subtype: str
    n_frames: int | None


@dataclass(frozen=True)
class Sound:
    """An opened source; `blocks(first, size)` yields float32 `[N, channels]` from frame `first` on.

    `at_least` is the number of frames that a whole file must hold, by its header; `file` is what was opened, if any.
    """

    name: str
    info: Info
    blocks: Callable[[int, int], Iterator[np.ndarray]]
    can_seek: bool = False
    at_least: int = 0
    file: Any = None

    def digest(self) -> tuple[int, str] | None:
        """Size in bytes and SHA-256, in hexadecimal, of the file; where it is being read does not change."""
        if self.file is None:
            return None
        place = self.file.tell()
        self.file.seek(0)
        sha256 = hashlib.file_digest(self.file, "sha256").hexdigest()
        n_bytes = self.file.seek(0, io.SEEK_END)
        self.file.seek(place)
        return n_bytes, sha256


@contextmanager
def opened(source: Source) -> Iterator[Sound]:
    """Open a source; what its header claims is not checked.

    Raises:
        InputError: It is missing, unreadable, or no audio.
    """
    if isinstance(source, tuple):
        yield _array(*source)
        return
    name = "the given bytes" if isinstance(source, bytes) else os.fspath(source)
    try:
        if not isinstance(source, bytes) and not stat.S_ISREG(Path(source).stat().st_mode):
            raise InputError(f"{name}: not a file (a folder?); {WAYS_OUT}")
        with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
            demuxer = _demuxer(file.read(12))
            file.seek(0)
            if demuxer:
                yield from _media(name, file, demuxer)
            else:
                yield from _soundfile(name, file)
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file; {WAYS_OUT} that is there") from error
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror or error}); {WAYS_OUT} that may be read") from error


def _array(array: np.ndarray | Tensor, rate: int) -> Sound:
    name, values = "the given array", array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)
    if values.ndim not in (1, 2) or values.dtype.kind not in "fi":
        got = f"shape {list(values.shape)} of {values.dtype}"
        raise InputError(f"{name}: {got}, [samples] or [channels, samples] of float or signed integer was expected")
    scale = 1.0 if values.dtype.kind == "f" else -float(np.iinfo(values.dtype).min)
    frames = np.atleast_2d(values).T  # [T, C]
    n, channels = frames.shape
    header = Info(n / rate if rate > 0 else None, rate, channels, "array", str(values.dtype), n)

    def blocks(first: int, size: int) -> Iterator[np.ndarray]:
        for i in range(first, n, size):
            yield (frames[i : i + size] / scale).astype(np.float32)

    return Sound(name, header, blocks, can_seek=True)


class _SoundFile(sf.SoundFile):
    """A `SoundFile` that only reads on: soundfile itself seeks after each block, which fails on a wrong header."""

    def seekable(self) -> bool:
        return False


def _soundfile(name: str, file: Any) -> Iterator[Sound]:
    """WAV, FLAC, Ogg (Vorbis, Opus), MP3 and the like, by libsndfile."""
    try:
        opened = _SoundFile(file)
    except (sf.LibsndfileError, TypeError) as error:  # TypeError: headerless audio, known by its suffix alone
        raise InputError(f"{name}: not audio, or damaged ({_reason(error)}); {WAYS_OUT}") from error
    with opened as sound:
        if sound.format not in FORMATS:
            raise InputError(f"{name}: the format {sound.format} is not read; {WAYS_OUT}")
        n_frames, rate = sound.frames, sound.samplerate
        found = SIZE_LINE.search(sound.extra_info)
        if found and int(found[1]) < STREAMED_BYTES:  # libsndfile cut the count to what is there: undo it
            n_frames = n_frames * int(found[1]) // max(int(found[2]), 1)
        known = n_frames < 2**60  # above: libsndfile's way to say that a FLAC does not know its length
        seconds = n_frames / rate if known and rate > 0 else None
        n_exact = n_frames if known and sound.format in COUNTED else None
        header = Info(seconds, rate, sound.channels, sound.format, sound.subtype, n_exact)

        def blocks(first: int, size: int) -> Iterator[np.ndarray]:
            n_read = first
            try:
                if first:
                    sound.seek(first)
                while len(block := sound.read(size, dtype="float32", always_2d=True)):
                    n_read += len(block)
                    yield block
            except sf.LibsndfileError as error:
                raise _broken(name, n_read / rate, error) from error

        can_seek = n_exact is not None and sound.subtype.startswith(STATELESS)
        yield Sound(name, header, blocks, can_seek, n_exact or 0, file)


def _demuxer(head: bytes) -> str | None:
    """FFmpeg's name for what libsndfile cannot read, by its first bytes; never guessed from the file's name."""
    if head[4:8] == b"ftyp":
        return "mov"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # ADTS; MPEG layers have other bits here
        return "aac"
    return None


def _media(name: str, file: Any, demuxer: str) -> Iterator[Sound]:
    """M4A, MP4, WebM and bare AAC, by FFmpeg with the demuxer fixed: no playlists, no addresses."""
    try:
        import av
        from av.error import FFmpegError
    except ImportError as error:
        raise InputError(
            f'{name}: M4A, AAC, MP4 and WebM need PyAV; pip install "deepfake[media]", or convert the file to FLAC'
        ) from error
    try:
        container: Any = av.open(file, format=demuxer)
    except FFmpegError as error:
        raise _broken(name, 0.0, error) from error
    with container:
        stream = next(iter(container.streams.audio), None)
        frames = container.decode(stream) if stream else iter(())
        try:
            head = next(frames, None)  # HE-AAC tells its true rate only in its frames
        except FFmpegError as error:
            raise _broken(name, 0.0, error) from error
        if stream is None or head is None:
            raise InputError(f"{name}: no audio in it, or truncated; {WAYS_OUT}")
        seconds, rate = None, head.sample_rate
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration:
            seconds = container.duration / av.time_base
        subtype = stream.codec_context.name.upper()
        header = Info(seconds, rate, head.layout.nb_channels, demuxer.upper(), subtype, None)

        def blocks(first: int, size: int) -> Iterator[np.ndarray]:
            n_read, to_float = 0, av.AudioResampler(format="fltp")
            try:
                for frame in itertools.chain([head], frames):
                    for planes in to_float.resample(frame):
                        n_read += planes.samples
                        yield planes.to_ndarray().T
            except (FFmpegError, ValueError) as error:  # ValueError: rate or layout change midway
                raise _broken(name, n_read / rate, error) from error

        # Edit lists and codec delay shift an honest duration a little; bare AAC has only an estimate.
        at_least = 0 if seconds is None or demuxer == "aac" else int((seconds - 0.25) * rate)
        yield Sound(name, header, blocks, at_least=at_least, file=file)


def _broken(name: str, seconds: float, error: Exception) -> InputError:
    return InputError(
        f"{name}: decoding broke off after {seconds:.2f} s ({_reason(error)}): truncated or damaged; get the file again"
    )


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return text.strip().rstrip(".")
