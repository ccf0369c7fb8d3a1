"""What an explanation has to beat: a map drawn at random, and one of how loud the clip is."""

from __future__ import annotations

import numpy as np

from deepfake.explain.clip import Clip
from deepfake.explain.map import Map
from deepfake.explain.method import Method


class Random(Method):
    """Evidence drawn at random, cell by cell; it knows neither clip nor detector.

    Args:
        seed: The same map for the same seed and size.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def attribute(self, clip: Clip) -> Map:
        values = np.random.default_rng(self.seed).standard_normal(clip.gain.shape[1:])
        return Map("random", values, clip.hz, clip.seconds, {})


class Loudness(Method):
    """The level of each cell, in dB above the least that is told apart; it knows the clip, but no detector."""

    def attribute(self, clip: Clip) -> Map:
        values = clip.levels().astype(np.float64) + 80
        return Map("loudness", values, clip.hz, clip.seconds, {})
