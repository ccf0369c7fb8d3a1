"""A recording that is read once, as an assessment takes it: from a file, or from the process that decodes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from deepfake.audio import recording
from deepfake.audio.sound import Info, Note, Source
from deepfake.forensics.quality import Quality


@dataclass(frozen=True)
class Reading:
    """All that is to be known of a recording, once its blocks have been read.

    Attributes:
        name: As errors and reports call it.
        header: What its header claims.
        digest: Size in bytes and SHA-256 of the file; None for an array.
        blocks: Float32 `[T]`, mono, at the detector's rate, to be read once.
        notes: What was done to the samples; complete after the last block.
        quality: What `Quality` found, after the last block.
    """

    name: str
    header: Info
    digest: tuple[int, str] | None
    blocks: Iterator[np.ndarray]
    notes: Sequence[Note]
    quality: Callable[[], Mapping[str, float]]


@contextmanager
def reading(source: Source | Reading, *, sample_rate: int, seconds: float) -> Iterator[Reading]:
    """Open a source.

    Args:
        source: As for `deepfake.audio.load`; a `Reading` is given back as it is.
        sample_rate: Of the blocks, in hertz.
        seconds: How much of it is measured, from the beginning.

    Raises:
        InputError: As in `deepfake.audio.load`, or where the fault shows.
    """
    if isinstance(source, Reading):
        yield source
        return
    with recording(source, sample_rate=sample_rate) as opened:
        measured = Quality(opened.header.sample_rate, seconds)
        opened.taps.append(measured.take)
        yield Reading(opened.name, opened.header, opened.digest(), opened.blocks, opened.notes, measured.found)
