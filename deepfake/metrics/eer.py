"""Error rates of a detector over all thresholds: the ROC points and the equal error rate, tie-aware and official.

Each function takes scores and labels, or the `deepfake.metrics.trials.Trials` of them and no labels.
"""

from __future__ import annotations

import numpy as np

from deepfake.metrics.trials import Labels, Roc, Scored, Trials


def official_points(scores: Scored, labels: Labels = None) -> Roc:
    """The organisers' `compute_det_curve`: one point per trial, also inside tied scores.

    The scores are put in ascending order with the bona fide ones first where they tie, and point `k` rejects the first
    `k`. Points inside a block of ties are therefore operating points that no threshold can reach; they are kept because
    the published EER and t-DCF values were computed with them.

    Shape:
        scores, labels `[N]` -> each `[N + 1]`

    >>> official_points([0.5, 0.5], [0, 1]).frr
    array([0., 1., 1.])
    """
    return Trials.of(scores, labels).official


def roc(scores: Scored, labels: Labels = None) -> Roc:
    """Operating points that thresholds can reach: tied scores are accepted or rejected together.

    Shape:
        scores, labels `[N]` -> each `[U + 1]` for U distinct scores

    >>> roc([0.5, 0.5], [0, 1]).frr
    array([0., 1.])
    """
    return Trials.of(scores, labels).roc


def eer(scores: Scored, labels: Labels = None) -> tuple[float, float]:
    """Equal error rate: where false rejection equals false acceptance on the line through the tie-grouped ROC points.

    No threshold separates tied scores, so the points either side of a tie are joined by a straight line (which is what
    rejecting a random share of the tie does), and scores that are all equal give 0.5. Not the convex hull.

    Returns:
        The rate, and the threshold whose own two rates lie nearest to each other: always one of the scores (accept if
        score > threshold), and on scores without ties that of `eer_official`.

    Raises:
        InputError: A class is missing, a score is NaN or infinite; see `deepfake.metrics.trials.Trials`.

    >>> eer([4, 3, 2, 1, 2.5, 1.5, 0, -1], [1, 1, 1, 1, 0, 0, 0, 0])
    (0.25, 1.5)
    """
    return eer_on(roc(scores, labels))


def eer_on(points: Roc) -> tuple[float, float]:
    """`eer` on an ROC that is not one of trials: of durations, of a resample.

    >>> eer_on(roc([1, 0], [1, 0]))
    (0.0, 0.0)
    """
    far, frr, thresholds = points
    gap = frr - far  # rises strictly from -1 to 1
    after = int(np.argmax(gap >= 0))
    rate = crossing(frr[after - 1], far[after - 1], frr[after], far[after])
    nearest = 1 + int(np.argmin(np.abs(gap[1:])))  # accepting everything has the largest gap there is, so never nearer
    return rate, float(thresholds[nearest])


def crossing(frr0: float, far0: float, frr1: float, far1: float) -> float:
    """Rate at which false rejection equals false acceptance, on the line from one operating point to the next.

    >>> crossing(0.0, 0.5, 0.5, 0.0)
    0.25
    """
    share = (far0 - frr0) / ((far0 - frr0) + (frr1 - far1))
    return float(frr0 + share * (frr1 - frr0))


def carried_threshold(scores: Scored, labels: Labels = None) -> float:
    """The EER threshold moved half way to the next larger score: the same decisions here, a margin on both sides.

    For other data than these: where the classes are separable, `eer`'s own threshold is the largest spoof score.

    >>> carried_threshold([1.0, 0.0, 0.5], [1, 0, 0])
    0.75
    """
    trials = Trials.of(scores, labels)
    _, threshold = eer(trials)
    above = trials.scores[trials.scores > threshold]
    return float((threshold + above.min()) / 2) if len(above) else threshold


def eer_official(scores: Scored, labels: Labels = None) -> tuple[float, float]:
    """Equal error rate as the ASVspoof 2019, 2021 and 5 scripts and AASIST's compute it.

    Of `official_points`, the first with the smallest |FRR - FAR|, and the mean of its two rates; no interpolation. With
    ties the value is pessimistic without bound (all scores equal: 1.0), on small sets it is off by up to half a step.

    Returns:
        The rate as a fraction, and its threshold (accept if score > threshold).

    Raises:
        InputError: See `eer`.

    >>> eer_official([7, 7, 7], [1, 0, 0])
    (1.0, 7.0)
    """
    far, frr, thresholds = official_points(scores, labels)
    i = int(np.argmin(np.abs(frr - far)))
    return float((frr[i] + far[i]) / 2), float(thresholds[i])
