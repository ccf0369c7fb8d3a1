"""What stands in a file, bytes or an array, opened: its header, its blocks, and what whoever reads them should know."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from deepfake.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Source: TypeAlias = "str | os.PathLike[str] | bytes | tuple[np.ndarray | Tensor, int]"

WAYS_OUT = "give a WAV, FLAC, OGG, MP3 or M4A file"


@dataclass(frozen=True)
class Info:
    """What a header claims.

    Attributes:
        seconds: Duration; None where the header does not know it.
        sample_rate: In hertz.
        channels: Number of channels.
        format: Container, such as `WAV`.
        subtype: Coding inside it, such as `PCM_16`.
        n_frames: Samples per channel, where the container counts them exactly, else None.
    """

    seconds: float | None
    sample_rate: int
    channels: int
    format: str
    subtype: str
    n_frames: int | None


class Note(NamedTuple):
    """Something that was done to the samples of a recording, and that whoever reads its score should know.

    Attributes:
        name: `damaged`, `channels_cancel` or `integer_range`.
        value: How many or how much.
        sentence: Both, in words.
    """

    name: str
    value: float
    sentence: str


@dataclass(frozen=True)
class Sound:
    """An opened source.

    Attributes:
        name: As errors call it.
        info: What its header claims.
        blocks: `blocks(first, size)` yields float32 `[N, channels]` from frame `first` on.
        can_seek: Whether a first frame other than 0 gives the very same samples.
        at_least: Frames that a whole file must hold, by its header.
        indexed: Frames that its index lists; 0 where there is none.
        file: What was opened, if any.
        notes: Grow while it is read.
    """

    name: str
    info: Info
    blocks: Callable[[int, int], Iterator[np.ndarray]]
    can_seek: bool = False
    at_least: int = 0
    indexed: int = 0
    file: Any = None
    notes: list[Note] = field(default_factory=list)

    @property
    def uncompressed(self) -> bool:
        """Whether what is missing at its end is known to the byte."""
        return self.can_seek and self.info.format != "FLAC"

    def digest(self) -> tuple[int, str] | None:
        """Size in bytes and SHA-256, in hexadecimal, of the file; where it is being read does not change."""
        if self.file is None:
            return None
        place = self.file.tell()
        self.file.seek(0)
        sha256 = hashlib.file_digest(self.file, "sha256").hexdigest()
        n_bytes = self.file.seek(0, io.SEEK_END)
        self.file.seek(place)
        return n_bytes, sha256


def frames_of(name: str, array: np.ndarray | Tensor) -> tuple[np.ndarray, float]:
    """Samples `[T]` or `[channels, T]` as frames `[T, channels]`, and what is full scale among them.

    Raises:
        InputError: They have another shape, or are neither floats nor signed integers.
    """
    values = array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()
    if values.ndim not in (1, 2) or values.dtype.kind not in "fi":
        got = f"shape {list(values.shape)} of {values.dtype}"
        raise InputError(f"{name}: {got}, [samples] or [channels, samples] of float or signed integer was expected")
    scale = 1.0 if values.dtype.kind == "f" else -float(np.iinfo(values.dtype).min)
    return np.atleast_2d(values).T, scale


def broken(name: str, seconds: float, error: Exception) -> InputError:
    """The error of a file whose decoding ended after so many seconds."""
    return InputError(
        f"{name}: decoding broke off after {seconds:.2f} s ({type(error).__name__}: {reason(error)}): truncated or "
        "damaged; get the file again"
    )


def reason(error: Exception) -> str:
    """What a decoder says, on one line."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()).removeprefix("Error : ").rstrip(".")
