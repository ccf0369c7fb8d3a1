"""Overlapping windows of audio that comes in blocks, and how what is too short fills one."""

from __future__ import annotations

import torch
from torch import Tensor


class Cutter:
    """Cuts blocks into windows that begin a hop apart, and holds no more of what came than one window.

    A window that reaches the end of what has come waits, since it may be the last one, of which there are two kinds:
    `rest`, where the hops go on to, and `last`, which ends with the recording and is whole if the recording is.

    Args:
        n_samples: Of a window.
        hop: From the start of one window to that of the next, in samples, no more than `n_samples`.

    Attributes:
        n_taken: Samples that came.
        n_cut: Windows that were cut.
    """

    def __init__(self, n_samples: int, hop: int) -> None:
        self.n_samples, self.hop = n_samples, hop
        self.n_taken = self.n_cut = 0
        self.last = torch.zeros(0)

    def take(self, block: Tensor) -> list[Tensor]:
        """The windows that a block completes, in order of time: `[T]` -> `[n_samples]` each."""
        start, held = self.n_taken - len(self.last), torch.cat([self.last, block])
        self.n_taken += len(block)
        windows = []
        while self.n_cut * self.hop + self.n_samples < self.n_taken:
            first = self.n_cut * self.hop - start
            windows.append(held[first : first + self.n_samples])
            self.n_cut += 1
        self.last = held[-self.n_samples :]
        return windows

    @property
    def rest(self) -> Tensor:
        """What a window would hold that began a hop after the last one that was cut: `[1 ... n_samples]`."""
        return self.last[self.n_cut * self.hop - self.n_taken + len(self.last) :]


def mirrored(waveform: Tensor, n_samples: int) -> Tensor:
    """`n_samples` of a waveform that runs to and fro, its last sample and its first one taken twice at each turn.

    Shape:
        `[T]` -> `[n_samples]`
    """
    if len(waveform) >= n_samples:
        return waveform[:n_samples]
    return torch.cat([waveform, waveform.flip(0)]).repeat(-(-n_samples // (2 * len(waveform))))[:n_samples]
