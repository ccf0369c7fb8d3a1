"""What stands in a file, bytes or an array, as its container says and its codec gives; only `waveform.py` uses it.

libsndfile reads what it counts exactly (WAV, FLAC ...), FFmpeg everything else. Both read the open file by its
descriptor: there is no callback in which an interruption could be lost, and no other file is opened. Nothing is
believed, limited, mixed or resampled here: that is done above, so that it is done once for all of them.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile as sf
from torch import Tensor

from deepfake.errors import InputError

Source = str | os.PathLike[str] | bytes | tuple[np.ndarray | Tensor, int]

# What libsndfile counts exactly, against MP3 and Ogg, where the count is an estimate, or that of the first of several
# streams; and how such files begin.
COUNTED = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "AIFF", "AU", "CAF", "NIST")
HEADS = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"FORM", b".snd", b"dns.", b"caff", b"NIST")
FORMATS = (*COUNTED, "OGG", "MP3")
DEMUXERS = ("mov", "matroska", "aac", "mp3", "ogg", "asf", "avi", "mpegts", "flv", "amr", "wav", "w64", "aiff", "caf")
PROMISES = ("mov", "matroska")  # FFmpeg's names of containers that state the length; elsewhere it is an estimate
SUBTYPES = {"MP3": "MPEG_LAYER_III", "MP2": "MPEG_LAYER_II"}  # libsndfile's names of FFmpeg's codecs
SUFFIXES = (
    ".wav .wave .bwf .rf64 .w64 .flac .aif .aiff .aifc .au .snd .caf .sph .nist .mp3 .mp2 .mpga .ogg .oga .opus .spx "
    ".m4a .m4b .mp4 .m4v .mov .3gp .3g2 .aac .adts .webm .weba .mkv .mka .wma .asf .wmv .avi .ts .mts .m2ts .flv .amr"
)
# Subtypes in which every frame decodes alone, so that reading after a seek gives the very same samples.
STATELESS = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
STREAMED_BYTES = 0x7FFF0000  # sizes from here on are what programs write that stream a WAV of unknown length
SIZE_LINE = re.compile(r"(?:data|SSND|Data Size) +: (\d+) \(should be (\d+)\)")  # libsndfile: the header's, the real
XING = re.compile(rb"(?:Xing|Info)\0\0\0[\1\3\5\7\t\x0b\r\x0f](....)", re.DOTALL)  # frames that an MP3 encoder counted
SLACK_SECONDS = 0.25  # edit lists and codec delay shift an honest duration a little
TAG_BYTES = 4096  # more than this behind the last sample is another stream
WAYS_OUT = "give a WAV, FLAC, OGG, MP3 or M4A file"
INSTALL = 'pip install "deepfake[media]"'


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


class Note(NamedTuple):
    """Something that was done to the samples of a recording, and that whoever reads its score should know.

    Attributes:
        name: `damaged`, `channels_cancel` or `integer_range`.
        value: How many or how much.
        sentence: Both, in words.
    """

    name: str
    value: float
    sentence: str


@dataclass(frozen=True)
class Sound:
    """An opened source; `blocks(first, size)` yields float32 `[N, channels]` from frame `first` on.

    `at_least` is the number of frames that a whole file must hold, by its header; `file` is what was opened, if any;
    `notes` grow while it is read.
    """

    name: str
    info: Info
    blocks: Callable[[int, int], Iterator[np.ndarray]]
    can_seek: bool = False
    at_least: int = 0
    file: Any = None
    notes: list[Note] = field(default_factory=list)

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
            raise InputError(f"{name}: cannot be read ({_reason(error)}); {WAYS_OUT} that may be read") from error
        except Exception as error:  # of whatever kind: it belongs to this file, and the next one may be good
            raise _broken(name, 0.0, error) from error
        yield replace(sound, blocks=_guarded(sound))


def _file(name: str, source: str | os.PathLike[str] | bytes, stack: ExitStack) -> Any:
    if isinstance(source, bytes):
        copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        copy.write(source)
        copy.seek(0)
        return copy.raw
    if not stat.S_ISREG(Path(source).stat().st_mode):
        raise InputError(f"{name}: not a file (a folder?); {WAYS_OUT}")
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
            raise _broken(sound.name, n_read / sound.info.sample_rate, error) from error

    return blocks


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


def _sound(name: str, file: Any, stack: ExitStack) -> Sound:
    """By libsndfile, or by FFmpeg where that reads more."""
    try:
        import av
    except ImportError:  # the extra `media` is not installed
        av = None
    head, why = _head(file), "a codec that libsndfile does not know"
    if av is None or head.startswith(HEADS):
        try:
            sound = _soundfile(name, file, head, stack)
            if av is None or (sound.info.n_frames != 0 and not sound.info.subtype.startswith("MPEG")):
                return sound  # no frames: the recorder crashed before it knew the length
        except (sf.LibsndfileError, TypeError) as error:  # TypeError: headerless audio, known by its suffix alone
            why = _reason(error)
    if av is None:
        raise InputError(
            f"{name}: not audio, or damaged ({why}), or one of the formats that PyAV reads (M4A, WebM, WMA ...): "
            f"{INSTALL}, or convert the file to FLAC"
        )
    return _media(name, file, head, stack, av)


def _head(file: Any) -> bytes:
    """The first bytes after an ID3 tag, if there is one."""
    head = file.read(TAG_BYTES)
    if head[:3] == b"ID3" and len(head) > 10:
        file.seek(10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)))
        head = file.read(TAG_BYTES)
    file.seek(0)
    return head


def _mp3_frames(head: bytes, rate: int) -> int:
    """Samples that an MP3 holds at least, by what its encoder counted, less the delay; 0 where it did not."""
    found = XING.search(head)
    return max(0, int.from_bytes(found[1], "big") - 4) * (1152 if rate >= 32_000 else 576) if found else 0


class _SoundFile(sf.SoundFile):
    """A `SoundFile` that only reads on: soundfile itself seeks after each block, which fails on a wrong header."""

    def seekable(self) -> bool:
        return False


def _soundfile(name: str, file: Any, head: bytes, stack: ExitStack) -> Sound:
    """WAV, FLAC and the like, by libsndfile; without PyAV also Ogg (Vorbis, Opus) and MP3."""
    mp3 = not head.startswith(HEADS) or head[20:22] == b"U\0"  # in a WAV, by its format tag
    with _silenced() if mp3 else nullcontext():
        sound = stack.enter_context(_SoundFile(file.fileno(), closefd=False))
    if sound.format not in FORMATS:
        raise InputError(f"{name}: the format {sound.format} is not read; {WAYS_OUT}")
    n_frames, rate, counted = sound.frames, sound.samplerate, sound.format in COUNTED
    found = SIZE_LINE.search(sound.extra_info)
    if found and int(found[1]) < STREAMED_BYTES:  # libsndfile cut the count to what is there: undo it
        n_frames = n_frames * int(found[1]) // max(int(found[2]), 1)
    known = n_frames < 2**60  # above: libsndfile's way to say that a FLAC does not know its length
    seconds = n_frames / rate if known and rate > 0 else None
    n_exact = n_frames if known and counted else None
    header = Info(seconds, rate, sound.channels, sound.format, sound.subtype, n_exact)

    def blocks(first: int, size: int) -> Iterator[np.ndarray]:
        if first:
            sound.seek(first)
        n_read = 1
        while n_read:
            block = np.full((size, sound.channels), np.nan, dtype=np.float32)
            try:
                with _silenced() if mp3 else nullcontext():
                    n_read = len(sound.read(size, out=block))
            except sf.LibsndfileError:
                yield block[: int(np.isnan(block[:, 0]).argmax())]  # what it wrote before it broke off
                raise
            yield block[:n_read]
        if not counted and os.fstat(file.fileno()).st_size - file.tell() > TAG_BYTES:
            raise InputError(f"{name}: several streams joined, of which the first alone can be read; {INSTALL}")

    can_seek = n_exact is not None and sound.subtype.startswith(STATELESS)
    at_least = _mp3_frames(head, rate) if sound.format == "MP3" else n_exact or 0
    return Sound(name, header, blocks, can_seek, at_least, file)


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


def _media(name: str, file: Any, head: bytes, stack: ExitStack, av: Any) -> Sound:
    """All else, by FFmpeg with the demuxers limited to those named: no playlists, no addresses, no second file."""
    options = {"fd": str(file.fileno()), "protocol_whitelist": "fd", "format_whitelist": ",".join(DEMUXERS)}
    file.seek(0)
    try:
        container: Any = stack.enter_context(av.open("fd:", options=options, metadata_errors="replace"))
    except av.FFmpegError as error:
        raise InputError(f"{name}: not audio, or truncated or damaged ({_reason(error)}); {WAYS_OUT}") from error
    if not container.streams.audio:
        raise InputError(f"{name}: no audio in it, or truncated; {WAYS_OUT}")
    stream, notes = container.streams.audio[0], []
    demuxer, codec = container.format.name.split(",")[0], "an unknown codec"
    try:
        if stream.codec_context is not None:
            codec = stream.codec_context.codec.canonical_name.upper()
        frames = _decoded(container, stream, notes, lenient=demuxer == "mp3")
        first = next(frames, None)  # HE-AAC tells its true rate only in its frames
    except av.FFmpegError as error:
        what = f"{codec} in {demuxer.upper()} that FFmpeg cannot decode ({_reason(error)})"
        raise InputError(f"{name}: {what}; convert it to FLAC where it plays, or get it again") from error
    if first is None:
        raise InputError(f"{name}: no audio in it (0 samples), or truncated; {WAYS_OUT}")
    seconds, rate = None, first.sample_rate
    if stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration:  # that of its longest stream
        seconds = container.duration / av.time_base
    header = Info(seconds, rate, first.layout.nb_channels, demuxer.upper(), SUBTYPES.get(codec, codec), None)

    def blocks(_: int, size: int) -> Iterator[np.ndarray]:
        held, n_held = [], 0
        for frame in itertools.chain([first], frames):
            if (frame.sample_rate, frame.layout.nb_channels) != (rate, header.channels):
                raise ValueError("the sampling rate or the channels change")
            held.append(_floats(frame))
            n_held += frame.samples
            if n_held >= size:
                yield np.concatenate(held)
                held, n_held = [], 0
        yield from held

    at_least = _mp3_frames(head, rate) if demuxer == "mp3" else 0
    if seconds and demuxer in PROMISES and (stream.duration or len(container.streams) == 1):
        at_least = max(0, int((seconds - SLACK_SECONDS) * rate))
    return Sound(name, header, blocks, at_least=at_least, file=file, notes=notes)


def _decoded(container: Any, stream: Any, notes: list[Note], *, lenient: bool) -> Iterator[Any]:
    """Frames of a stream; where players find the way back in by themselves, packets that are no audio are left out."""
    n_bad = 0
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except ValueError:  # what FFmpeg's "invalid data" is
            if not lenient:
                raise
            n_bad += 1
            notes[:] = [Note("damaged", n_bad, f"It is damaged or joined: {n_bad} of its packets cannot be decoded.")]


def _floats(frame: Any) -> np.ndarray:
    """`[N, channels]`, full scale being 1; PyAV's own resampler loses interruptions."""
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    if values.dtype.kind == "f":
        return values.astype(np.float32, copy=False)
    half = 2.0 ** (8 * values.dtype.itemsize - 1)
    return ((values - half * (values.dtype.kind == "u")) / half).astype(np.float32)


def _broken(name: str, seconds: float, error: Exception) -> InputError:
    return InputError(
        f"{name}: decoding broke off after {seconds:.2f} s ({type(error).__name__}: {_reason(error)}): truncated or "
        "damaged; get the file again"
    )


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()).removeprefix("Error : ").rstrip(".")
