"""Deletion and insertion: does the evidence go where a map says it was, when that is taken away?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from deepfake.explain.clip import HOP_SECONDS, Clip
from deepfake.explain.map import Map


class Blocks:
    """A clip in blocks of time and frequency, each kept or given over to the filling of `clip` as a whole.

    All maps are compared on the same blocks, whatever their own resolution.

    Args:
        clip: The clip and its filling.
        seconds: Of a block.
        bands: Groups of mel bands.
        batch_size: Clips that the detector scores at a time.

    Attributes:
        shape: Groups of bands R and blocks in time C.
    """

    def __init__(self, clip: Clip, *, seconds: float = 0.05, bands: int = 8, batch_size: int = 8) -> None:
        n_bands, n_frames = clip.gain.shape[1:]
        self.clip = clip
        self.batch_size = batch_size
        self.rows = np.arange(n_bands) * bands // n_bands
        self.columns = np.arange(n_frames) // max(1, round(seconds / HOP_SECONDS))
        self.shape = int(self.rows[-1]) + 1, int(self.columns[-1]) + 1
        self._evidence: dict[bytes, float] = {}

    def values(self, map: Map) -> NDArray[np.float64]:
        """The mean of a map over each block, `[R, C]`."""
        cells = map.on(self.clip.hz, self.clip.seconds)
        total, count = np.zeros(self.shape), np.zeros(self.shape)
        at = self.rows[:, None], self.columns[None]
        np.add.at(total, at, cells)
        np.add.at(count, at, 1)
        return total / count

    def evidence(self, kept: ArrayLike) -> NDArray[np.float64]:
        """Evidence for spoof where blocks are kept (1) or filled (0), `[B, R, C]` -> `[B]`; each is scored once."""
        masks = np.asarray(kept, dtype=np.float32)
        new = list({mask.tobytes(): mask for mask in masks if mask.tobytes() not in self._evidence}.values())
        for start in range(0, len(new), self.batch_size):
            batch = np.stack(new[start : start + self.batch_size])
            gain = torch.from_numpy(batch[:, self.rows][:, :, self.columns]).to(self.clip.device)
            with torch.no_grad():
                found = self.clip.spoof(gain).double().cpu().tolist()
            self._evidence |= {mask.tobytes(): value for mask, value in zip(batch, found, strict=True)}
        return np.array([self._evidence[mask.tobytes()] for mask in masks])


class Areas(NamedTuple):
    """Areas under the two curves, in nats.

    Attributes:
        deletion: Mean change of the evidence for spoof from that in the clip, what speaks for spoof being filled first;
            lower is better.
        insertion: Mean change from that in the filling, what speaks for spoof coming back first; higher is better.
    """

    deletion: float
    insertion: float

    @property
    def margin(self) -> float:
        """Insertion minus deletion; higher is better.

        A clip in few large pieces sounds less odd than one in many small ones, in which order they are filled or not,
        so an order that keeps neighbours together lowers both areas. In the margin that cancels.
        """
        return self.insertion - self.deletion


def areas(blocks: Blocks, map: Map, *, steps: int = 10, seed: int = 0) -> Areas:
    """Deletion and insertion (Petsiuk, Das and Saenko 2018, "RISE"), from share 0 of the blocks to share 1.

    The area is left in nats and not divided by the difference between clip and filling: a clip in pieces can be far
    outside the two, and where they are near each other a quotient says nothing. Blocks of one value come in random
    order.

    Args:
        blocks: Of the clip, with the filling.
        map: Of the clip.
        steps: Of each curve, of equal size.
        seed: Orders what is equal.
    """
    values = blocks.values(map).ravel()
    order = np.lexsort((np.random.default_rng(seed).random(len(values)), -values))
    rank = np.empty(len(values), dtype=np.int64)
    rank[order] = np.arange(len(values))
    taken = np.round(np.linspace(0, len(values), steps + 1))[:, None]  # [steps + 1, 1]
    found = []
    for kept in (rank >= taken, rank < taken):
        curve = blocks.evidence(kept.reshape(-1, *blocks.shape))
        found.append(float((curve[1:] + curve[:-1]).mean() / 2 - curve[0]))
    return Areas(*found)


def at_random(blocks: Blocks, map: Map, *, n: int = 2, steps: int = 10, seed: int = 0) -> Areas:
    """Mean areas of n maps whose cells are those of this one, shuffled: random order of pieces of the same size.

    A clip in larger pieces is less disturbed than one in smaller ones, whatever their order.
    """
    rng = np.random.default_rng(seed)
    shuffled = (map._replace(values=rng.permutation(map.values.ravel()).reshape(map.values.shape)) for _ in range(n))
    return Areas(*np.mean([areas(blocks, other, steps=steps, seed=seed) for other in shuffled], axis=0))
