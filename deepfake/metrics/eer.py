"""Error rates of a detector over all thresholds: the ROC points and the equal error rate, tie-aware and official.

Conventions of every metric in this package: label 1 = bona fide, 0 = spoof; a larger score is more bona fide; a trial
is **accepted as bona fide if its score is strictly greater than the threshold**. Rates are fractions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfake.errors import InputError

Floats = NDArray[np.float64]


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


def trials(scores: ArrayLike, labels: ArrayLike, *, both_classes: bool = True) -> tuple[Floats, NDArray[np.bool_]]:
    """Check a set of trials, so that nothing that could give a plausible wrong number goes any further.

    Args:
        scores: Scores `[N]`, larger = more bona fide.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof.
        both_classes: Whether one of the classes may not be missing.

    Returns:
        Scores in float64 `[N]`, and `True` where bona fide `[N]`.

    Raises:
        InputError: Shapes differ, no trials, a score is NaN or infinite, a label is neither 0 nor 1, a class is
            missing.
    """
    try:
        s = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("the scores are not numbers: an array of floats was expected") from None
    y = np.asarray(labels)
    if s.ndim != 1 or s.shape != y.shape:
        raise InputError(f"got scores of shape {s.shape} and labels of shape {y.shape}: two equal [N] were expected")
    if not len(s):
        raise InputError("got no trials: scores and labels are empty")
    if bad := np.count_nonzero(~np.isfinite(s)):
        raise InputError(f"{bad} of {len(s)} scores are NaN or infinite: find out which utterances gave them")
    if bad := np.count_nonzero((y != 0) & (y != 1)):
        raise InputError(f"{bad} of {len(y)} labels are neither 1 (bona fide) nor 0 (spoof)")
    y = y.astype(bool)
    n_bonafide = np.count_nonzero(y)
    if both_classes and n_bonafide in (0, len(y)):
        raise InputError(f"got {n_bonafide} bona fide and {len(y) - n_bonafide} spoof trials: both are needed")
    return s, y


def _below(lowest: float) -> float:
    """The organisers' threshold that accepts everything, `min - 0.001`, kept below the minimum at any magnitude."""
    return min(lowest - 0.001, float(np.nextafter(lowest, -np.inf)))


def official_points(scores: ArrayLike, labels: ArrayLike) -> Roc:
    """The organisers' `compute_det_curve`: one point per trial, also inside tied scores.

    The scores are put in ascending order with the bona fide ones first where they tie, and point `k` rejects the first
    `k`. Points inside a block of ties are therefore operating points that no threshold can reach; they are kept because
    the published EER and t-DCF values were computed with them.

    Shape:
        scores, labels `[N]` -> each `[N + 1]`
    """
    s, y = trials(scores, labels)
    s = np.concatenate([np.sort(s[y]), np.sort(s[~y])])  # bona fide first, the stable sort keeps it so and only merges
    y = np.arange(len(s)) < np.count_nonzero(y)
    order = np.argsort(s, kind="stable")
    s, y = s[order], y[order]
    rejected_bonafide = np.concatenate([[0], np.cumsum(y)])  # [N + 1]
    rejected_spoof = np.arange(len(s) + 1) - rejected_bonafide
    n_bonafide, n_spoof = rejected_bonafide[-1], rejected_spoof[-1]
    return Roc(
        far=(n_spoof - rejected_spoof) / n_spoof,
        frr=rejected_bonafide / n_bonafide,
        thresholds=np.concatenate([[_below(s[0])], s]),
    )


def roc(scores: ArrayLike, labels: ArrayLike) -> Roc:
    """Operating points that thresholds can reach: tied scores are accepted or rejected together.

    Shape:
        scores, labels `[N]` -> each `[U + 1]` for U distinct scores
    """
    return reachable(official_points(scores, labels))


def reachable(points: Roc) -> Roc:
    """Those of `official_points` that a threshold can reach, which are those of `roc`."""
    far, frr, thresholds = points
    last_of_tie = np.append(thresholds[1:] != thresholds[:-1], True)  # point k has rejected all scores <= its threshold
    return Roc(far[last_of_tie], frr[last_of_tie], thresholds[last_of_tie])


def eer(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """Equal error rate: where false rejection equals false acceptance on the line through the tie-grouped ROC points.

    Tied scores cannot be told apart, so the points either side of a tie are joined by a straight line (which is what
    rejecting a random share of the tie does), and scores that are all equal give 0.5. Not the convex hull.

    Returns:
        The rate, and the threshold whose own two rates lie nearest to each other: always one of the scores (accept if
        score > threshold), and on scores without ties that of `eer_official`.

    Raises:
        InputError: See `trials`.
    """
    return eer_on(roc(scores, labels))


def eer_on(points: Roc) -> tuple[float, float]:
    """`eer` of the trials whose `roc` this is, for who wants more than one metric of the same points."""
    far, frr, thresholds = points
    gap = frr - far  # rises strictly from -1 to 1
    after = int(np.argmax(gap >= 0))
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    rate = frr[after - 1] + share * (frr[after] - frr[after - 1])
    nearest = 1 + int(np.argmin(np.abs(gap[1:])))  # accepting everything has the largest gap there is, so never nearer
    return float(rate), float(thresholds[nearest])


def carried_threshold(scores: ArrayLike, labels: ArrayLike) -> float:
    """The EER threshold moved half way to the next larger score: the same decisions here, a margin on both sides.

    For other data than these: where the classes are separable, `eer`'s own threshold is the largest spoof score.
    """
    _, threshold = eer(scores, labels)
    above = (s := np.asarray(scores, dtype=np.float64))[s > threshold]
    return float((threshold + above.min()) / 2) if len(above) else threshold


def eer_official(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """Equal error rate as the ASVspoof 2019, 2021 and 5 scripts and AASIST's compute it.

    Of `official_points`, the first with the smallest |FRR - FAR|, and the mean of its two rates; no interpolation. With
    ties the value is pessimistic without bound (all scores equal: 1.0), on small sets it is off by up to half a step.

    Returns:
        The rate as a fraction, and its threshold (accept if score > threshold).

    Raises:
        InputError: See `trials`.
    """
    return eer_official_on(official_points(scores, labels))


def eer_official_on(points: Roc) -> tuple[float, float]:
    """`eer_official` of the trials whose `official_points` these are."""
    far, frr, thresholds = points
    i = int(np.argmin(np.abs(frr - far)))
    return float((frr[i] + far[i]) / 2), float(thresholds[i])
