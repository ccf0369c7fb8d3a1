"""Batches of clips of one length each, bounded by their seconds: utterances of like lengths share a bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

RATIO = 1.1  # of the longest clip of a bucket to its shortest, to which all are cropped
FEWEST = 2  # clips of a bucket: batch norm of an embedding needs as many


class Bucket(NamedTuple):
    """Utterances whose clips have one length.

    Attributes:
        members: Their indices.
        n_samples: Length of their clips.
        n_drawn: Draws of an epoch; each of them once where none weighs more than another.
    """

    members: NDArray[np.int64]
    n_samples: int
    n_drawn: int


def buckets(n_samples: Sequence[int], weights: Sequence[float] | None = None) -> list[Bucket]:
    """Divide utterances by their lengths, longest first.

    A bucket goes down to 1 / `RATIO` of its longest, and further where it is alone; its clips have the length of the
    shortest. The shortest of all, where it is alone, is repeated to the length of the bucket before. The draws of an
    epoch, as many as there are utterances, are divided among buckets by their weights and so are the same every epoch.

    Args:
        n_samples: Length of each utterance.
        weights: Weights of the draws, from 0, not all 0; None = the same for all.
    """
    lengths = np.asarray(n_samples, dtype=np.int64)
    drawn = np.ones(len(lengths)) if weights is None else np.asarray(weights, dtype=np.float64)
    drawn = drawn * len(drawn) / drawn.sum()  # how often each is expected in an epoch
    order = np.argsort(-lengths, kind="stable")
    order = order[drawn[order] > 0]
    starts = [0]
    for i, index in enumerate(order):
        begun = order[starts[-1] : i]
        if lengths[index] * RATIO < lengths[order[starts[-1]]] and round(drawn[begun].sum()) >= FEWEST:
            starts.append(i)
    parts = np.split(order, starts[1:])
    shortest = [int(lengths[part[-1]]) for part in parts]
    if len(parts) > 1 and round(drawn[parts[-1]].sum()) < FEWEST:
        last = parts.pop()
        parts[-1] = np.concatenate([parts[-1], last])
    ends = np.rint(np.cumsum([drawn[part].sum() for part in parts])).astype(int)
    counts = np.diff(ends, prepend=0).tolist()
    return [Bucket(np.sort(part), n, k) for part, n, k in zip(parts, shortest, counts, strict=False) if k]


class BucketSampler(Sampler[list[tuple[int, int | None]]]):
    """Yields the batches of one rank, each a list of `(index, item seed)` of one bucket.

    As in `SeededSampler`, batches and item seeds depend on `seed` and epoch alone, and every rank gets equally many. A
    bucket's clips are spread evenly over as few batches as the bound allows, or one more where the ranks need it, so
    that no clip is left out. The ranks of a step get batches of like lengths, since they wait for each other; the order
    of the steps is shuffled.

    Args:
        buckets: The buckets.
        n_samples: Most samples of a batch: clips times their length. A clip that is longer is a batch of its own.
        seed: Seed of the run.
        rank: Rank of this process.
        world_size: Number of processes.
        weights: Weights of the utterances, as for `buckets`.
    """

    def __init__(
        self,
        buckets: Sequence[Bucket],
        n_samples: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.buckets, self.seed, self.rank, self.world_size = buckets, seed, rank, world_size
        self.weights = None if weights is None or len(set(weights)) < 2 else np.asarray(weights, dtype=np.float64)
        self.n_batches = [-(-b.n_drawn // max(1, n_samples // b.n_samples)) for b in buckets]
        while sum(self.n_batches) % world_size:
            sizes = [b.n_drawn / n for b, n in zip(buckets, self.n_batches, strict=True)]
            largest = int(np.argmax(sizes))
            if sizes[largest] <= 1:
                break  # batches of single clips: some are left out, or repeated
            self.n_batches[largest] += 1
        self.epoch = 0

    @property
    def sampler(self) -> BucketSampler:
        """Of a batch sampler, this is what the trainer sets the epoch of."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return max(1, sum(self.n_batches) // self.world_size)

    def __iter__(self) -> Iterator[list[tuple[int, int | None]]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        batches: list[list[tuple[int, int | None]]] = []
        for bucket, n_batches in zip(self.buckets, self.n_batches, strict=True):
            drawn = self._drawn(bucket, rng)
            seeds = rng.integers(2**63, size=len(drawn))
            pairs: list[tuple[int, int | None]] = list(zip(drawn.tolist(), seeds.tolist(), strict=True))
            ends = np.linspace(0, len(pairs), n_batches + 1).round().astype(int).tolist()
            batches += [pairs[start:end] for start, end in pairwise(ends)]
        n_total = len(self) * self.world_size
        n_over = max(0, len(batches) - n_total)
        left_out = set(rng.choice(len(batches), size=n_over, replace=False).tolist())
        kept = [i for i in range(len(batches)) if i not in left_out]
        steps = np.resize(kept, n_total).reshape(len(self), self.world_size)
        for step in rng.permutation(len(self)):
            yield batches[steps[step, self.rank]]

    def _drawn(self, bucket: Bucket, rng: np.random.Generator) -> NDArray[np.int64]:
        if self.weights is None:
            return rng.permutation(bucket.members)
        weights = self.weights[bucket.members]
        return rng.choice(bucket.members, size=bucket.n_drawn, p=weights / weights.sum())
