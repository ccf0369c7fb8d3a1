"""Base class of augmentations of single clips, and checks of their settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepfake.datasets.folder import SUFFIXES, audio_below
from deepfake.errors import InputError

Samples = NDArray[np.float64]


@dataclass(kw_only=True, eq=False)
class Augmentation:
    """Base class: with probability `p` a clip is changed by `apply`, otherwise it is returned as it is.

    The result depends on the waveform and the random generator alone, never on the class; the input is not modified.
    Levels are not normalised and nothing is clipped at full scale unless an augmentation says so: an augmentation must
    neither create nor remove a difference in level between the classes.

    Args:
        p: Probability with which a clip is changed.

    Shape:
        waveform `[T]` -> `[T]`, float32

    Raises:
        InputError: `p` is not a probability.
    """

    batched = False
    moves_time = False  # True: speech at one time of the clip ends up at another

    p: float = 0.5

    def __post_init__(self) -> None:
        require_probability(self, "p", self.p)

    def __call__(self, waveform: Tensor, rng: np.random.Generator) -> Tensor:
        if rng.random() >= self.p:
            return waveform
        changed = self.apply(waveform.numpy().astype(np.float64), rng)  # a copy
        return torch.from_numpy(changed.astype(np.float32))

    def apply(self, x: Samples, rng: np.random.Generator) -> Samples:
        """The change itself, `[T]` -> `[T]`; `x` may be changed in place."""
        raise NotImplementedError


def require_probability(owner: object, name: str, value: float) -> None:
    """Raise an `InputError` unless a setting of an augmentation is from 0 to 1."""
    if not 0 <= value <= 1:
        raise InputError(f"{_named(owner, name)}={value}: a number from 0 to 1 was expected")


def require_range(
    owner: object, name: str, low: float, high: float, *, least: float = -math.inf, most: float = math.inf
) -> tuple[float, float]:
    """Return both ends of a range to draw from, if they are in order and within bounds.

    Args:
        owner: The augmentation whose setting it is.
        name: Name of the quantity, for the error message.
        low: Smallest value that may be drawn.
        high: Largest value that may be drawn.
        least: Lower bound of both.
        most: Upper bound of both.

    Raises:
        InputError: The ends are out of order or out of bounds.
    """
    if not (least <= low <= high <= most and math.isfinite(low) and math.isfinite(high)):
        bounds = [
            f"{word} {bound:g}" for word, bound in (("at least", least), ("at most", most)) if math.isfinite(bound)
        ]
        wanted = ", ".join(["two numbers in rising order", *bounds])
        raise InputError(f"{_named(owner, name)} from {low} to {high}: {wanted}, were expected")
    return low, high


def audio_files(owner: object, root: str) -> list[Path]:
    """All audio files below an augmentation's `root`, in an order that does not depend on the file system.

    Raises:
        InputError: There is no such folder, or no audio in it.
    """
    if not (files := audio_below(Path(root))):
        raise InputError(f"{_named(owner, 'root')}={root}: a folder with audio files ({SUFFIXES}) was expected")
    return files


def _named(owner: object, name: str) -> str:
    """The setting as on a command line: `augment.band_limit.p`; a class's file has its config's name."""
    return f"augment.{type(owner).__module__.rpartition('.')[2]}.{name}"
