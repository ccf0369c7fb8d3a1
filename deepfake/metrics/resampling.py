"""The bootstrap of any metric: how trials are resampled, and an interval from what the metric makes of them.

What is drawn again and again is the trials, with replacement. **Stratified**: bona fide and spoof apart, so that every
replicate has as many of both as the data. **Clustered** (`clusters=`, one name a trial: its speaker, its attack): whole
clusters, because trials of one speaker are no independent evidence. Clusters that hold one class are drawn among those
of that class, clusters that hold both as wholes among themselves (a class's only cluster joins these). A trial whose
cluster is `""` or `-` stands for itself: with attacks as clusters, bona fide trials are thus drawn one by one. A
replicate that has lost a class is drawn anew.

The intervals say how far the numbers would move with other trials (speakers, attacks) of the same kind, not with
another training seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from deepfake.errors import InputError
from deepfake.metrics.trials import Floats, Labels, Scored, Trials

Interval = tuple[float, float]
BOTH, ALONE = 2, 3  # strata: clusters of spoof 0, of bona fide 1, of both 2; single trials, spoof 3, bona fide 4
JACKKNIFE_GROUPS = 200


def interval(
    statistic: Callable[[Floats, NDArray[np.int64]], float],
    scores: Scored,
    labels: Labels = None,
    *,
    n: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    method: Literal["percentile", "bca"] = "percentile",
    clusters: Sequence[str] | NDArray | None = None,
) -> Interval:
    """Bootstrap interval of any metric: what is dearer than, or not among, those of `deepfake.metrics.bootstrap`.

    `bca` is bias-corrected and accelerated (Efron 1987). The acceleration comes from the jackknife: over single trials
    (clusters) where they are few, else over at most 200 random groups of them, shared evenly by the strata.

    Args:
        statistic: Called with scores `[N]` and labels `[N]` (1 or 0), once for each replicate.
        scores: Scores `[N]`, larger = more bona fide, or trials.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof; not beside trials.
        n: Number of replicates.
        confidence: Share of the replicates that the interval covers.
        seed: Of the random draws.
        method: `percentile` or `bca`.
        clusters: `[N]` names, see the module.

    Raises:
        InputError: The statistic is NaN or infinite on the data or on a replicate, or there are too few replicates,
            trials or clusters; see also `deepfake.metrics.eer.eer`.

    >>> interval(lambda s, y: s[y == 1].min(), [3, 2, 1, 0], [1, 1, 0, 0], n=100)
    (2.0, 3.0)
    """
    trials = Trials.of(scores, labels)
    s, y = trials.scores, trials.bonafide
    check(n, confidence)
    if method not in ("percentile", "bca"):
        raise InputError(f"the method is {method!r}: 'percentile' or 'bca' was expected")
    drawn, rng = Resampler(y, clusters), np.random.default_rng(seed)

    def value(counts: NDArray[np.int64]) -> float:
        which = np.repeat(np.arange(len(s)), counts)
        if not np.isfinite(result := float(statistic(s[which], y[which].astype(np.int64)))):
            raise InputError(f"the statistic is {result} on a resample of the trials: no interval can be had")
        return result

    whole = value(np.ones(len(s), dtype=np.int64))
    replicates = np.array([value(counts) for counts in drawn.counts(rng, n)])
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "bca":
        parts = [np.array([value(counts) for counts in part]) for part in drawn.deletions(rng)]
        influences = [(len(part) - 1) / len(part) * (part.mean() - part) for part in parts]
        spread = sum(float(np.sum(u**2)) for u in influences)
        acceleration = sum(float(np.sum(u**3)) for u in influences) / (6 * spread**1.5) if spread else 0.0
        below = (np.mean(replicates < whole) + np.mean(replicates <= whole)) / 2
        bias = ndtri(np.clip(below, 0.5 / n, 1 - 0.5 / n))  # finite also where all replicates lie on one side
        z = bias + ndtri(tails)
        tails = ndtr(bias + z / (1 - acceleration * z))
    low, high = np.quantile(replicates, tails)
    return float(low), float(high)


def share_interval(
    of: NDArray[np.bool_], clusters: Sequence[str] | NDArray, *, n: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Bootstrap interval of a share of trials of one kind, drawn in clusters as wholes.

    Args:
        of: Which trials `[N]` count.
        clusters: `[N]` names; a trial whose name is `""` or `-` is drawn alone.
        n: Number of replicates.
        confidence: Share of the replicates that the interval covers.
        seed: Of the random draws.

    Raises:
        InputError: There are too few replicates, or fewer than two clusters.

    >>> share_interval(np.array([True, True, False, False]), ["a", "a", "b", "b"])
    (0.0, 1.0)
    """
    check(n, confidence)
    names = [str(name) if name not in ("", "-") else f"\0{i}" for i, name in enumerate(clusters)]
    _, unit = np.unique(names, return_inverse=True)
    sizes, counts = np.bincount(unit), np.bincount(unit, of)
    if len(sizes) < 2:
        raise InputError("all trials are of one cluster: drawn again they stay as they are; two are needed at least")
    drawn = np.random.default_rng(seed).integers(len(sizes), size=(n, len(sizes)))
    return percentiles((counts[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))[:, None], confidence)[0]


