"""Metrics of the ROC as functions of how often each trial, or each file, counts: what the bootstrap asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfake.errors import InputError
from deepfake.metrics.dcf import C_FA, C_MISS, P_SPOOF
from deepfake.metrics.eer import crossing
from deepfake.metrics.trials import Floats, Ranking, Roc, Trials

Weights = tuple[float, float, float]
MIN_DCF: Weights = (0.0, C_MISS * (1 - P_SPOOF), C_FA * P_SPOOF)


class Ranked:
    """The metrics of any resample of trials, in one pass each.

    Tied scores are one step of the ROC; `eer` is interpolated along it as in `deepfake.metrics.eer.eer`.

    Args:
        trials: The trials.
        costs: What `costs` gave.
        threshold: If given, `fpr` and `fnr` of score > threshold are metrics too.

    >>> ranked = Ranked(Trials([3, 1, 2, 0], [1, 1, 0, 0]), costs={})
    >>> dict(zip(ranked.names, ranked.metrics(np.array([1, 3, 1, 1])), strict=True))
    {'eer': 0.5, 'auc': 0.625}
    """

    def __init__(self, trials: Trials, *, costs: Mapping[str, Weights], threshold: float | None = None) -> None:
        self.ranking = trials.ranking
        self.bonafide = trials.bonafide[self.ranking.order]
        self.costs = list(costs.values())
        self.names = ["eer", "auc", *costs]
        self.rejected = None
        if threshold is not None:
            self.names += ["fpr", "fnr"]
            self.rejected = int(np.searchsorted(self.ranking.distinct, threshold, side="right"))

    def metrics(self, counts: NDArray[np.int64]) -> list[float]:
        """The metrics `names`, of a resample that holds trial i `counts[i]` times, both classes included."""
        counts = counts[self.ranking.order]
        b = self.ranking.up_to(counts * self.bonafide)
        s = self.ranking.up_to(counts) - b
        frr, far = b / b[-1], (s[-1] - s) / s[-1]  # [U + 1]
        after = int(np.searchsorted(frr - far, 0.0))  # the gap never falls
        values = [
            crossing(frr[after - 1], far[after - 1], frr[after], far[after]),
            float(np.dot(np.diff(frr), 1 - (far[1:] + far[:-1]) / 2)),
        ]
        values += [float(np.min(c0 + c1 * frr + c2 * far)) for c0, c1, c2 in self.costs]
        return values if self.rejected is None else [*values, far[self.rejected], frr[self.rejected]]


class Pool:
    """Units of many files, sorted once by score: the ROC of any resample of the files.

    Args:
        scores: Of each file's units, larger = more bona fide.
        bonafide: How much bona fide is in each: 1 or 0, or seconds.
        spoof: How much spoof.

    >>> pool = Pool([[2.0, 1.0], [0.0]], [[1, 0], [0]], [[0, 1], [1]])
    >>> pool.auc(np.array([1, 3]))
    1.0
    """

    def __init__(self, scores: Sequence[ArrayLike], bonafide: Sequence[ArrayLike], spoof: Sequence[ArrayLike]) -> None:
        self.ranking = Ranking(np.concatenate([np.asarray(s, dtype=np.float64) for s in scores]))
        order = self.ranking.order
        self.file = np.repeat(np.arange(len(scores)), [len(np.atleast_1d(s)) for s in scores])[order]
        self.bonafide, self.spoof = np.concatenate(bonafide)[order], np.concatenate(spoof)[order]

    def _rejected(self, counts: NDArray) -> tuple[Floats, Floats] | None:
        """Bona fide and spoof up to each distinct score `[U + 1]`; None where a class is missing."""
        times = counts[self.file]
        bonafide, spoof = (self.ranking.up_to(amount * times) for amount in (self.bonafide, self.spoof))
        return (bonafide, spoof) if bonafide[-1] > 0 and spoof[-1] > 0 else None

    def roc(self, counts: NDArray) -> Roc | None:
        """With each file taken that often `[files]`; None where a class is missing."""
        if (rejected := self._rejected(counts)) is None:
            return None
        bonafide, spoof = rejected
        thresholds = np.append(self.ranking.distinct[0] - 1, self.ranking.distinct)
        return Roc(1 - spoof / spoof[-1], bonafide / bonafide[-1], thresholds)

    def auc(self, counts: NDArray) -> float:
        """Area under that ROC, of whole units without rounding; NaN where a class is missing."""
        if (rejected := self._rejected(counts)) is None:
            return float("nan")
        bonafide, spoof = rejected
        won = np.sum(np.diff(bonafide) * (spoof[1:] + spoof[:-1]) / 2)
        return float(won / (bonafide[-1] * spoof[-1]))


def costs(tdcf: Mapping[str, Weights] | None) -> dict[str, Weights]:
    """The weights of `min_dcf` and of the given costs, normalised: accepting or rejecting everything costs 1.

    Raises:
        InputError: A weight is negative or no number, nothing to divide by, or a name that is another metric's.

    >>> costs({"tandem": (0.5, 1.0, 0.5)})
    {'min_dcf': (0.0, 1.9, 1.0), 'tandem': (0.5, 1.0, 0.5)}
    """
    found: dict[str, Weights] = {}
    for name, weights in {"min_dcf": MIN_DCF, **(tdcf or {})}.items():
        c0, c1, c2 = weights
        if not all(0 <= weight < np.inf for weight in weights) or c0 + min(c1, c2) == 0:
            raise InputError(
                f"the weights of {name} are {weights}: C0, C1, C2 >= 0 and C0 + min(C1, C2) > 0 were expected"
            )
        found[name] = (c0 / (c0 + min(c1, c2)), c1 / (c0 + min(c1, c2)), c2 / (c0 + min(c1, c2)))
    if taken := {"eer", "auc", "fpr", "fnr"} & set(found) | {"min_dcf"} & set(tdcf or {}):
        raise InputError(f"a cost is named {sorted(taken)[0]!r}: that is another metric's name")
    return found
