"""Audio that comes in blocks and is not over: a microphone, a socket, a pipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from deepfake.audio.mono import Mixer, Resampler, check
from deepfake.audio.sound import Info, Note, Sound, frames_of
from deepfake.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


class Live:
    """A source as one channel at another rate, as it comes: the samples that `load` gives of it as a file, bit for bit.

    What comes out is behind what came in by what `deepfake.audio.mono.Resampler` holds and, in the beginning, by the
    5 s by which `deepfake.audio.mono.Mixer` judges several channels, or floats.

    Args:
        name: As errors call it.
        header: What is known of it.
        sample_rate: Of what comes out, in hertz.
        max_seconds: A longer source is refused.
        at_least: Frames that its header promises.

    Attributes:
        taps: Each is called with every block of mono samples at the source's own rate `[N]`.

    Raises:
        InputError: Its channels or its rate are not accepted.
    """

    def __init__(
        self, name: str, header: Info, *, sample_rate: int, max_seconds: float = math.inf, at_least: int = 0
    ) -> None:
        check(name, header)
        self.name, self.header = name, header
        self._sound = Sound(name, header, _nothing, at_least=at_least)
        self._mixer = Mixer(self._sound, max_seconds=max_seconds)
        self._resampler = Resampler(header.sample_rate, sample_rate)
        self.taps: list[Callable[[np.ndarray], None]] = []

    @property
    def notes(self) -> list[Note]:
        """What was done to the samples so far."""
        return self._sound.notes

    def take(self, frames: np.ndarray) -> np.ndarray:
        """What can be said now that these frames came, float32 `[N, C]` -> `[T]`.

        Raises:
            InputError: Samples are not finite or far above full scale, or there are too many of them.
        """
        return self._resampled(self._mixer.take(frames))

    def finish(self, *, interrupted: bool = False) -> np.ndarray:
        """The rest, after the last frames `[T]`.

        Args:
            interrupted: Whether it was stopped before the end that its header promises.

        Raises:
            InputError: Nothing came, or too little, or the channels cancel each other.
        """
        if not self._mixer.n_came:
            raise InputError(f"{self.name}: no audio came; send at least 0.01 s")
        if interrupted:
            self._mixer.at_least = 0
        return np.concatenate([self._resampled(self._mixer.finish()), self._resampler.finish()])

    def _resampled(self, blocks: Iterator[np.ndarray]) -> np.ndarray:
        pieces = [np.zeros(0, np.float32)]
        for block in blocks:
            for tap in self.taps:
                tap(block)
            pieces.append(self._resampler.take(block))
        return np.concatenate(pieces)


class Arrays:
    """Arrays that come, as frames: all of one kind and of as many channels as the first.

    Args:
        name: Of the source, for errors.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind: tuple[int, np.dtype] | None = None

    def frames(self, array: np.ndarray | Tensor) -> np.ndarray:
        """An array `[T]` or `[channels, T]`, float in [-1, 1] or signed integer, as float32 `[T, channels]`.

        Raises:
            InputError: It is none such, or is not like the first one.
        """
        frames, scale = frames_of(self.name, array)
        kind = frames.shape[1], frames.dtype
        self.kind = self.kind or kind
        if kind != self.kind:
            got, wanted = (f"a block of {n} channels of {dtype}" for n, dtype in (kind, self.kind))
            raise InputError(f"{self.name}: {got} came after {wanted}; send all blocks alike")
        return (frames / scale).astype(np.float32)


def _nothing(first: int, size: int) -> Iterator[np.ndarray]:
    """A live source is not read: it comes."""
    yield from ()
