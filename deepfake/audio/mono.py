"""The blocks of a source as one channel of finite samples, at a rate: the only place that downmixes and resamples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import soxr

from deepfake.audio.decode import opened
from deepfake.audio.sound import Info, Note, Sound, Source
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
        check(name, header)
        promised = max(sound.at_least, sound.indexed) / header.sample_rate  # an estimate refuses nothing
        if promised > MAX_SECONDS:
            raise BeyondLimits(
                f"{name}: the header claims {promised / 3600:,.1f} hours, at most {MAX_SECONDS / 3600:g} are "
                "read; cut the file, or get it again if it is not that long"
            )
        yield sound


def check(name: str, header: Info) -> None:
    """Check the channels and the rate that a header claims.

    Raises:
        BeyondLimits: They are not accepted.
    """
    if not 1 <= header.channels <= MAX_CHANNELS:
        raise BeyondLimits(f"{name}: {header.channels} channels, 1 to {MAX_CHANNELS} are accepted; mix it down first")
    if not MIN_RATE <= header.sample_rate <= MAX_RATE:
        raise BeyondLimits(f"{name}: {header.sample_rate} Hz, {MIN_RATE} to {MAX_RATE} are accepted; resample it first")


def mono(sound: Sound, first: int, size: int) -> Iterator[np.ndarray]:
    """Blocks `[N]` from frame `first` on, each checked and mixed, and the whole counted.

    Raises:
        InputError: Samples are not finite or far above full scale, or there are too many or too few of them.
    """
    mixer = Mixer(sound, n_read=first, max_seconds=MAX_SECONDS)
    if first and mixer.probes:  # by the beginning too, so that a part is treated as the whole is
        for block in sound.blocks(0, size):
            if mixer.probe(block):
                break
        mixer.judge()
    for block in sound.blocks(first, size):
        yield from mixer.take(block)
    yield from mixer.finish()


class Mixer:
    """The blocks of a source, as they come, as one channel, each checked and mixed, and the whole counted.

    By what to multiply, and which channel to take (none: the mean of all), is judged by the first 5 s, and what comes
    until then is held back; integers of one channel are not, as there is nothing to judge.

    Args:
        sound: The source, whose blocks are not read here; what is done to the samples is added to its notes.
        n_read: Frames of it that come before the first block.
        max_seconds: A longer source is refused.
    """

    def __init__(self, sound: Sound, *, n_read: int = 0, max_seconds: float = math.inf) -> None:
        self.sound, self.n_read, self.max_seconds = sound, n_read, max_seconds
        self.at_least = sound.at_least
        self._scale, self._channel = 1.0, 0 if sound.info.channels == 1 else None
        self._held: list[np.ndarray] | None = None
        if self._channel is None or sound.info.subtype.upper().startswith(FLOATING):
            self._held = []
        self._n_missing = round(PROBE_SECONDS * sound.info.sample_rate)
        self._powers = np.zeros(2)

    @property
    def n_came(self) -> int:
        """Frames that came, also those that are held back."""
        return self.n_read + sum(map(len, self._held or ()))

    @property
    def probes(self) -> bool:
        """Whether it is still to be judged what to do to the samples."""
        return self._held is not None

    def take(self, block: np.ndarray) -> Iterator[np.ndarray]:
        """The blocks `[N]` that are ready, now that this one `[N, C]` came.

        Raises:
            InputError: Samples are not finite or far above full scale, or there are too many of them.
        """
        if self._held is None:
            yield self._checked(block)
        elif self.probe(block):
            yield from self._released()

    def finish(self) -> Iterator[np.ndarray]:
        """Those that were held back, after the last block.

        Raises:
            InputError: As for `take`; or there are too few samples, or the channels cancel each other.
        """
        yield from self._released()
        sound, rate, n_read = self.sound, self.sound.info.sample_rate, self.n_read
        if self._powers[0] < CANCELLED * self._powers[1]:
            raise InputError(f"{sound.name}: its channels cancel each other; give one of them alone")
        if n_read < self.at_least:
            raise InputError(
                f"{sound.name}: {n_read / rate:.2f} s of audio where the header promises {self.at_least / rate:.2f} s: "
                f"truncated{' or forged' if sound.uncompressed else ''}; get the file again"
            )
        if n_read < MIN_SECONDS * rate:
            raise InputError(
                f"{sound.name}: {n_read} samples of audio, {MIN_SECONDS:g} s is needed; leave the file out"
            )

    def probe(self, block: np.ndarray) -> bool:
        """Hold a block back to judge by, and return whether that is enough."""
        assert self._held is not None
        self._held.append(block)
        self._n_missing -= len(block)
        return self._n_missing <= 0

    def judge(self) -> list[np.ndarray]:
        """Judge by the blocks that are held back, and return them."""
        held, self._held = self._held or [], None
        channels, rate = self.sound.info.channels, self.sound.info.sample_rate
        probe = np.concatenate([*held, np.zeros((0, channels), np.float32)])[: round(PROBE_SECONDS * rate)]
        peak = max(probe.max(initial=0), -probe.min(initial=0))
        if not 0 < peak <= 2.0 ** (INTEGER_BITS[-1] - 1):
            return held
        if peak > MAX_AMPLITUDE and (rms := math.sqrt(np.mean(np.square(probe, dtype=np.float64)))) > INTEGER_RMS:
            bits = next(bits for bits in INTEGER_BITS if peak <= 2.0 ** (bits - 1))
            self._scale = 2.0 ** (1 - bits)
            sentence = (
                f"Its floats hold {bits}-bit integers, with an RMS of {rms:.0f}: they are divided by 2^{bits - 1}."
            )
            self.sound.notes.append(Note("integer_range", float(rms), sentence))
        spread = probe.var(axis=0, dtype=np.float64)  # [C]
        share = probe.mean(axis=1).var(dtype=np.float64) / max(spread.sum() / channels**2, 1e-30)
        if channels > 1 and spread.any() and share < CANCELLED:
            self._channel = channel = int(spread.argmax())
            sentence = "Its channels cancel each other when they are mixed: "
            sentence += f"channel {channel + 1} of {channels} is taken."
            self.sound.notes.append(Note("channels_cancel", float(share), sentence))
        return held

    def _released(self) -> Iterator[np.ndarray]:
        if self._held is not None:
            yield from map(self._checked, self.judge())

    def _checked(self, block: np.ndarray) -> np.ndarray:
        sound, rate = self.sound, self.sound.info.sample_rate
        block = block if self._scale == 1 else block * np.float32(self._scale)
        if block.size and not max(block.max(), -block.min()) <= MAX_AMPLITUDE:  # NaN is not <= either
            raise InputError(
                f"{sound.name}: samples that are NaN, infinite or above {MAX_AMPLITUDE:g} where full scale is 1, after "
                f"{self.n_read / rate:.2f} s; export the audio again"
            )
        self.n_read += len(block)
        if self.n_read > self.max_seconds * rate:
            hours = self.max_seconds / 3600
            most = f"{hours:g} hours" if hours >= 1 else f"{60 * hours:g} minutes"
            raise BeyondLimits(f"{sound.name}: longer than the {most} that are read; cut it")
        if self._channel is not None:
            return block[:, self._channel]
        mixed = _mixed(block)
        self._powers += _powers(block, mixed)
        return mixed


def resampled(blocks: Iterator[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    """Blocks `[N]` at another rate, both in hertz."""
    resampler = Resampler(rate, sample_rate)
    for block in blocks:
        yield resampler.take(block)
    if rate != sample_rate:
        yield resampler.finish()


class Resampler:
    """Blocks, as they come, at another rate: the same samples however they are cut.

    What comes out is behind what comes in by 0.04 s from 44.1 or 48 to 16 kHz, by 0.12 s from 8 kHz.

    Args:
        rate: Of what comes, in hertz.
        sample_rate: Of what it is made, in hertz.
    """

    def __init__(self, rate: int, sample_rate: int) -> None:
        self._stream = None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")

    def take(self, block: np.ndarray) -> np.ndarray:
        """What can be said now that this block `[N]` came."""
        return block if self._stream is None else self._stream.resample_chunk(block)

    def finish(self) -> np.ndarray:
        """The rest, after the last block."""
        none = np.zeros(0, dtype=np.float32)
        return none if self._stream is None else self._stream.resample_chunk(none, last=True)


def _mixed(block: np.ndarray) -> np.ndarray:
    """The mean of the channels `[N]`, one added after the other: ten times as fast as `mean` along the short axis."""
    total = block[:, 0].copy()
    for channel in block.T[1:]:
        total += channel
    return total / np.float32(block.shape[1])


def _powers(block: np.ndarray, mixed: np.ndarray) -> tuple[float, float]:
    """Energy of the mean of the channels, and what it would be were they independent."""
    return float(np.vdot(mixed, mixed)), float(np.vdot(block, block)) / block.shape[1] ** 2
