"""Controls that an explanation has to beat: a random map, and the loudness of the clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepfake.explain.clip import Clip
from deepfake.explain.map import Map
from deepfake.explain.method import Method


@dataclass(frozen=True, kw_only=True)
class Random(Method):
    """Random evidence, cell by cell; it depends on neither clip nor detector.

    Args:
        seed: The same map for the same seed and size.
    """

    seed: int = 0

    def attribute(self, clip: Clip) -> Map:
        values = np.random.default_rng(self.seed).standard_normal(clip.gain.shape[1:])
        return Map("random", values, clip.hz, clip.seconds, {})


class Loudness(Method):
    """The level of each cell, in dB above the floor of `Clip.levels`; it depends on the clip alone."""

    def attribute(self, clip: Clip) -> Map:
        values = clip.levels().astype(np.float64) + 80
        return Map("loudness", values, clip.hz, clip.seconds, {})
