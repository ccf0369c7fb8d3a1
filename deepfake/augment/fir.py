"""FIR filtering without delay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scipy.signal import firwin, oaconvolve

from deepfake.augment.augmentation import Samples

N_TAPS = 511  # at 16 kHz with a Hamming window: a transition of 100 Hz, -53 dB in the stop band


def filtered(x: Samples, cutoff: float | Sequence[float], sample_rate: int, **options: Any) -> Samples:
    """The clip, padded with silence, through a filter of linear phase whose delay is compensated, `[T]` -> `[T]`.

    Args:
        x: The clip.
        cutoff: One or both edges of the pass band in hertz.
        sample_rate: In hertz.
        options: Of `scipy.signal.firwin`.
    """
    taps: Any = firwin(N_TAPS, cutoff, fs=sample_rate, **options)
    return oaconvolve(x, taps)[N_TAPS // 2 :][: len(x)]
