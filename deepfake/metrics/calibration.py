"""From raw scores to log-likelihood ratios (LLRs): fitted on dev, and stated no stronger than dev supports."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfake.errors import InputError
from deepfake.metrics.bounds import supported
from deepfake.metrics.logistic import fit
from deepfake.metrics.trials import Floats, Labels, Scored, Trials


class LikelihoodRatio(NamedTuple):
    """How much more probable a score is of spoofed than of bona fide speech.

    Attributes:
        log10_lr_spoof: Base-10 logarithm of the ratio, above 0 in favour of spoof.
        capped: Whether it is limited to what the calibration set supports.
    """

    log10_lr_spoof: float
    capped: bool


class Calibration(NamedTuple):
    """An affine map from score to natural-log LLR of bona fide, and the bounds beyond which it is not stated.

    Attributes:
        weight: Slope, above 0.
        offset: LLR of a score of 0.
        low: Least LLR, <= 0 (`deepfake.metrics.bounds.supported`).
        high: Greatest LLR, >= 0.
        n_bonafide: Bona fide trials it was fitted on.
        n_spoof: Spoofed trials it was fitted on.
    """

    weight: float
    offset: float
    low: float
    high: float
    n_bonafide: int
    n_spoof: int

    def uncapped(self, scores: ArrayLike) -> Floats:
        """LLRs `[N]` of scores `[N]` by the map alone."""
        return self.weight * np.asarray(scores, dtype=np.float64) + self.offset

    def llr(self, scores: ArrayLike) -> Floats:
        """LLRs `[N]` of scores `[N]`, within the bounds."""
        return np.clip(self.uncapped(scores), self.low, self.high)


def calibrate(scores: Scored, labels: Labels = None) -> Calibration:
    """Fit `deepfake.metrics.logistic.fit` about even odds, and bound it by what these trials support.

    Raises:
        InputError: The scores are the wrong way round (the slope is not above 0); see also `logistic.fit`.

    >>> found = calibrate([3, 2, 1, 0], [1, 1, 0, 0])
    >>> found.weight > 0, found.llr([-99, 1.5, 99]).round(2) + 0.0
    (True, array([-0.45,  0.  ,  0.45]))
    """
    trials = Trials.of(scores, labels)
    (weight,), offset = fit(trials)
    if weight <= 0:
        raise InputError("the scores are not larger for bona fide speech than for spoof: there is nothing to calibrate")
    low, high = supported(weight * trials.scores + offset, trials.bonafide)
    return Calibration(float(weight), float(offset), low, high, trials.n_bonafide, trials.n_spoof)


def cross_validated(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    capped: bool = True,
    folds: int = 5,
    seed: int = 0,
) -> Floats:
    """LLRs of trials by maps that were fitted without them: what calibration is worth, without flattery.

    The trials are dealt into folds of like shares of both classes, each group (speaker) whole; those of one fold get
    the LLRs of a map fitted on the others. As the maps are, the bounds are found fold by fold.

    Args:
        scores: `[N]`, or `[N, K]` for the linear fusion of K systems.
        labels: `[N]`, 1 = bona fide, 0 = spoof.
        groups: `[N]`, of which no one stands on both sides of a fold; None for trials on their own.
        capped: Whether the LLRs are kept within the bounds, which makes ties of the strongest.
        folds: How many; fewer where a class has fewer trials or groups, or the groups cannot be dealt into as many.
        seed: Of the dealing.

    Returns:
        LLRs `[N]`.

    Raises:
        InputError: A class has fewer than two trials or groups, or they cannot be dealt; see also `logistic.fit`.

    >>> llrs = cross_validated([5, 4, 3, 2, 1, 0], [1, 1, 1, 0, 0, 0])
    >>> bool(llrs[:3].min() > llrs[3:].max())
    True
    """
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    x = x[:, None] if x.ndim == 1 else x
    groups = np.arange(len(y)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    llrs = np.full(len(y), np.nan)
    for inside, outside in dealt(y, groups, folds=folds, seed=seed):
        weights, offset = fit(x[inside], y[inside])
        llrs[outside] = x[outside] @ weights + offset
        if capped:
            llrs[outside] = np.clip(llrs[outside], *supported(x[inside] @ weights + offset, y[inside]))
    return llrs


def dealt(
    labels: NDArray[np.int64], groups: NDArray[np.int64], *, folds: int, seed: int
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Folds as pairs of indices, inside and outside, no group on both sides and both classes on each.

    >>> [len(outside) for _, outside in dealt(np.array([1, 1, 0, 0]), np.arange(4), folds=5, seed=0)]
    [2, 2]
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # slow to import, and seldom needed

    folds = min(folds, *(len(np.unique(groups[labels == label])) for label in (0, 1)))
    if folds < 2:
        raise InputError("each class needs two trials, or two speakers, to be cross-validated: there are too few")
    alone = len(np.unique(groups)) == len(groups)  # then there is nothing to keep together, which takes long
    for n in range(folds, 1, -1):
        dealer = (StratifiedKFold if alone else StratifiedGroupKFold)(n, shuffle=True, random_state=seed)
        pairs = list(dealer.split(np.zeros(len(labels)), labels, None if alone else groups))
        if all(len(np.unique(labels[side])) == 2 for pair in pairs for side in pair):
            return pairs
    raise InputError("the speakers cannot be dealt into two folds with both classes in each: there are too few")
