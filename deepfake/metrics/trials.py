"""Scored trials, checked once and sorted once: what every metric of this package is made from.

Conventions of the package: label 1 = bona fide, 0 = spoof; a larger score is more bona fide; a trial is **accepted as
bona fide if its score is strictly greater than the threshold**. Rates are fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfake.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Roc(NamedTuple):
    """Operating points in order of rising threshold, from accepting everything to rejecting everything.

    Attributes:
        far: False acceptance rate `[K]`, the share of spoof with a score above the threshold; falls from 1 to 0.
        frr: False rejection rate `[K]`, the share of bona fide with a score at or below it; rises from 0 to 1.
        thresholds: `[K]`; the first lies below every score, the others are scores.
    """

    far: Floats
    frr: Floats
    thresholds: Floats


class Ranking:
    """Scores `[N]` sorted once, for sums of whatever the trials hold up to each distinct score.

    Attributes:
        order: `[N]` indices of rising score, equal scores in the order given.
        ends: `[U]`, where each of the U distinct scores ends in that order.
        distinct: `[U]` those scores.

    >>> ranking = Ranking(np.array([3.0, 1.0, 3.0]))
    >>> ranking.distinct, ranking.up_to(np.array([5, 6, 7])[ranking.order])
    (array([1., 3.]), array([ 0,  6, 18]))
    """

    def __init__(self, scores: Floats) -> None:
        self.order = np.argsort(scores, kind="stable")
        s = scores[self.order]
        self.ends = _ends(s)
        self.distinct = s[self.ends]

    def up_to(self, amounts: NDArray) -> NDArray:
        """Sums of amounts `[N]`, given in this order, over no trial and then up to each distinct score, `[U + 1]`."""
        sums = np.cumsum(amounts)[self.ends]
        return np.concatenate([np.zeros(1, dtype=sums.dtype), sums])


class Trials:
    """Scored trials that have been checked, so that nothing that could give a plausible wrong number goes any further.

    Every metric takes scores and labels, or one of these in their place, which is then not checked nor sorted again.

    Args:
        scores: Scores `[N]`, larger = more bona fide. They may be infinite; most metrics refuse such, see `of`.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof. One class may be missing; most metrics refuse that, see `of`.

    Attributes:
        scores: In float64 `[N]`, in the order given.
        bonafide: `True` where bona fide `[N]`.

    Raises:
        InputError: Shapes differ, a score is NaN, a label is neither 0 nor 1.

    >>> Trials([3, 2, 2, 1], [1, 1, 0, 0]).roc.frr
    array([0. , 0. , 0.5, 1. ])
    """

    def __init__(self, scores: ArrayLike, labels: ArrayLike) -> None:
        s, y = numbers(scores, "scores"), np.asarray(labels)
        if s.ndim != 1 or s.shape != y.shape:
            raise InputError(
                f"got scores of shape {s.shape} and labels of shape {y.shape}: two equal [N] were expected"
            )
        if bad := np.count_nonzero(np.isnan(s)):
            raise InputError(f"{bad} of {len(s)} scores are NaN: find out which utterances gave them")
        if bad := np.count_nonzero((y != 0) & (y != 1)):
            raise InputError(f"{bad} of {len(y)} labels are neither 1 (bona fide) nor 0 (spoof)")
        self.scores, self.bonafide = s, y.astype(bool)

    @classmethod
    def unchecked(cls, scores: Floats, bonafide: Bools) -> Trials:
        """Trials that come from checked ones; there may be none."""
        trials = cls.__new__(cls)
        trials.scores, trials.bonafide = scores, bonafide
        return trials

    @classmethod
    def of_classes(cls, bonafide: Floats, spoof: Floats) -> Trials:
        """Trials from the checked scores of either class; there may be none."""
        return cls.unchecked(np.append(bonafide, spoof), np.arange(len(bonafide) + len(spoof)) < len(bonafide))

    @classmethod
    def of(cls, scores: Scored, labels: Labels = None, *, both_classes: bool = True, infinite: bool = False) -> Trials:
        """Trials as they are, or from scores and labels, with what a metric asks of them.

        Args:
            scores: Trials, or scores `[N]`.
            labels: Labels `[N]`; not needed beside trials.
            both_classes: Whether one of the classes may not be missing.
            infinite: Whether scores may be infinite, as likelihood ratios may.

        Raises:
            InputError: There are no trials, a class is missing, a score is infinite; see also `Trials`.
        """
        trials = scores if isinstance(scores, Trials) else cls(scores, () if labels is None else labels)
        if not len(trials):
            raise InputError("got no trials: scores and labels are empty")
        if both_classes and not (trials.n_bonafide and trials.n_spoof):
            counts = f"{trials.n_bonafide} bona fide and {trials.n_spoof} spoof trials"
            raise InputError(f"got {counts}: both are needed")
        if not infinite and trials.n_infinite:
            counts = f"{trials.n_infinite} of {len(trials)} scores"
            raise InputError(f"{counts} are infinite: find out which utterances gave them")
        return trials

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def n_bonafide(self) -> int:
        return int(np.count_nonzero(self.bonafide))

    @property
    def n_spoof(self) -> int:
        return len(self) - self.n_bonafide

    @cached_property
    def n_infinite(self) -> int:
        return int(np.count_nonzero(np.isinf(self.scores)))

    @cached_property
    def ranking(self) -> Ranking:
        """The order of the trials, for what has to know which trial is where: resamples."""
        return Ranking(self.scores)

    @cached_property
    def _sorted(self) -> tuple[Floats, NDArray[np.int64]]:
        """Scores in ascending order `[N]`, bona fide first in ties, and the bona fide among the first k `[N + 1]`."""
        bonafide, spoof = np.sort(self.scores[self.bonafide]), np.sort(self.scores[~self.bonafide])
        s = np.concatenate([bonafide, spoof])
        order = np.argsort(s, kind="stable")  # only merges the two: quicker than sorting them at once
        return s[order], np.concatenate([[0], np.cumsum(order < len(bonafide))])

    @cached_property
    def _reachable(self) -> NDArray[np.int64]:
        """Which of the official points thresholds can reach `[U + 1]`."""
        return np.append(0, _ends(self._sorted[0]) + 1)

    @cached_property
    def rejected(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many bona fide and how many spoof score at or below nothing, then each distinct score: two `[U + 1]`."""
        bonafide = self._sorted[1][self._reachable]
        return bonafide, self._reachable - bonafide

    @cached_property
    def distinct(self) -> Floats:
        """The distinct scores in ascending order `[U]`."""
        return self._sorted[0][self._reachable[1:] - 1]

    @cached_property
    def official(self) -> Roc:
        """The organisers' `compute_det_curve`, see `deepfake.metrics.eer.official_points`."""
        s, rejected = self._sorted
        n_bonafide, n_spoof = self.n_bonafide, self.n_spoof
        return Roc(
            far=(n_spoof - (np.arange(len(s) + 1) - rejected)) / n_spoof,
            frr=rejected / n_bonafide,
            thresholds=np.concatenate([[below(s[0])], s]),
        )

    @cached_property
    def roc(self) -> Roc:
        """Operating points that thresholds can reach, see `deepfake.metrics.eer.roc`."""
        if len(self._reachable) == len(self) + 1:  # no ties
            return self.official
        return Roc(*(column[self._reachable] for column in self.official))


