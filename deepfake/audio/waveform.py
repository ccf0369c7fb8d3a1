"""From a file, bytes or an array to a waveform.

A header is a claim, not a fact: a FLAC of 28 kB can claim 2^36 samples, and float files can hold NaN. So audio is read
in blocks under a counter, memory is bounded by what is returned, and whatever cannot be used ends in an `InputError`.
What is done to samples that mislead (channels that cancel each other, floats in the range of integers) is noted.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from deepfake.audio.blocks import recording
from deepfake.audio.mono import BLOCK, accepted, mono, resampled
from deepfake.audio.sound import Info, Note, Source
from deepfake.errors import InputError

log = logging.getLogger(__name__)

MARGIN_SECONDS = 0.1  # decoded before a crop, so that the resampler's filter has its history


def info(source: Source) -> Info:
    """What the header of `source` claims, without decoding it.

    Raises:
        InputError: As in `load`, for whatever the header shows.
    """
    with accepted(source) as sound:
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
        yield from map(torch.from_numpy, opened.blocks)
        for note in opened.notes:
            _say(opened.name, note)


def load_clip(
    source: Source, *, n_samples: int, sample_rate: int = 16_000, rng: np.random.Generator | None = None
) -> Tensor:
    """A clip of fixed length: the beginning, or a random crop; repeated to fill where the file is shorter.

    With 64,600 samples it is what AASIST takes (Jung et al., 2022): `pad` without `rng`, `pad_random` with it.

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
    with accepted(source) as sound:
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
        for piece in resampled(mono(sound, first, size), rate, sample_rate):
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


@functools.lru_cache(maxsize=10_000)
def _say(name: str, note: Note) -> None:
    """Write a note into the log, once, however often a file is read."""
    log.warning("%s: %s", name, note.sentence)
