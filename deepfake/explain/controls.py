"""What an explanation has to beat: a map drawn at random, and one of how loud the clip is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from deepfake.detector import Detector
from deepfake.explain.clip import Clip
from deepfake.explain.map import Map

log = logging.getLogger(__name__)


class Method(Protocol):
    """What every explanation method is; `needs`, if it has one, names what it looks for in the network."""

    def attribute(self, clip: Clip) -> Map: ...


class Random:
    """Evidence drawn at random, cell by cell; it knows neither clip nor detector.

    Args:
        seed: The same map for the same seed and size.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def attribute(self, clip: Clip) -> Map:
        values = np.random.default_rng(self.seed).standard_normal(clip.gain.shape[1:])
        return Map("random", values, clip.hz, clip.seconds, {})


class Loudness:
    """The level of each cell, in dB above the least that is told apart; it knows the clip, but no detector."""

    def attribute(self, clip: Clip) -> Map:
        values = clip.levels().astype(np.float64) + 80
        return Map("loudness", values, clip.hz, clip.seconds, {})


def supported(methods: Mapping[str, Method], detector: Detector) -> dict[str, Method]:
    """The methods that find in this network what they stand on; all of them where none does, to say so itself."""
    needs = {name: getattr(method, "needs", None) for name, method in methods.items()}
    without = [name for name, need in needs.items() if need and not hasattr(detector.model, need)]
    if len(without) == len(methods):
        return dict(methods)
    for name in without:
        log.warning("%s is left out: %s has no %s", name, type(detector.model).__name__, needs[name])
    return {name: method for name, method in methods.items() if name not in without}
