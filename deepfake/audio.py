"""From a file, bytes or an array to a waveform: the only place that decodes, downmixes and resamples.

A header is a claim, not a fact: a FLAC of 28 kB can claim 2^36 samples, and float files can hold NaN. So audio is read
in blocks under a counter, memory is bounded by what is returned, and whatever cannot be used ends in an `InputError`.
"""

from __future__ import annotations

import io
import itertools
import math
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
import soxr
import torch
from torch import Tensor

from deepfake.errors import InputError

Source = str | os.PathLike[str] | bytes | tuple[np.ndarray | Tensor, int]

MAX_SECONDS = 2 * 3600.0  # longer files are refused
MIN_SECONDS = 0.01
MAX_CHANNELS = 8
MIN_RATE, MAX_RATE = 4_000, 192_000  # hertz
MAX_AMPLITUDE = 1e5  # full scale is 1; beyond this a float file is broken
BLOCK = 65_536  # frames decoded at once
MARGIN_SECONDS = 0.1  # decoded before a crop, so that the resampler's filter has its history

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
class _Sound:
    """An opened source; `blocks(first, size)` yields float32 `[N, channels]` from frame `first` on.

    `at_least` is the number of frames that a whole file must hold, by its header.
    """

    name: str
    info: Info
    blocks: Callable[[int, int], Iterator[np.ndarray]]
    can_seek: bool = False
    at_least: int = 0


def info(source: Source) -> Info:
    """What the header of `source` claims, without decoding it.

    Raises:
        InputError: As in `load`, for whatever the header shows.
    """
    with _opened(source) as sound:
        return sound.info


def load(
    source: Source, *, sample_rate: int = 16_000, start_seconds: float = 0.0, seconds: float | None = None
) -> Tensor:
    """Decode, mix to mono (the mean of the channels) and resample.

    A part is read by seeking where the format allows and by stopping early: the same samples as in the slice of the
    whole, bit for bit without resampling. What lies outside the part is not decoded and so not checked.

    Args:
        source: Path, bytes of a file, or `(array, rate)` with an array `[T]` or `[channels, T]`, float in [-1, 1] or
            signed integer.
        sample_rate: Of the result, in hertz.
        start_seconds: Where to begin.
        seconds: How much to read; None is all. Less comes back where the file ends before.

    Returns:
        Waveform, float32.

    Shape:
        `[T]`

    Raises:
        InputError: The source is missing, unreadable, no audio, empty, shorter than 0.01 s, longer than 2 h, truncated,
            not finite, of more than 8 channels or of a rate outside 4 to 192 kHz.
    """
    if not 0 <= start_seconds < math.inf or (seconds is not None and not 0 < seconds < math.inf):
        raise InputError(f"start_seconds={start_seconds}, seconds={seconds}: a start from 0, a length above 0 expected")
    n_samples = None if seconds is None else max(1, round(seconds * sample_rate))
    return _decode(source, sample_rate, round(start_seconds * sample_rate), n_samples)


