"""Change of level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepfake.augment.augmentation import Augmentation, Samples, require_range


@dataclass(kw_only=True, eq=False)
class Gain(Augmentation):
    """The clip louder or quieter, by a gain uniform in dB; peaks beyond full scale are not clipped.

    Args:
        gain_min: Lowest gain in dB.
        gain_max: Highest gain in dB.
        p: Probability with which a clip is changed.

    Raises:
        InputError: Settings out of range.
    """

    gain_min: float = -18.0
    gain_max: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gain = require_range(self, "gain", self.gain_min, self.gain_max, least=-100, most=100)

    def apply(self, x: Samples, rng: np.random.Generator) -> Samples:
        return x * 10 ** (rng.uniform(*self.gain) / 20)
