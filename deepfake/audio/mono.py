"""The blocks of a source as one channel of finite samples, at a rate: the only place that downmixes and resamples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import soxr

from deepfake.audio.decode import opened
from deepfake.audio.sound import Note, Sound, Source
from deepfake.errors import InputError

BLOCK = 65_536  # frames decoded at once
MAX_CHANNELS = 8
MIN_RATE, MAX_RATE = 4_000, 192_000  # hertz
MAX_SECONDS = 2 * 3600.0  # longer files are refused
MIN_SECONDS = 0.01
MAX_AMPLITUDE = 4.0  # full scale is 1, which codecs and float masters pass by a few decibels
INTEGER_RMS = 10.0  # from here on a float file holds integers
INTEGER_BITS = (16, 24, 32)
CANCELLED = 0.1  # share of the power that a mix of independent channels has: stereo of a correlation below -0.9
FLOATING = ("FLOAT", "DOUBLE")  # subtypes that may pass full scale
PROBE_SECONDS = 5.0  # what the two are judged by, from the beginning


class BeyondLimits(InputError):
    """A recording is longer than what is read, or its channels or rate are others."""


@contextmanager
def accepted(source: Source) -> Iterator[Sound]:
    """Open a source whose header claims nothing that is not accepted.

    Raises:
        InputError: As in `deepfake.audio.load`, for whatever the header shows.
    """
    with opened(source) as sound:
        name, header = sound.name, sound.info
        if not 1 <= header.channels <= MAX_CHANNELS:
            raise BeyondLimits(
                f"{name}: {header.channels} channels, 1 to {MAX_CHANNELS} are accepted; mix it down first"
            )
        if not MIN_RATE <= header.sample_rate <= MAX_RATE:
            raise BeyondLimits(
                f"{name}: {header.sample_rate} Hz, {MIN_RATE} to {MAX_RATE} are accepted; resample it first"
            )
        promised = max(sound.at_least, sound.indexed) / header.sample_rate  # an estimate refuses nothing
        if promised > MAX_SECONDS:
            raise BeyondLimits(
                f"{name}: the header claims {promised / 3600:,.1f} hours, at most {MAX_SECONDS / 3600:g} are "
                "read; cut the file, or get it again if it is not that long"
            )
        yield sound


def mono(sound: Sound, first: int, size: int) -> Iterator[np.ndarray]:
    """Blocks `[N]` from frame `first` on, each checked and mixed, and the whole counted.

    Raises:
        InputError: Samples are not finite or far above full scale, or there are too many or too few of them.
    """
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
            raise BeyondLimits(f"{sound.name}: longer than the {MAX_SECONDS / 3600:g} hours that are read; cut it")
        mixed = _mixed(block) if channel is None else block[:, channel]
        if channel is None:
            powers += _powers(block, mixed)
        yield mixed
    if powers[0] < CANCELLED * powers[1]:
        raise InputError(f"{sound.name}: its channels cancel each other; give one of them alone")
    if n_read < sound.at_least:
        raise InputError(
            f"{sound.name}: {n_read / rate:.2f} s of audio where the header promises {sound.at_least / rate:.2f} s: "
            f"truncated{' or forged' if sound.uncompressed else ''}; get the file again"
        )
    if n_read < MIN_SECONDS * rate:
        raise InputError(f"{sound.name}: {n_read} samples of audio, {MIN_SECONDS:g} s is needed; leave the file out")


def resampled(blocks: Iterator[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    """Blocks `[N]` at another rate, both in hertz."""
    if rate == sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def _mixed(block: np.ndarray) -> np.ndarray:
    """The mean of the channels `[N]`, one added after the other: ten times as fast as `mean` along the short axis."""
    total = block[:, 0].copy()
    for channel in block.T[1:]:
        total += channel
    return total / np.float32(block.shape[1])


def _powers(block: np.ndarray, mixed: np.ndarray) -> tuple[float, float]:
    """Energy of the mean of the channels, and what it would be were they independent."""
    return float(np.vdot(mixed, mixed)), float(np.vdot(block, block)) / block.shape[1] ** 2


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
