"""What every augmentation of a single clip is, and the checks they share."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepfake.errors import InputError

Samples = NDArray[np.float64]


class Augmentation:
    """Base of what happens to one clip: with probability `p` it is `applied`, else it stays as it is.

    What comes out is a function of the waveform and the generator alone, never of the class, and the waveform that
    came in is left alone. Levels are not evened out and nothing is clipped at full scale, unless the augmentation says
    so: samples are floats, and a level that tells something must neither appear nor vanish on the way.

    Args:
        p: Probability with which a clip is changed.

    Shape:
        waveform `[T]` -> `[T]`, float32

    Raises:
        InputError: `p` is not a probability.
    """

    batched = False
    moves_time = False  # True: what was heard at one time is heard at another

    def __init__(self, *, p: float) -> None:
        self.p = require_probability(self, "p", p)

    def __call__(self, waveform: Tensor, rng: np.random.Generator) -> Tensor:
        if rng.random() >= self.p:
            return waveform
        changed = self.applied(waveform.numpy().astype(np.float64), rng)  # a copy
        return torch.from_numpy(changed.astype(np.float32))

    def applied(self, x: Samples, rng: np.random.Generator) -> Samples:
        """The change itself, `[T]` -> `[T]`; `x` may be changed in place."""
        raise NotImplementedError


def require_probability(owner: object, name: str, value: float) -> float:
    """The value, if it is from 0 to 1."""
    if not 0 <= value <= 1:
        raise InputError(f"{_named(owner, name)}={value}: a number from 0 to 1 was expected")
    return value


def require_range(
    owner: object, name: str, low: float, high: float, *, least: float = -math.inf, most: float = math.inf
) -> tuple[float, float]:
    """Both ends of what is drawn from, if they are in order and within bounds.

    Args:
        owner: The augmentation that asks.
        name: Of the quantity, for the message.
        low: Smallest value that may be drawn.
        high: Largest.
        least: Bound of both.
        most: Bound of both.

    Raises:
        InputError: They are not.
    """
    if not (least <= low <= high <= most and math.isfinite(low) and math.isfinite(high)):
        bounds = [
            f"{word} {bound:g}" for word, bound in (("at least", least), ("at most", most)) if math.isfinite(bound)
        ]
        wanted = ", ".join(["two numbers in rising order", *bounds])
        raise InputError(f"{_named(owner, name)} from {low} to {high}: {wanted}, were expected")
    return low, high


def _named(owner: object, name: str) -> str:
    """As on a command line: `augment.band_limit.p`; each class stands alone in the file of its config's name."""
    return f"augment.{type(owner).__module__.rpartition('.')[2]}.{name}"
