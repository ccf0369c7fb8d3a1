"""Deletion and insertion: how the evidence changes when the cells of most evidence are removed or restored first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from deepfake.explain.clip import HOP_SECONDS, Clip
from deepfake.explain.map import Map


class Blocks:
    """A clip in blocks of time and frequency, each kept or replaced by the filling of `clip`.

    All maps are compared on the same blocks, whatever their own resolution.

    Args:
        clip: The clip and its filling.
        seconds: Duration of a block.
        bands: Number of groups of mel bands.
        batch_size: Clips per step.

    Attributes:
        shape: Number of groups of bands R and of blocks in time C.
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
        block = (self.rows[:, None] * self.shape[1] + self.columns).ravel()  # of each cell
        total = np.bincount(block, map.on(self.clip.hz, self.clip.seconds).ravel())
        return (total / np.bincount(block)).reshape(self.shape)

    def evidence(self, kept: ArrayLike) -> NDArray[np.float64]:
        """Evidence for spoof with blocks kept (1) or filled (0), `[B, R, C]` -> `[B]`; equal masks are scored once."""
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
        deletion: Mean change of the evidence for spoof from that of the clip, with the blocks of most evidence filled
            first; lower is better.
        insertion: Mean change from that of the filling, with the blocks of most evidence restored first; higher is
            better.
    """

    deletion: float
    insertion: float

    @property
    def margin(self) -> float:
        """Insertion minus deletion; higher is better.

        A clip in few large pieces is less unnatural than one in many small ones, whatever their order, so an order that
        keeps neighbours together lowers both areas. In the margin that cancels.
        """
        return self.insertion - self.deletion


def areas(blocks: Blocks, map: Map, *, steps: int = 10, seed: int = 0) -> Areas:
    """Deletion and insertion (Petsiuk, Das and Saenko 2018, "RISE"), from share 0 of the blocks to share 1.

    The area is in nats and not divided by the difference between clip and filling: a clip in pieces can be far outside
    the two, and the quotient is meaningless where they are close. Blocks of equal value are in random order.

    Args:
        blocks: Of the clip, with the filling.
        map: Of the clip.
        steps: Number of equal steps of each curve.
        seed: Of the order of blocks of equal value.
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
    """Mean areas of n maps with the cells of this one shuffled: random order of pieces of the same size."""
    rng = np.random.default_rng(seed)
    shuffled = (map._replace(values=rng.permutation(map.values.ravel()).reshape(map.values.shape)) for _ in range(n))
    return Areas(*np.mean([areas(blocks, other, steps=steps, seed=seed) for other in shuffled], axis=0))
