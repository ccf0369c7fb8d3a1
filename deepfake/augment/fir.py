"""Filters without delay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from deepfake.augment.augmentation import Samples

N_TAPS = 511  # 100 Hz from pass to stop at 16 kHz with a Hamming window, which leaves -53 dB


def filtered(x: Samples, taps: NDArray[np.float64]) -> Samples:
    """Convolve with a symmetric filter of an odd number of taps so that nothing moves in time, `[T]` -> `[T]`.

    Beyond the ends of the clip there is silence.
    """
    return oaconvolve(x, taps)[len(taps) // 2 :][: len(x)]
