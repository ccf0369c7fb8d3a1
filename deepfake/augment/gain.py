"""Change of level."""

from __future__ import annotations

import numpy as np

from deepfake.augment.augmentation import Augmentation, Samples, require_range


class Gain(Augmentation):
    """The clip louder or quieter, by a gain uniform in dB; peaks beyond full scale are not clipped.

    Args:
        gain_min: Lowest gain in dB.
        gain_max: Highest gain in dB.
        p: Probability with which a clip is changed.

    Raises:
        InputError: Settings out of range.
    """

    def __init__(self, *, gain_min: float = -18.0, gain_max: float = 6.0, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.gain = require_range(self, "gain", gain_min, gain_max, least=-100, most=100)

    def apply(self, x: Samples, rng: np.random.Generator) -> Samples:
        return x * 10 ** (rng.uniform(*self.gain) / 20)
