"""Ranges of the networks' settings."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deepfake.errors import InputError


def require_numbers(
    n: int | None = None, *, lowest: float = 1, highest: float = math.inf, **settings: float | Sequence[float]
) -> None:
    """Refuse a setting of a model that is out of range.

    Args:
        n: Length of the settings that are sequences; None for any but 0.
        lowest: Smallest number.
        highest: Largest number.
        **settings: Numbers or sequences of numbers, by their name below `model`.

    Raises:
        InputError: A number is out of range, or a sequence has another length.
    """
    bounds = f"of at least {lowest}" if highest == math.inf else f"from {lowest} to {highest}"
    for name, value in settings.items():
        many = isinstance(value, Sequence)
        numbers = list(value) if many else [value]
        if len(numbers) != (n or max(len(numbers), 1)) or not all(lowest <= x <= highest for x in numbers):
            count = f"{n} numbers" if n else "numbers" if many else "a number"
            got, verb = (numbers, "were") if many else (value, "was")
            raise InputError(f"model.{name}={got}: {count} {bounds} {verb} expected")


def require_fractions(**settings: float) -> None:
    """Refuse a setting of a model that is not in [0, 1).

    Args:
        **settings: Numbers, by their name below `model`.

    Raises:
        InputError: A number is out of range.
    """
    for name, value in settings.items():
        if not 0 <= value < 1:
            raise InputError(f"model.{name}={value}: a fraction from 0 to below 1 was expected")