def load_clip(
    source: Source, *, n_samples: int, sample_rate: int = 16_000, rng: np.random.Generator | None = None
) -> Tensor:
    """A clip of fixed length: the beginning, or a random crop; repeated to fill where the file is shorter.

    With 64,600 samples it is what AASIST hears (Jung et al., 2022): `pad` without `rng`, `pad_random` with it.

    Args:
        source: As in `load`.
        n_samples: Length of the clip.
        sample_rate: Of the clip, in hertz.
        rng: Draws the start of the crop, uniformly over all that fit; None takes the beginning.

    Shape:
        `[n_samples]`

    Raises:
        InputError: As in `load`.
    """
    if rng is None:
        return crop_or_repeat(_decode(source, sample_rate, 0, n_samples), n_samples)
    header = info(source)
    if header.n_frames is None:  # the true length shows only by decoding
        waveform = _decode(source, sample_rate, 0, None)
        return crop_or_repeat(waveform, n_samples, _draw(rng, len(waveform) - n_samples))
    start = _draw(rng, header.n_frames * sample_rate // header.sample_rate - n_samples)
    return crop_or_repeat(_decode(source, sample_rate, start, n_samples), n_samples)


def crop_or_repeat(waveform: Tensor, n_samples: int, start: int = 0) -> Tensor:
    """`n_samples` from `start` on, the waveform being taken as periodic: sample i is `waveform[(start + i) % T]`.

    Shape:
        `[T]` -> `[n_samples]`

    Raises:
        InputError: An empty waveform, a negative start or no samples asked for.
    """
    if len(waveform) == 0 or n_samples < 1 or start < 0:
        raise InputError(f"{n_samples} samples from {start} on of {len(waveform)}: at least 1, from 0, of 1 expected")
    if start + n_samples > len(waveform):
        start %= len(waveform)
        waveform = waveform.repeat(math.ceil((start + n_samples) / len(waveform)))
    return waveform[start : start + n_samples]


def _draw(rng: np.random.Generator, last: int) -> int:
    """A start, uniform in 0 ... `last`, both included."""
    return int(rng.integers(0, max(last, 0) + 1))


def _decode(source: Source, sample_rate: int, start: int, n_samples: int | None) -> Tensor:
    """Samples `start` ... `start + n_samples` of the resampled source, by seeking if that works."""
    if start > 0:
        try:
            return _cut(source, sample_rate, start, n_samples, seek=True)
        except InputError:  # a seek fails on a forged header too: the whole decides, and names the fault
            pass
    return _cut(source, sample_rate, start, n_samples, seek=False)


def _cut(source: Source, sample_rate: int, start: int, n_samples: int | None, *, seek: bool) -> Tensor:
    with _opened(source) as sound:
        rate = sound.info.sample_rate
        common = math.gcd(rate, sample_rate)
        # Input frame k * rate/common and output sample k * sample_rate/common are the same instant: seek to one.
        first = skip = 0
        if seek and sound.can_seek:
            first = max(0, start * common // sample_rate - math.ceil(MARGIN_SECONDS * common)) * (rate // common)
        skip = start - first * sample_rate // rate
        wanted = math.inf if n_samples is None else skip + n_samples
        size = int(min(BLOCK, wanted * rate / sample_rate + (rate != sample_rate) * MARGIN_SECONDS * rate + 1))

        pieces, n_made = [], 0
        for piece in _resampled(_mono(sound, first, size), rate, sample_rate):
            pieces.append(piece[max(0, skip - n_made) :])
            n_made += len(piece)
            if n_made >= wanted:
                break
    if n_made <= skip:
        raise InputError(
            f"{sound.name}: a part from {start / sample_rate:.2f} s on was asked for, but the audio ends at "
            f"{(n_made + start - skip) / sample_rate:.2f} s; ask for an earlier part"
        )
    return torch.from_numpy(np.concatenate(pieces)[:n_samples])


def _resampled(blocks: Iterator[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    if rate == sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def _mono(sound: _Sound, first: int, size: int) -> Iterator[np.ndarray]:
    """Blocks `[N]` from frame `first` on, each checked, and the whole counted."""
    rate, n_read = sound.info.sample_rate, first
    for block in sound.blocks(first, size):
        if block.size and not np.abs(block).max() <= MAX_AMPLITUDE:  # NaN is not <= either
            raise InputError(
                f"{sound.name}: samples that are NaN, infinite or above {MAX_AMPLITUDE:g} where full scale is 1, after "
                f"{n_read / rate:.2f} s; export the audio again"
            )
        n_read += len(block)
        if n_read > MAX_SECONDS * rate:
            raise InputError(f"{sound.name}: longer than the {MAX_SECONDS / 3600:g} hours that are read; cut it")
        yield block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
    if n_read < sound.at_least:
        raise InputError(
            f"{sound.name}: {n_read / rate:.2f} s of audio where the header promises {sound.at_least / rate:.2f} s: "
            "truncated or forged; get the file again"
        )
    if n_read < MIN_SECONDS * rate:
        raise InputError(f"{sound.name}: {n_read} samples of audio, {MIN_SECONDS:g} s is needed; leave the file out")


@contextmanager
def _opened(source: Source) -> Iterator[_Sound]:
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


def _checked(name: str, header: Info) -> Info:
    if not 1 <= header.channels <= MAX_CHANNELS:
        raise InputError(f"{name}: {header.channels} channels, 1 to {MAX_CHANNELS} are accepted; mix it down first")
    if not MIN_RATE <= header.sample_rate <= MAX_RATE:
        raise InputError(f"{name}: {header.sample_rate} Hz, {MIN_RATE} to {MAX_RATE} are accepted; resample it first")
    if header.seconds is not None and header.seconds > MAX_SECONDS:
        raise InputError(
            f"{name}: the header claims {header.seconds / 3600:,.1f} hours, at most {MAX_SECONDS / 3600:g} are read; "
            "cut the file, or get it again if it is not that long"
        )
    return header


def _array(array: np.ndarray | Tensor, rate: int) -> _Sound:
    name, values = "the given array", array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)
    if values.ndim not in (1, 2) or values.dtype.kind not in "fi":
        got = f"shape {list(values.shape)} of {values.dtype}"
        raise InputError(f"{name}: {got}, [samples] or [channels, samples] of float or signed integer was expected")
    scale = 1.0 if values.dtype.kind == "f" else -float(np.iinfo(values.dtype).min)
    frames = np.atleast_2d(values).T  # [T, C]
    n, channels = frames.shape
    header = _checked(name, Info(n / rate if rate > 0 else None, rate, channels, "array", str(values.dtype), n))

    def blocks(first: int, size: int) -> Iterator[np.ndarray]:
        for i in range(first, n, size):
            yield (frames[i : i + size] / scale).astype(np.float32)

    return _Sound(name, header, blocks, can_seek=True)


class _SoundFile(sf.SoundFile):
    """A `SoundFile` that only reads on: soundfile itself seeks after each block, which fails on a wrong header."""

    def seekable(self) -> bool:
        return False


def _soundfile(name: str, file: Any) -> Iterator[_Sound]:
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
        header = _checked(name, Info(seconds, rate, sound.channels, sound.format, sound.subtype, n_exact))

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

        yield _Sound(name, header, blocks, n_exact is not None and sound.subtype.startswith(STATELESS), n_exact or 0)


def _demuxer(head: bytes) -> str | None:
    """FFmpeg's name for what libsndfile cannot read, by its first bytes; never guessed from the file's name."""
    if head[4:8] == b"ftyp":
        return "mov"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # ADTS; MPEG layers have other bits here
        return "aac"
    return None


def _media(name: str, file: Any, demuxer: str) -> Iterator[_Sound]:
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
        header = _checked(name, Info(seconds, rate, head.layout.nb_channels, demuxer.upper(), subtype, None))

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
        yield _Sound(name, header, blocks, at_least=at_least)


def _broken(name: str, seconds: float, error: Exception) -> InputError:
    return InputError(
        f"{name}: decoding broke off after {seconds:.2f} s ({_reason(error)}): truncated or damaged; get the file again"
    )


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return text.strip().rstrip(".")
