"""Files to waveforms."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deepfake.audio.blocks import recording

if TYPE_CHECKING:
    from deepfake.audio.waveform import crop_or_repeat, info, load, load_clip, stream

__all__ = ["crop_or_repeat", "info", "load", "load_clip", "recording", "stream"]


def __getattr__(name: str) -> Any:
    """What needs torch, when it is asked for: decoding alone does without (`deepfake.decoding.sandbox`)."""
    if name in __all__:
        return getattr(import_module("deepfake.audio.waveform"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
