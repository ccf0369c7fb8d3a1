"""Band limitation: random low-pass filters and the telephone band."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepfake.augment.augmentation import Augmentation, Samples, require_probability, require_range
from deepfake.augment.fir import filtered

TELEPHONE_HZ = (300.0, 3400.0)  # ITU-T G.712


@dataclass(kw_only=True, eq=False)
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

    cutoff_min: float = 3_000.0
    cutoff_max: float = 7_500.0
    telephone: float = 0.3
    sample_rate: int = 16_000

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.sample_rate / 2 - 1
        self.cutoff = require_range(self, "cutoff", self.cutoff_min, self.cutoff_max, least=1, most=most)
        require_probability(self, "telephone", self.telephone)
        if self.telephone:
            require_range(self, "telephone", *TELEPHONE_HZ, most=most)

    def apply(self, x: Samples, rng: np.random.Generator) -> Samples:
        if rng.random() < self.telephone:
            return filtered(x, TELEPHONE_HZ, self.sample_rate, pass_zero=False)
        return filtered(x, rng.uniform(*self.cutoff), self.sample_rate)
