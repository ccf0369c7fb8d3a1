"""FIR filtering without delay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from deepfake.augment.augmentation import Samples

N_TAPS = 511  # at 16 kHz with a Hamming window: a transition of 100 Hz, -53 dB in the stop band


def filtered(x: Samples, taps: NDArray[np.float64]) -> Samples:
    """Convolve with a symmetric filter of an odd number of taps, its delay compensated, `[T]` -> `[T]`.

    The clip is padded with silence at both ends.
    """
    return oaconvolve(x, taps)[len(taps) // 2 :][: len(x)]
