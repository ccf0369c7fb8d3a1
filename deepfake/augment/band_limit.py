"""Band limitation: random low-pass filters and the telephone band."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.signal import firwin

from deepfake.augment.augmentation import Augmentation, Samples, require_probability, require_range
from deepfake.augment.fir import N_TAPS, filtered

TELEPHONE_HZ = (300.0, 3400.0)  # ITU-T G.712


class BandLimit(Augmentation):
    """A random low-pass filter, or the telephone band, 300 to 3,400 Hz.

    Detectors rely on the upper band, which transmission removes; random filters discourage that (Tomilov et al.,
    ASVspoof workshop 2021, "STC Antispoofing Systems for the ASVspoof2021 Challenge"). The filters have linear phase,
    and their delay is compensated.

    Args:
        cutoff_min: Lowest cutoff of the low-pass in hertz (where the amplitude is halved).
        cutoff_max: Highest cutoff in hertz, below half the sample rate.
        telephone: Probability that a changed clip is limited to the telephone band instead.
        sample_rate: Sample rate of the clips in hertz.
        p: Probability with which a clip is changed.

    Raises:
        InputError: Settings out of range.
    """

    def __init__(
        self,
        *,
        cutoff_min: float = 3_000.0,
        cutoff_max: float = 7_500.0,
        telephone: float = 0.3,
        sample_rate: int = 16_000,
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.cutoff = require_range(self, "cutoff", cutoff_min, cutoff_max, least=1, most=sample_rate / 2 - 1)
        self.telephone = require_probability(self, "telephone", telephone)
        self.sample_rate = sample_rate
        if telephone:
            require_range(self, "telephone", *TELEPHONE_HZ, most=sample_rate / 2 - 1)

    def apply(self, x: Samples, rng: np.random.Generator) -> Samples:
        if rng.random() < self.telephone:
            taps: Any = firwin(N_TAPS, TELEPHONE_HZ, pass_zero=False, fs=self.sample_rate)
        else:
            taps = firwin(N_TAPS, rng.uniform(*self.cutoff), fs=self.sample_rate)
        return filtered(x, taps)
