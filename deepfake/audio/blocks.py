"""A recording in blocks, decoded once from beginning to end: for what is longer than may be held at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from deepfake.audio.mono import BLOCK, accepted, mono, resampled
from deepfake.audio.sound import Info, Note, Source
from deepfake.errors import InputError


@dataclass(frozen=True)
class Recording:
    """A source that is opened once and read on: all that is to be known of it comes of the same samples.

    Attributes:
        name: As errors call it.
        header: What its header claims.
        digest: Size in bytes and SHA-256 of the file; None for an array.
        blocks: Those of `deepfake.audio.stream`, float32 `[T]`, to be read once.
        taps: Each is called with every block of mono samples at the source's own rate `[N]`, as they are read; whoever
            reads adds his own.
        notes: What was done to the samples, as far as they were read.
    """

    name: str
    header: Info
    digest: Callable[[], tuple[int, str] | None]
    blocks: Iterator[np.ndarray]
    taps: list[Callable[[np.ndarray], None]]
    notes: Sequence[Note]


@contextmanager
def recording(source: Source, *, block_seconds: float = 10.0, sample_rate: int = 16_000) -> Iterator[Recording]:
    """Open a source for one pass through it.

    Args:
        source: As in `load`.
        block_seconds: Length of a block.
        sample_rate: Of the blocks, in hertz.

    Raises:
        InputError: As in `stream`.
    """
    if not 0 < block_seconds < math.inf:
        raise InputError(f"block_seconds={block_seconds}: a length above 0 was expected")
    with accepted(source) as sound:
        rate, taps = sound.info.sample_rate, []
        read = _tapped(mono(sound, 0, BLOCK), taps)
        blocks = _blocks(resampled(read, rate, sample_rate), max(1, round(block_seconds * sample_rate)))
        yield Recording(sound.name, sound.info, sound.digest, blocks, taps, sound.notes)


def _tapped(blocks: Iterator[np.ndarray], taps: Sequence[Callable[[np.ndarray], None]]) -> Iterator[np.ndarray]:
    for block in blocks:
        for tap in taps:
            tap(block)
        yield block


def _blocks(pieces: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in blocks of one size, but for the last one."""
    held: list[np.ndarray] = []
    n_held = 0
    for piece in pieces:
        held.append(piece)
        n_held += len(piece)
        if n_held > size:
            samples = np.concatenate(held)
            *whole, rest = np.split(samples, range(size, len(samples), size))
            yield from whole
            held, n_held = [rest], len(rest)
    yield np.concatenate(held)
