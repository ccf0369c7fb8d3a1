"""The parts of a detector, built from plain settings: only classes of this package."""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import Any, TypeVar

from deepfake.errors import InputError
from deepfake.features.frontend import FrontEnd
from deepfake.models.network import Network

Part = TypeVar("Part", bound=FrontEnd | Network)


def part_of(base: type[Part], target: str) -> type[Part]:
    """A class of this package; a name that is only imported there (`deepfake.x.os`) is refused."""
    module, _, name = target.rpartition(".")
    part = None
    if module.startswith("deepfake."):
        with suppress(ImportError):
            part = getattr(importlib.import_module(module), name, None)
    if not (isinstance(part, type) and issubclass(part, base) and part.__module__.startswith("deepfake.")):
        raise InputError(f"{target} is not a {'network' if base is Network else 'front end'} of this package")
    return part


def build(base: type[Part], config: dict[str, Any], kind: str | None = None) -> Part:
    """Build a part of this package.

    Args:
        base: `FrontEnd` or `Network`.
        config: `_target_` and keywords.
        kind: Kind of the front end that a network takes.
    """
    config = dict(config)
    target = str(config.pop("_target_"))
    part = part_of(base, target)
    if kind is not None and issubclass(part, Network):
        part.require_kind(kind)
    try:
        return part(**config)
    except TypeError as error:
        raise InputError(f"{target} does not take these settings: {error}") from error
