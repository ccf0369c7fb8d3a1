"""Metrics of the ROC as functions of how often each trial counts: what the bootstrap asks for a thousand times."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfake.errors import InputError
from deepfake.metrics.eer import trials

Weights = tuple[float, float, float]
MIN_DCF: Weights = (0.0, 0.95 * 1, 0.05 * 10)  # of ASVspoof 5: prior of spoof 0.05, C_miss 1, C_fa 10


class Ranked:
    """Trials sorted once by score, from which the metrics of any resample follow in one pass.

    Tied scores are one step of the ROC; `eer` is interpolated along it as in `deepfake.metrics.eer.eer`.

    Args:
        scores: Scores `[N]`.
        labels: Labels `[N]`.
        costs: What `costs` gave.
        threshold: If given, `fpr` and `fnr` of score > threshold are metrics too.
    """

    def __init__(
        self, scores: ArrayLike, labels: ArrayLike, *, costs: Mapping[str, Weights], threshold: float | None = None
    ) -> None:
        s, y = trials(scores, labels)
        self.order = np.argsort(s, kind="stable")
        s, self.bonafide = s[self.order], y[self.order]
        self.last = np.flatnonzero(np.append(s[1:] != s[:-1], True))  # [U], where each distinct score ends
        self.costs = list(costs.values())
        self.names = ["eer", "auc", *costs]
        self.rejected = None
        if threshold is not None:
            self.names += ["fpr", "fnr"]
            self.rejected = int(np.searchsorted(s[self.last], threshold, side="right"))

    def metrics(self, counts: NDArray[np.int64]) -> list[float]:
        """The metrics `names`, of a resample that holds trial i `counts[i]` times, both classes included."""
        counts = counts[self.order]
        b = np.cumsum(counts * self.bonafide)[self.last]
        frr = np.concatenate([[0.0], b / b[-1]])  # [U + 1]
        s = np.cumsum(counts)[self.last] - b
        far = np.concatenate([[1.0], (s[-1] - s) / s[-1]])
        after = int(np.searchsorted(frr - far, 0.0))  # the gap never falls
        values = [
            crossing(frr[after - 1], far[after - 1], frr[after], far[after]),
            float(np.dot(np.diff(frr), 1 - (far[1:] + far[:-1]) / 2)),
        ]
        values += [float(np.min(c0 + c1 * frr + c2 * far)) for c0, c1, c2 in self.costs]
        return values if self.rejected is None else [*values, far[self.rejected], frr[self.rejected]]


def crossing(frr0: float, far0: float, frr1: float, far1: float) -> float:
    """Rate at which false rejection equals false acceptance, on the line from one operating point to the next."""
    share = (far0 - frr0) / ((far0 - frr0) + (frr1 - far1))
    return float(frr0 + share * (frr1 - frr0))


def costs(tdcf: Mapping[str, Weights] | None) -> dict[str, Weights]:
    """The weights of `min_dcf` and of the given costs, normalised: a CM that does not listen costs 1.

    Raises:
        InputError: A weight is negative or no number, nothing to divide by, or a name that is another metric's.
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
