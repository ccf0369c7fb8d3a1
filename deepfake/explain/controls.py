"""What an explanation has to beat: a map drawn at random, and one of how loud the clip is."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from deepfake.explain.listening import Listening
from deepfake.explain.map import Map


class Method(Protocol):
    """What every explanation method is."""

    def attribute(self, listening: Listening) -> Map: ...


class Random:
    """Evidence drawn at random, cell by cell; it knows neither clip nor detector.

    Args:
        seed: The same map for the same seed and size.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def attribute(self, listening: Listening) -> Map:
        values = np.random.default_rng(self.seed).standard_normal(listening.gain.shape[1:])
        return Map("random", values, listening.hz, listening.seconds, {})


class Loudness:
    """The level of each cell, in dB above the least that is told apart; it knows the clip, but no detector."""

    def attribute(self, listening: Listening) -> Map:
        values = listening.levels().astype(np.float64) + 80
        return Map("loudness", values, listening.hz, listening.seconds, {})
