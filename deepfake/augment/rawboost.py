"""RawBoost: simulated distortions of a telephone channel, which need no data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, freqz, oaconvolve

from deepfake.augment.augmentation import Augmentation, Samples, require_range
from deepfake.errors import InputError

SERIES = {1: "c", 2: "i", 3: "s", 4: "cis", 5: "ci", 6: "cs", 7: "is"}  # convolutive, impulsive, stationary
PARALLEL = 8  # convolutive and impulsive, added up


@dataclass(kw_only=True, eq=False)
class RawBoost(Augmentation):
    """RawBoost (Tak et al., ICASSP 2022), with the numbering and defaults of the authors' script.

    `algo` 1 is linear and non-linear convolutive noise, 2 impulsive signal-dependent, 3 stationary signal-independent
    additive noise; in series 4 is 1 + 2 + 3, 5 is 1 + 2, 6 is 1 + 3, 7 is 2 + 3; 8 adds 1 and 2 in parallel.

    As in the script, a clip whose peak exceeds full scale after 1, 2 or 8 is scaled down to it, and filtered clips
    are one sample early. The script processes whole utterances; here it is the clip.

    Args:
        algo: Algorithm, 1 to 8.
        n_bands: Number of notch filters in cascade.
        f_min: Lowest centre frequency of a notch in hertz.
        f_max: Highest centre frequency in hertz, at most half the sample rate.
        bandwidth_min: Narrowest notch in hertz.
        bandwidth_max: Widest notch in hertz.
        taps_min: Fewest coefficients of a notch filter; even numbers are rounded up to odd ones.
        taps_max: Most coefficients.
        gain_min: Lowest gain of a cascade in dB.
        gain_max: Highest gain of a cascade in dB.
        bias_min: Smallest difference in dB by which the gain of the non-linear parts is below that of the linear one.
        bias_max: Largest such difference in dB.
        n_powers: Highest power of the waveform; 1 is linear.
        percent_max: Largest share of samples that impulses hit, in percent.
        impulse_gain: Gain of the impulses, relative to the samples they hit.
        snr_min: Lowest signal-to-noise ratio of the stationary noise in dB.
        snr_max: Highest signal-to-noise ratio in dB.
        sample_rate: Sample rate of the clips in hertz.
        p: Probability with which a clip is changed.

    Raises:
        InputError: Settings out of range.
    """

    algo: int = 5
    n_bands: int = 5
    f_min: float = 20.0
    f_max: float = 8_000.0
    bandwidth_min: float = 100.0
    bandwidth_max: float = 1_000.0
    taps_min: int = 10
    taps_max: int = 100
    gain_min: float = 0.0
    gain_max: float = 0.0
    bias_min: float = 5.0
    bias_max: float = 20.0
    n_powers: int = 5
    percent_max: float = 10.0
    impulse_gain: float = 2.0
    snr_min: float = 10.0
    snr_max: float = 40.0
    sample_rate: int = 16_000
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.algo not in (*SERIES, PARALLEL):
            raise InputError(f"augment.rawboost.algo={self.algo}: 1 to {PARALLEL} was expected")
        if self.n_bands < 1 or self.n_powers < 1:
            raise InputError(
                f"augment.rawboost.n_bands={self.n_bands}, n_powers={self.n_powers}: at least 1 was expected"
            )
        self.centres = require_range(self, "f", self.f_min, self.f_max, least=1e-3, most=self.sample_rate / 2)
        self.bandwidths = require_range(self, "bandwidth", self.bandwidth_min, self.bandwidth_max, least=1.0)
        self.n_taps = require_range(self, "taps", self.taps_min, self.taps_max, least=3)
        self.gain = require_range(self, "gain", self.gain_min, self.gain_max)
        bias = require_range(self, "bias", self.bias_min, self.bias_max)
        powers = sorted((self.gain_min - bias[0], self.gain_max - bias[1]))
        self.gain_of_powers = powers[0], powers[1]  # the script draws between these
        self.percent = require_range(self, "percent", 0.0, self.percent_max, most=100.0)
        self.snr = require_range(self, "snr", self.snr_min, self.snr_max)

    def apply(self, x: Samples, rng: np.random.Generator) -> Samples:
        parts = {"c": self.convolutive, "i": self.impulsive, "s": self.stationary}
        if self.algo == PARALLEL:
            return within_full_scale(self.convolutive(x, rng) + self.impulsive(x, rng))
        for part in SERIES[self.algo]:
            x = parts[part](x, rng)
        return x

    def convolutive(self, x: Samples, rng: np.random.Generator) -> Samples:
        """Linear and non-linear convolutive noise: each power of the waveform convolved notches of its own."""
        power, y = x, convolved(x, self.notches(rng, self.gain))
        for _ in range(1, self.n_powers):
            power = power * x
            y += convolved(power, self.notches(rng, self.gain_of_powers))
        return within_full_scale(y - y.mean())

    def impulsive(self, x: Samples, rng: np.random.Generator) -> Samples:
        """Impulsive signal-dependent noise: some samples move by a share of themselves."""
        n = int(len(x) * rng.uniform(*self.percent) / 100)
        hit = rng.choice(len(x), n, replace=False)
        y = x.copy()
        y[hit] += self.impulse_gain * x[hit] * np.prod(rng.uniform(-1, 1, (2, n)), axis=0)
        return within_full_scale(y)

    def stationary(self, x: Samples, rng: np.random.Generator) -> Samples:
        """Stationary signal-independent noise: coloured by notches, at a random signal-to-noise ratio."""
        noise = convolved(rng.standard_normal(len(x)), self.notches(rng, self.gain))
        ratio = 10 ** (rng.uniform(*self.snr) / 20)
        return x + noise * (np.linalg.norm(x) / ratio / (np.linalg.norm(noise) or np.inf))

    def notches(self, rng: np.random.Generator, gain: tuple[float, float]) -> NDArray[np.float64]:
        """Coefficients of random notch filters in cascade, whose largest response is a random gain (dB)."""
        taps = np.ones(1)
        for _ in range(self.n_bands):
            centre, half = rng.uniform(*self.centres), rng.uniform(*self.bandwidths) / 2
            edges = [max(centre - half, 1e-3), min(centre + half, self.sample_rate / 2 - 1e-3)]
            n_taps = int(rng.uniform(*self.n_taps)) | 1
            notch: Any = firwin(n_taps, edges, window="hamming", fs=self.sample_rate)
            taps = np.convolve(notch, taps)
        largest = np.abs(freqz(taps, 1, worN=512)[1]).max()
        return taps * (10 ** (rng.uniform(*gain) / 20) / largest)


def convolved(x: Samples, taps: NDArray[np.float64]) -> Samples:
    """Convolve and cut to the input's length, as the script does: one sample early."""
    return np.append(oaconvolve(x, taps), 0.0)[len(taps) // 2 + 1 :][: len(x)]


def within_full_scale(x: Samples) -> Samples:
    """The waveform, scaled down to a peak of 1 if it is above."""
    return x / max(1.0, np.abs(x).max())
