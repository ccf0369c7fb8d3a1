"""Settings that are fractions."""

from __future__ import annotations

from deepfake.errors import InputError


def require_fraction(name: str, value: float) -> None:
    """Refuse a dropout outside [0, 1).

    Raises:
        InputError: `value` is outside [0, 1).
    """
    if not 0 <= value < 1:
        raise InputError(f"{name} is {value}, wanted a fraction from 0 to below 1.")
