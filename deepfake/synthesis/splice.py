"""Splices: a stretch of spoofed speech in bona fide speech."""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator

from deepfake.audio.crossfade import crossfade
from deepfake.synthesis.frames import SAMPLE_RATE, Floats

FADE = SAMPLE_RATE // 100  # samples: 10 ms
SECONDS = (0.4, 2.0)  # of a stretch; at most half of the recording


def random_stretch(bonafide: Floats, rng: Generator) -> tuple[int, int]:
    """First sample and end of a stretch to be replaced, at random but not in a pause.

    Args:
        bonafide: Speech at 16 kHz, at least 0.2 s.
        rng: Draws length and position.
    """
    n = len(bonafide)
    longest = min(SECONDS[1], n / SAMPLE_RATE / 2)
    size = int(rng.uniform(min(SECONDS[0], longest), longest) * SAMPLE_RATE)
    starts = rng.integers(FADE, n - size - FADE, 20)
    energy = np.concatenate([[0.0], np.cumsum(bonafide**2)])
    loud = (energy[starts + size] - energy[starts]) * n >= 0.5 * energy[-1] * size
    start = int(starts[int(np.argmax(loud))])
    return start, start + size


def spliced(bonafide: Floats, spoof: Floats, start: int, end: int) -> Floats:
    """Bona fide speech whose stretch between two samples is replaced by the spoof, at the same level.

    The crossfades are raised cosines of 10 ms, centred on the two boundaries.

    Shape:
        `[T]`, `[T]` -> `[T]`
    """
    inner = slice(start, end)
    gain = np.sqrt(np.sum(bonafide[inner] ** 2) / max(np.sum(spoof[inner] ** 2), 1e-12))
    share = crossfade(len(bonafide), start, end, FADE, torch.float64).numpy()
    return bonafide * (1 - share) + spoof * gain * share