Scored = Trials | ArrayLike
Labels = ArrayLike | None  # None beside trials


def below(lowest: float, step: float = 0.001) -> float:
    """The organisers' threshold that accepts everything, `min - 0.001`, kept below the minimum at any magnitude.

    >>> below(1.0)
    0.999
    >>> below(1e20) < 1e20
    True
    """
    return min(lowest - step, float(np.nextafter(lowest, -np.inf)))


def numbers(values: ArrayLike, name: str) -> Floats:
    """Values in float64.

    Raises:
        InputError: They are not numbers.

    >>> numbers([1, 2], "scores")
    array([1., 2.])
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"the {name} are not numbers: an array of floats was expected") from None


def three_kinds(
    target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike, *, what: str = "scores"
) -> tuple[Floats, Floats, Floats]:
    """Scores of a verifier's three kinds of trials, each `[N]` of its own N, checked; `what` names them in messages.

    Raises:
        InputError: Those of a kind are not finite numbers in one row, at least one.

    >>> three_kinds([2], [1], [0, 1])
    (array([2.]), array([1.]), array([0., 1.]))
    """
    found = []
    for kind, scores in (("target", target), ("nontarget", nontarget), ("spoof", spoof)):
        s = numbers(scores, f"{what} of {kind} trials")
        if s.ndim != 1 or not s.size:
            shape = f"{what} of {kind} trials of shape {s.shape}"
            raise InputError(f"got {shape}: at least one, in one row [N], was expected")
        if bad := int(np.sum(~np.isfinite(s))):
            raise InputError(f"{bad} of {s.size} {what} of {kind} trials are NaN or infinite: find out which gave them")
        found.append(s)
    return found[0], found[1], found[2]


def rejected_shares(groups: Sequence[Floats]) -> tuple[list[Floats], Floats]:
    """Share of each group that is rejected at no score and then at each distinct one `[U + 1]`, and those scores `[U]`.

    >>> rejected_shares([np.array([1.0, 2.0]), np.array([1.0])])
    ([array([0. , 0.5, 1. ]), array([0., 1., 1.])], array([1., 2.]))
    """
    ranking = Ranking(np.concatenate([np.sort(group) for group in groups]))  # which then has only to merge them
    which = np.repeat(np.arange(len(groups), dtype=np.int8), [len(group) for group in groups])[ranking.order]
    return [ranking.up_to(which == i) / len(group) for i, group in enumerate(groups)], ranking.distinct


def _ends(ascending: Floats) -> NDArray[np.int64]:
    """Where each distinct value ends `[U]`."""
    return np.flatnonzero(np.append(ascending[1:] != ascending[:-1], True))
