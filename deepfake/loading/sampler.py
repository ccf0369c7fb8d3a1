"""Which utterance goes where, with which randomness: a pure function of seed, epoch and rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


class SeededSampler(Sampler[tuple[int, int | None]]):
    """Yields `(index, item seed)` for one rank.

    Order and item seeds depend on `seed` and epoch alone, so a resumed run sees what an uninterrupted one would have
    seen, with any number of workers. Every rank gets equally many, as DDP needs: in training the shuffled list's tail
    that does not divide is dropped (another one each epoch), in scoring the list is padded with repeats, which the
    reader drops by index. Where weights differ, an epoch of training is as many draws with replacement, in proportion
    to them.

    Args:
        n_items: Length of the data.
        seed: Of the run; None = in order and without item seeds (scoring).
        rank: Of this process.
        world_size: Number of processes.
        weights: Of the items, from 0, not all 0; None = the same for all. Scoring takes no notice of them.
    """

    def __init__(
        self,
        n_items: int,
        *,
        seed: int | None,
        rank: int = 0,
        world_size: int = 1,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.n_items = n_items
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.shares = None
        if weights is not None and len(set(weights)) > 1:
            self.shares = np.asarray(weights, dtype=np.float64) / np.sum(weights, dtype=np.float64)

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
        if self.shares is None:
            order = np.resize(rng.permutation(self.n_items), n_total)
        else:
            order = rng.choice(self.n_items, size=n_total, p=self.shares)
        seeds = rng.integers(2**63, size=n_total)
        for position in range(self.rank, n_total, self.world_size):
            yield int(order[position]), int(seeds[position])
