"""Speed perturbation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr

from deepfake.augment.augmentation import Augmentation, Samples, require_range


@dataclass(kw_only=True, eq=False)
class Speed(Augmentation):
    """The clip played faster or slower, changing tempo and pitch, by resampling (Ko et al., Interspeech 2015).

    A slower clip is cut to its original length, a faster one repeated to it.

    Args:
        factor_min: Lowest speed factor; 1 is unchanged.
        factor_max: Highest speed factor.
        p: Probability with which a clip is changed.

    Raises:
        InputError: Settings out of range.
    """

    factor_min: float = 0.9
    factor_max: float = 1.1
    moves_time = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.factor = require_range(self, "factor", self.factor_min, self.factor_max, least=0.25, most=4.0)

    def apply(self, x: Samples, rng: np.random.Generator) -> Samples:
        y = soxr.resample(x, rng.uniform(*self.factor), 1.0)
        return np.resize(y, len(x)) if len(y) else x
