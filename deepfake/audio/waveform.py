"""From a file, bytes or an array to a waveform: the only place that downmixes and resamples, and from which all decode.

A header is a claim, not a fact: a FLAC of 28 kB can claim 2^36 samples, and float files can hold NaN. So audio is read
in blocks under a counter, memory is bounded by what is returned, and whatever cannot be used ends in an `InputError`.
What is done to samples that mislead (channels that cancel each other, floats in the range of integers) is noted.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from torch import Tensor

from deepfake.audio.decode import FORMATS as FORMATS
from deepfake.audio.decode import Info, Note, Sound, Source, opened
from deepfake.errors import InputError

log = logging.getLogger(__name__)

MAX_SECONDS = 2 * 3600.0  # longer files are refused
MIN_SECONDS = 0.01
MAX_CHANNELS = 8
MIN_RATE, MAX_RATE = 4_000, 192_000  # hertz
MAX_AMPLITUDE = 4.0  # full scale is 1, which codecs and float masters pass by a few decibels
INTEGER_RMS = 10.0  # from here on a float file holds integers
INTEGER_BITS = (16, 24, 32)
CANCELLED = 0.1  # share of the power that a mix of independent channels has: stereo of a correlation below -0.9
FLOATING = ("F", "DOUBLE", "PCM_F")  # subtypes that may pass full scale: libsndfile's, an array's, FFmpeg's
PROBE_SECONDS = 5.0  # what the two are judged by, from the beginning
BLOCK = 65_536  # frames decoded at once
MARGIN_SECONDS = 0.1  # decoded before a crop, so that the resampler's filter has its history


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
    """Decode, mix to mono and resample.

    The mix is the mean of the channels, or where that cancels the strongest of them; floats that hold integers are
    scaled. Either is judged by the first 5 s, and said in the log.

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
            not finite, above full scale by 12 dB, of more than 8 channels or of a rate outside 4 to 192 kHz.
    """
    if not 0 <= start_seconds < math.inf or (seconds is not None and not 0 < seconds < math.inf):
        raise InputError(f"start_seconds={start_seconds}, seconds={seconds}: a start from 0, a length above 0 expected")
    n_samples = None if seconds is None else max(1, round(seconds * sample_rate))
    return _decode(source, sample_rate, round(start_seconds * sample_rate), n_samples)


def stream(source: Source, *, block_seconds: float, sample_rate: int = 16_000) -> Iterator[Tensor]:
    """The samples of `load`, bit for bit, in blocks: for what is longer than may be held at once.

    It is decoded once and read on, whatever the format, in memory that depends on the blocks and not on the source.

    Args:
        source: As in `load`.
        block_seconds: Length of a block.
        sample_rate: Of the blocks, in hertz.

    Yields:
        Blocks, float32 `[T]`, all of one length but for the last one, which is shorter and not empty.

    Raises:
        InputError: As in `load`, when the first block is asked for, or where the fault shows.
    """
    with recording(source, block_seconds=block_seconds, sample_rate=sample_rate) as opened:
        yield from opened.blocks
        for note in opened.notes:
            _say(opened.name, note)


@dataclass(frozen=True)
class Recording:
    """A source that is opened once and read on: all that is to be known of it comes of the same samples.

    Attributes:
        name: As errors call it.
        header: What its header claims.
        digest: Size in bytes and SHA-256 of the file; None for an array.
        blocks: Those of `stream`, to be read once.
        native: Mono samples at the source's own rate, of what was read so far, up to the length that was asked for.
        notes: What was done to the samples, as far as they were read.
    """

    name: str
    header: Info
    digest: Callable[[], tuple[int, str] | None]
    blocks: Iterator[Tensor]
    native: list[np.ndarray]
    notes: Sequence[Note]


@contextmanager
def recording(
    source: Source, *, block_seconds: float = 10.0, sample_rate: int = 16_000, native_seconds: float = 0.0
) -> Iterator[Recording]:
    """Open a source for one pass through it.

    Args:
        source: As in `load`.
        block_seconds: Length of a block.
        sample_rate: Of the blocks, in hertz.
        native_seconds: How much to keep of it at its own rate, from the beginning.

    Raises:
        InputError: As in `stream`.
    """
    if not 0 < block_seconds < math.inf:
        raise InputError(f"block_seconds={block_seconds}: a length above 0 was expected")
    with _opened(source) as sound:
        rate, native = sound.info.sample_rate, []
        read = _kept(_mono(sound, 0, BLOCK), native, round(native_seconds * rate))
        blocks = _blocks(_resampled(read, rate, sample_rate), max(1, round(block_seconds * sample_rate)))
        yield Recording(sound.name, sound.info, sound.digest, blocks, native, sound.notes)


def _kept(blocks: Iterator[np.ndarray], kept: list[np.ndarray], n_samples: int) -> Iterator[np.ndarray]:
    """The same blocks, of which the first samples are put aside."""
    for block in blocks:
        if n_samples > 0:
            kept.append(block[:n_samples])
            n_samples -= len(block)
        yield block


def _blocks(pieces: Iterator[np.ndarray], size: int) -> Iterator[Tensor]:
    """The same samples in blocks of one size, but for the last one."""
    held: list[np.ndarray] = []
    n_held = 0
    for piece in pieces:
        held.append(piece)
        n_held += len(piece)
        if n_held > size:
            *whole, rest = torch.from_numpy(np.concatenate(held)).split(size)
            yield from whole
            held, n_held = [rest.numpy()], len(rest)
    yield torch.from_numpy(np.concatenate(held))


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
        for note in sound.notes:
            _say(sound.name, note)
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


def _mono(sound: Sound, first: int, size: int) -> Iterator[np.ndarray]:
    """Blocks `[N]` from frame `first` on, each checked and mixed, and the whole counted."""
    rate, n_read, powers = sound.info.sample_rate, first, np.zeros(2)
    scale, channel, blocks = _probed(sound, first, size)
    for block in blocks:
        block = block if scale == 1 else block * np.float32(scale)
        if block.size and not max(block.max(), -block.min()) <= MAX_AMPLITUDE:  # NaN is not <= either
            raise InputError(
                f"{sound.name}: samples that are NaN, infinite or above {MAX_AMPLITUDE:g} where full scale is 1, after "
                f"{n_read / rate:.2f} s; export the audio again"
            )
        n_read += len(block)
        if n_read > MAX_SECONDS * rate:
            raise InputError(f"{sound.name}: longer than the {MAX_SECONDS / 3600:g} hours that are read; cut it")
        mono = block.mean(axis=1) if channel is None else block[:, channel]
        if channel is None:
            powers += _powers(block, mono)
        yield mono
    if powers[0] < CANCELLED * powers[1]:
        raise InputError(f"{sound.name}: its channels cancel each other; give one of them alone")
    if n_read < sound.at_least:
        raise InputError(
            f"{sound.name}: {n_read / rate:.2f} s of audio where the header promises {sound.at_least / rate:.2f} s: "
            f"truncated{' or forged' if sound.info.n_frames else ''}; get the file again"
        )
    if n_read < MIN_SECONDS * rate:
        raise InputError(f"{sound.name}: {n_read} samples of audio, {MIN_SECONDS:g} s is needed; leave the file out")


def _powers(block: np.ndarray, mono: np.ndarray) -> tuple[float, float]:
    """Energy of the mean of the channels, and what it would be were they independent."""
    return float(np.vdot(mono, mono)), float(np.vdot(block, block)) / block.shape[1] ** 2


def _probed(sound: Sound, first: int, size: int) -> tuple[float, int | None, Iterator[np.ndarray]]:
    """By what to multiply, which channel to take (None: the mean of all), and the blocks from frame `first` on.

    Both are judged by the beginning of the source, so that a part of it is treated as the whole is.
    """
    channels, rate = sound.info.channels, sound.info.sample_rate
    if channels == 1 and not sound.info.subtype.upper().startswith(FLOATING):
        return 1.0, 0, sound.blocks(first, size)
    blocks, pieces, n_missing = sound.blocks(0, size), [], round(PROBE_SECONDS * rate)
    while n_missing > 0 and (block := next(blocks, None)) is not None:
        pieces.append(block)
        n_missing -= len(block)
    probe = np.concatenate([*pieces, np.zeros((0, channels), np.float32)])[: round(PROBE_SECONDS * rate)]
    following = sound.blocks(first, size) if first else itertools.chain(pieces, blocks)
    peak = max(probe.max(initial=0), -probe.min(initial=0))
    scale, channel = 1.0, None if channels > 1 else 0
    if not 0 < peak <= 2.0 ** (INTEGER_BITS[-1] - 1):
        return scale, channel, following
    if peak > MAX_AMPLITUDE and (rms := math.sqrt(np.mean(np.square(probe, dtype=np.float64)))) > INTEGER_RMS:
        bits = next(bits for bits in INTEGER_BITS if peak <= 2.0 ** (bits - 1))
        scale = 2.0 ** (1 - bits)
        sentence = f"Its floats hold {bits}-bit integers, with an RMS of {rms:.0f}: they are divided by 2^{bits - 1}."
        sound.notes.append(Note("integer_range", float(rms), sentence))
    spread = probe.var(axis=0, dtype=np.float64)  # [C]
    share = probe.mean(axis=1).var(dtype=np.float64) / max(spread.sum() / channels**2, 1e-30)
    if channels > 1 and spread.any() and share < CANCELLED:
        channel = int(spread.argmax())
        sentence = f"Its channels cancel each other when they are mixed: channel {channel + 1} of {channels} is taken."
        sound.notes.append(Note("channels_cancel", float(share), sentence))
    return scale, channel, following


@functools.lru_cache(maxsize=10_000)
def _say(name: str, note: Note) -> None:
    """Once, however often a file is read."""
    log.warning("%s: %s", name, note.sentence)


@contextmanager
def _opened(source: Source) -> Iterator[Sound]:
    """A source whose header claims nothing that is not accepted."""
    with opened(source) as sound:
        name, header = sound.name, sound.info
        if not 1 <= header.channels <= MAX_CHANNELS:
            raise InputError(f"{name}: {header.channels} channels, 1 to {MAX_CHANNELS} are accepted; mix it down first")
        if not MIN_RATE <= header.sample_rate <= MAX_RATE:
            raise InputError(
                f"{name}: {header.sample_rate} Hz, {MIN_RATE} to {MAX_RATE} are accepted; resample it first"
            )
        if (promised := sound.at_least / header.sample_rate) > MAX_SECONDS:  # an estimate refuses nothing
            raise InputError(
                f"{name}: the header claims {promised / 3600:,.1f} hours, at most {MAX_SECONDS / 3600:g} are "
                "read; cut the file, or get it again if it is not that long"
            )
        yield sound
