"""Masking in time and frequency."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.signal import firwin

from deepfake.augment.augmentation import Augmentation, Samples, require_range
from deepfake.augment.fir import N_TAPS, filtered


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

    def __init__(
        self,
        *,
        n_times: int = 2,
        seconds_max: float = 0.25,
        n_bands: int = 1,
        hz_max: float = 1_500.0,
        sample_rate: int = 16_000,
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.n_times, _ = require_range(self, "n_times", n_times, n_times, least=0)
        self.n_bands, _ = require_range(self, "n_bands", n_bands, n_bands, least=0)
        self.seconds = require_range(self, "seconds", 0, seconds_max)
        self.hz = require_range(self, "hz", 0, hz_max, most=sample_rate / 2)
        self.sample_rate = sample_rate

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
        band: Any = firwin(N_TAPS, edges, pass_zero=False, scale=False, fs=self.sample_rate)
        return x - filtered(x, band)
