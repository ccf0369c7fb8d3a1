"""Copy-synthesis and voice conversion by WORLD, which need pyworld."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
from numpy.random import Generator

from deepfake.synthesis.frames import SAMPLE_RATE, Floats, warped


@cache
def pyworld() -> Any | None:
    """The module `pyworld`, or None if it cannot be imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pkg_resources, which it imports
            import pyworld as module
    except ImportError:
        return None
    return module


def world(waveform: Floats, rng: Generator) -> Floats:
    """Speech resynthesised from pitch, envelope and aperiodicity (M. Morise, F. Yokomori, K. Ozawa, 2016).

    Args:
        waveform: Speech at 16 kHz.
        rng: Draws the frame period, 5 or 10 ms.

    Shape:
        `[T]` -> `[T]`
    """
    return _converted(waveform, float(rng.choice([5.0, 10.0])), 1.0, 1.0, 1.0)


def world_conversion(waveform: Floats, rng: Generator) -> Floats:
    """Another voice: pitch shifted by 2 to 5 semitones, its range scaled, formants by 5 to 15 % in the same direction.

    Args:
        waveform: Speech at 16 kHz.
        rng: Draws direction and amounts of the shifts.

    Shape:
        `[T]` -> `[T]`
    """
    way = rng.choice([-1, 1])
    pitch, formants = 2 ** (way * rng.uniform(2, 5) / 12), rng.uniform(1.05, 1.15) ** way
    return _converted(waveform, 5.0, pitch, rng.uniform(0.8, 1.25), formants)


def _converted(waveform: Floats, period: float, pitch: float, scale: float, formants: float) -> Floats:
    module: Any = pyworld()
    waveform = np.ascontiguousarray(waveform, dtype=np.float64)
    track, time = module.harvest(waveform, SAMPLE_RATE, frame_period=period)
    envelope = module.cheaptrick(waveform, track, time, SAMPLE_RATE)
    aperiodicity = module.d4c(waveform, track, time, SAMPLE_RATE)
    if (voiced := track > 0).any():
        middle = np.median(np.log(track[voiced]))
        track[voiced] = np.exp(middle + scale * (np.log(track[voiced]) - middle)) * pitch
    if formants != 1:
        envelope = np.ascontiguousarray(np.exp(warped(np.log(envelope), formants)))
        aperiodicity = np.ascontiguousarray(warped(aperiodicity, formants))
    made = module.synthesize(track, envelope, aperiodicity, SAMPLE_RATE, period)[: len(waveform)]
    return np.pad(made, (0, len(waveform) - len(made)))
