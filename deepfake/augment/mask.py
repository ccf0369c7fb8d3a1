"""Masking in time and frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepfake.augment.augmentation import Augmentation, Samples, require_range
from deepfake.augment.fir import filtered


@dataclass(kw_only=True, eq=False)
class Mask(Augmentation):
    """Random stretches of time silenced and random bands removed, on the waveform, so that it serves every front end.

    SpecAugment (Park et al., Interspeech 2019) without time warping: durations and bandwidths are uniform from 0 to
    their maximum, positions uniform over the clip and the spectrum.

    Args:
        n_times: Number of stretches that are silenced.
        seconds_max: Longest stretch in seconds; no longer than the clip.
        n_bands: Number of bands that are removed.
        hz_max: Widest band in hertz.
        sample_rate: Sample rate of the clips in hertz.
        p: Probability with which a clip is changed.

    Raises:
        InputError: Settings out of range.
    """

    n_times: int = 2
    seconds_max: float = 0.25
    n_bands: int = 1
    hz_max: float = 1_500.0
    sample_rate: int = 16_000

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(self, "n_times", self.n_times, self.n_times, least=0)
        require_range(self, "n_bands", self.n_bands, self.n_bands, least=0)
        self.seconds = require_range(self, "seconds", 0, self.seconds_max)
        self.hz = require_range(self, "hz", 0, self.hz_max, most=self.sample_rate / 2)

    def apply(self, x: Samples, rng: np.random.Generator) -> Samples:
        for _ in range(int(self.n_bands)):
            x = self._without_band(x, rng)
        for _ in range(int(self.n_times)):
            length = min(round(rng.uniform(*self.seconds) * self.sample_rate), len(x))
            start = rng.integers(len(x) - length, endpoint=True)
            x[start : start + length] = 0
        return x

    def _without_band(self, x: Samples, rng: np.random.Generator) -> Samples:
        width = rng.uniform(*self.hz)
        low = rng.uniform(0, self.sample_rate / 2 - width)
        edges = [max(low, 1e-3), min(low + width, self.sample_rate / 2 - 1e-3)]
        if edges[0] >= edges[1]:
            return x
        return x - filtered(x, edges, self.sample_rate, pass_zero=False, scale=False)
