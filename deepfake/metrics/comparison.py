"""Several systems on the same trials: a paired test of two, and an interval of the mean over many.

In each replicate of the bootstrap all systems are measured on the same resample, see `deepfake.metrics.resampling`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfake.errors import InputError
from deepfake.metrics.ranked import Ranked, Weights, costs
from deepfake.metrics.resampling import Interval, Resampler, check, percentiles
from deepfake.metrics.trials import Floats, Trials

ROUNDING = 1e-12  # a difference as small as this is none


class Difference(NamedTuple):
    """Of two systems on the same trials.

    Attributes:
        a: The metric of the first system.
        b: Of the second.
        difference: a - b.
        low, high: Its percentile interval.
        p: Two-sided p-value of no difference, twice the share of replicates on the other side of 0 (or on it): with
            `count` the fewer of those >= 0 and those <= 0 it is 2 (1 + count) / (n + 1), at most 1 and never 0. It is
            the percentile interval turned round: where p falls below 1 - confidence, the interval leaves 0 out.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float


def paired(
    scores_a: ArrayLike, scores_b: ArrayLike, labels: ArrayLike, *, confidence: float = 0.95, **resampling: Any
) -> dict[str, Difference]:
    """Two systems on the same trials and the same resamples: what both find hard does not blur the difference.

    Args:
        scores_a: Scores `[N]` of the first system, larger = more bona fide.
        scores_b: Of the second, trial by trial in the same order.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof.
        confidence: Share of the replicates that the interval covers.
        resampling: `n`, `seed` and `clusters` of `deepfake.metrics.resampling.interval`, and `tdcf`: weights c0, c1, c2
            of further costs by name, see `deepfake.metrics.tdcf.min_tdcf_of`.

    Returns:
        By metric: `eer`, `auc`, `min_dcf`, and the names in `tdcf`.

    Raises:
        InputError: See `deepfake.metrics.resampling.interval`.

    >>> found = paired([3, 2, 1, 0], [3, 1, 2, 0], [1, 1, 0, 0], n=100)
    >>> found["eer"].a, found["eer"].b, found["eer"].difference
    (0.0, 0.5, -0.5)
    """
    names, (a, b), replicates = _same_trials([scores_a, scores_b], labels, confidence=confidence, **resampling)
    differences = replicates[:, 0] - replicates[:, 1]  # [n, M]
    count = np.minimum(np.sum(differences >= -ROUNDING, axis=0), np.sum(differences <= ROUNDING, axis=0))
    p = np.minimum(2 * (1 + count) / (len(differences) + 1), 1)
    bounds = percentiles(differences, confidence)
    return {
        name: Difference(float(a[m]), float(b[m]), float(a[m] - b[m]), *bounds[m], p=float(p[m]))
        for m, name in enumerate(names)
    }


def mean_of_systems(
    scores: Sequence[ArrayLike], labels: ArrayLike, *, confidence: float = 0.95, **resampling: Any
) -> dict[str, Interval]:
    """Percentile intervals of the mean of each metric over systems (seeds) on the same trials, drawn again together.

    Args:
        scores: One `[N]` for each system, trial by trial in the same order.
        labels, confidence, resampling: See `paired`.

    Returns:
        By metric: `eer`, `auc`, `min_dcf`, and the names in `tdcf`.

    Raises:
        InputError: See `deepfake.metrics.resampling.interval`.

    >>> mean_of_systems([[3, 2, 1, 0], [9, 8, 1, 0]], [1, 1, 0, 0], n=100)["eer"]
    (0.0, 0.0)
    """
    names, _, replicates = _same_trials(scores, labels, confidence=confidence, **resampling)
    return dict(zip(names, percentiles(replicates.mean(axis=1), confidence), strict=True))


def _same_trials(
    scores: Sequence[ArrayLike],
    labels: ArrayLike,
    *,
    confidence: float,
    tdcf: Mapping[str, Weights] | None = None,
    n: int = 1000,
    seed: int = 0,
    clusters: Sequence[str] | NDArray | None = None,
) -> tuple[list[str], Floats, Floats]:
    """Names of the M metrics, what they are of the K systems `[K, M]`, and those of the replicates `[n, K, M]`."""
    check(n, confidence)
    if not len(scores):
        raise InputError("got no systems: at least one row of scores was expected")
    rows = [Trials.of(row, labels) for row in scores]
    systems = [Ranked(trials, costs=costs(tdcf)) for trials in rows]
    drawn = Resampler(rows[0].bonafide, clusters).counts(np.random.default_rng(seed), n)
    replicates = np.array([[system.metrics(counts) for system in systems] for counts in drawn])
    every = np.ones(len(rows[0]), dtype=np.int64)
    return systems[0].names, np.array([system.metrics(every) for system in systems]), replicates
