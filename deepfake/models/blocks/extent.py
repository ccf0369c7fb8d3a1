"""How large a feature must be for a network: checked in words, before torch says it in stack frames."""

from __future__ import annotations

from torch import Tensor

from deepfake.errors import InputError


def require_bands(model: str, in_channels: int, minimum: int) -> None:
    """Refuse a front end with too few bands for a network that treats its feature as a picture.

    Args:
        model: Name of the network, for the message.
        in_channels: Channels of the front end; 1 is raw audio.
        minimum: Bands that the network needs.

    Raises:
        InputError: Raw audio, or fewer bands than `minimum`.
    """
    if in_channels < minimum:
        got = "raw audio (1 channel)" if in_channels == 1 else f"{in_channels} channels"
        raise InputError(
            f"{model} needs a time-frequency feature of at least {minimum} bands, got {got}: "
            "choose features=mel, lfcc or linear."
        )


def require_raw(model: str, in_channels: int) -> None:
    """Refuse a front end other than raw audio for a network with filters of its own.

    Raises:
        InputError: More than one channel.
    """
    if in_channels != 1:
        raise InputError(f"{model} needs raw audio (1 channel), got {in_channels} channels: choose features=raw.")


def require_frames(model: str, features: Tensor, in_channels: int, minimum: int) -> None:
    """Refuse a batch of another shape than `[B, in_channels, at least minimum]`.

    Args:
        model: Name of the network, for the message.
        features: The batch.
        in_channels: Channels the network was made for.
        minimum: Frames (samples, for raw audio) that its poolings need to leave one.

    Raises:
        InputError: Another number of axes or channels, or too few frames.
    """
    if features.ndim != 3 or features.shape[1] != in_channels:
        raise InputError(
            f"{model} was made for features [B, {in_channels}, L], got {list(features.shape)}: "
            "use the front end it was trained with."
        )
    if features.shape[2] < minimum:
        unit = "samples" if in_channels == 1 else "frames"
        raise InputError(
            f"{model} needs at least {minimum} {unit}, got {features.shape[2]}: use longer clips or repeat-pad them."
        )


def require_fraction(name: str, value: float) -> None:
    """Refuse a dropout outside [0, 1).

    Raises:
        InputError: `value` is outside [0, 1).
    """
    if not 0 <= value < 1:
        raise InputError(f"{name} is {value}, wanted a fraction from 0 to below 1.")