class Resampler:
    """Draws trials, or whole clusters of them, with replacement.

    Args:
        bonafide: `True` where bona fide `[N]`.
        clusters: `[N]` names, see the module; `None`: every trial for itself.

    Raises:
        InputError: Another number of clusters than of trials, or a stratum that holds one alone.
    """

    def __init__(self, bonafide: NDArray[np.bool_], clusters: Sequence[str] | NDArray | None = None) -> None:
        names = [""] * len(bonafide) if clusters is None else [str(name) for name in clusters]
        if len(names) != len(bonafide):
            raise InputError(f"got {len(names)} clusters for {len(bonafide)} trials: one name a trial was expected")
        number = {name: i for i, name in enumerate(sorted({*names} - {"", "-"}))}
        found = list(number)
        self.unit = np.fromiter((number.get(name, -1) for name in names), dtype=np.int64, count=len(names))  # [N]
        single = self.unit < 0
        self.unit[single] = len(found) + np.arange(single.sum())  # what each trial is drawn with: itself
        self.n_bonafide, self.n_spoof = np.bincount(self.unit, bonafide), np.bincount(self.unit, ~bonafide)  # of a unit
        kind = np.where(self.n_bonafide == 0, 0, np.where(self.n_spoof == 0, 1, BOTH))[: len(found)]
        if (kind == BOTH).any():
            for pure in (0, 1):
                if np.sum(kind == pure) == 1:
                    kind[kind == pure] = BOTH
        kind = np.concatenate([kind, ALONE + bonafide[single]])
        self.strata = [units for k in range(ALONE + 2) if len(units := np.flatnonzero(kind == k))]
        if lone := [int(units[0]) for units in self.strata if len(units) == 1]:
            what = f"cluster {found[lone[0]]!r}" if lone[0] < len(found) else "trial"
            raise InputError(
                f"one {what} is all there is of its kind: drawn again it stays as it is, and the interval would leave "
                "it out; two are needed (trials in cluster '-' are drawn one by one)"
            )

    def counts(self, rng: np.random.Generator, n: int) -> Iterator[NDArray[np.int64]]:
        """How often each trial stands in each of n replicates, `[N]` each."""
        made = 0
        while made < n:
            times = np.empty(len(self.n_spoof), dtype=np.int64)
            for units in self.strata:
                times[units] = np.bincount(rng.integers(len(units), size=len(units)), minlength=len(units))
            if times @ self.n_bonafide and times @ self.n_spoof:
                made += 1
                yield times[self.unit]

    def deletions(self, rng: np.random.Generator) -> Iterator[Iterator[NDArray[np.int64]]]:
        """For each stratum, the counts `[N]` with each of its groups omitted; to be taken in turn."""
        for units in self.strata:
            n_groups = min(len(units), JACKKNIFE_GROUPS // len(self.strata))
            group = np.full(len(self.n_spoof), -1)
            group[units] = rng.permutation(len(units)) % n_groups
            yield (self._without(group == g) for g in range(n_groups))

    def _without(self, left_out: NDArray[np.bool_]) -> NDArray[np.int64]:
        kept = (~left_out).astype(np.int64)
        if not (kept @ self.n_bonafide and kept @ self.n_spoof):
            raise InputError("without one of its clusters a class is gone, so there is no jackknife: use 'percentile'")
        return kept[self.unit]


def check(n: int, confidence: float) -> None:
    """Raises InputError where that many replicates cannot show that confidence.

    >>> check(40, 0.95)
    """
    if not 0 < confidence < 1:
        raise InputError(f"the confidence is {confidence}: a share between 0 and 1 was expected")
    if n * (1 - confidence) < 2 - 1e-9:
        raise InputError(
            f"{n} replicates are too few for a confidence of {confidence}: {2 / (1 - confidence):.0f} at least"
        )


def percentiles(replicates: Floats, confidence: float) -> list[Interval]:
    """The interval of each column, `[n, M]` -> M of them.

    >>> percentiles(np.arange(5.0)[:, None], 0.5)
    [(1.0, 3.0)]
    """
    low, high = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))
