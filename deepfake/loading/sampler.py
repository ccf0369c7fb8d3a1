"""Order and item seeds of the utterances: a pure function of seed, epoch and rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
from torch.utils.data import Sampler


@dataclass(eq=False)
class SeededSampler(Sampler[tuple[int, int | None]]):
    """Yields `(index, item seed)` for one rank.

    Order and item seeds depend on `seed` and epoch alone, so that a resumed run gets the same clips as an uninterrupted
    one, with any number of workers. Every rank gets equally many, as DDP needs: in training the remainder of the
    shuffled list is dropped (another one each epoch), in scoring the list is padded with repeats, which are dropped by
    index when the scores are collected. Where weights differ, an epoch of training is as many draws with replacement,
    in proportion to them.

    Args:
        n_items: Number of utterances.
        seed: Seed of the run; None = in order and without item seeds (scoring).
        rank: Rank of this process.
        world_size: Number of processes.
        weights: Weights of the utterances, from 0, not all 0; None = the same for all. Ignored in scoring.
    """

    n_items: int
    _: KW_ONLY
    seed: int | None
    rank: int = 0
    world_size: int = 1
    weights: Sequence[float] | None = None
    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.seed is None or self.n_items < self.world_size:
            return -(-self.n_items // self.world_size)
        return self.n_items // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int | None]]:
        n_total = len(self) * self.world_size
        if self.seed is None:
            order = np.resize(np.arange(self.n_items), n_total)
            yield from ((int(i), None) for i in order[self.rank :: self.world_size])
            return
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.weights is None or len(set(self.weights)) < 2:
            order = np.resize(rng.permutation(self.n_items), n_total)
        else:
            weights = np.asarray(self.weights, dtype=np.float64)
            order = rng.choice(self.n_items, size=n_total, p=weights / weights.sum())
        seeds = rng.integers(2**63, size=n_total)
        for position in range(self.rank, n_total, self.world_size):
            yield int(order[position]), int(seeds[position])
