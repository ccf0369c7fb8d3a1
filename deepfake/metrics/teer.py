"""Tandem equal error rate of a countermeasure (CM) and a speaker verifier (ASV): one number for the pair, no costs.

Kinnunen et al. 2023, "t-EER: Parameter-Free Tandem Evaluation of Countermeasures and Biometric Comparators", IEEE
TPAMI. A trial is accepted if both systems accept it, so with a threshold each the tandem has

    P_miss = P_miss_cm + (1 - P_miss_cm) P_miss_asv
    P_fa   = (1 - rho) (1 - P_miss_cm) P_fa_non + rho P_fa_cm P_fa_spf          rho: share of spoofs among impostors

For every ASV threshold there is a CM threshold at which the two are equal: a path, another one for each rho. All paths
meet in the **concurrent** point, where `P_fa_non / P_fa_spf = P_fa_cm / (1 - P_miss_cm)`: there the rates of missed
targets, accepted non-targets and accepted spoofs are all the same. That rate is the concurrent t-EER.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfake.errors import InputError
from deepfake.metrics.eer import roc
from deepfake.metrics.trials import Floats, Labels, Roc, Scored, below, rejected_shares, three_kinds

Ints = NDArray[np.int64]
RHO = 0.5
STRIDE = 64


class TandemEer(NamedTuple):
    """Concurrent t-EER and where it is reached.

    Attributes:
        value: The rate, a fraction.
        cm_threshold: The CM accepts if score > threshold.
        asv_threshold: The ASV system accepts if score > threshold.
    """

    value: float
    cm_threshold: float
    asv_threshold: float


class _Asv(NamedTuple):
    """Rates of the ASV system `[K]` in order of rising threshold."""

    p_miss: Floats
    p_fa_non: Floats
    p_fa_spf: Floats
    thresholds: Floats

    def at(self, which: NDArray) -> _Asv:
        return _Asv(*(column[which] for column in self))


def t_eer(cm_scores: Scored, cm_labels: Labels, target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> TandemEer:
    """Concurrent t-EER over all distinct pairs of thresholds.

    On data the equations hold nowhere exactly, so what the exhaustive search of the authors' script finds is the
    definition: for each ASV threshold the CM threshold with the smallest |P_miss - P_fa| at rho = 0.5 (the lower of
    two); of these pairs, if P_miss_asv < (P_fa_non + P_fa_spf) / 2 (else the path has no point there), the one with the
    smallest |P_fa_non / P_fa_spf - P_fa_cm / (1 - P_miss_cm)| (the lowest ASV threshold of several); of this pair,
    P_fa_spf P_fa_cm. Without ties this is the script's value; as there, a few trials give a coarse number. The search
    here is not over all pairs: P_miss - P_fa rises with the CM threshold, so bisection finds each of them.

    Tied scores are accepted or rejected together. Pairs with P_fa_spf = 0 or P_miss_cm = 1, where a ratio has no value,
    are not candidates.

    Args:
        cm_scores: CM scores `[N]`, larger = more bona fide, or trials.
        cm_labels: Labels of these `[N]`, 1 = bona fide, 0 = spoof; None beside trials.
        target: ASV scores of target trials, larger = more like the claimed speaker.
        nontarget: ASV scores of bona fide trials of another speaker.
        spoof: ASV scores of spoofed trials.

    Raises:
        InputError: A class or a kind of trials is missing, a score is NaN or infinite, a system gives fewer than 3
            distinct scores (decisions, not scores), or no pair of thresholds is a candidate; see also
            `deepfake.metrics.eer.eer`.

    >>> t_eer([3, 2, 1, 0], [1, 1, 0, 0], target=[5, 6], nontarget=[1, 2], spoof=[3, 4]).value
    0.0
    """
    return _concurrent(roc(cm_scores, cm_labels), _asv_points(target, nontarget, spoof))


def _asv_points(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> _Asv:
    """One point per distinct score, and one that accepts everything."""
    groups = three_kinds(target, nontarget, spoof, what="ASV scores")
    (p_miss, *rejected), distinct = rejected_shares(groups)
    return _Asv(p_miss, 1 - rejected[0], 1 - rejected[1], np.append(below(distinct[0]), distinct))


def _concurrent(cm: Roc, asv: _Asv) -> TandemEer:
    """The pair of operating points nearest to the concurrent one.

    P_miss - P_fa rises with the ASV threshold too, so the CM points found fall: those of two ASV points bound those of
    all between. So every `STRIDE`-th ASV point is looked at, and then only stretches that can hold a nearer pair.
    """
    for name, thresholds in (("CM", cm.thresholds), ("ASV system", asv.thresholds)):
        if (distinct := len(thresholds) - 1) < 3:
            raise InputError(f"got {distinct} distinct scores of the {name}: a t-EER needs scores, at least 3 distinct")
    asv = asv.at(asv.p_miss < (1 - RHO) * asv.p_fa_non + RHO * asv.p_fa_spf)
    n = len(asv.thresholds)
    ends = np.append(np.arange(0, n, STRIDE), n - 1)
    highest = np.full(len(ends), len(cm.frr) - 1)  # rejecting everything: all are missed, the excess is 1
    after, _, gap = _nearest(cm, asv.at(ends), np.zeros_like(highest), highest)

    first, last = asv.at(ends[:-1]), asv.at(ends[1:])  # ASV points of each stretch; its CM points:
    left, right = np.maximum(after[1:] - 1, 0), after[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        above = last.p_fa_non / first.p_fa_spf - cm.far[left] / (1 - cm.frr[right])  # lowest less highest ratio
        below = cm.far[right] / (1 - cm.frr[left]) - first.p_fa_non / last.p_fa_spf
    hopeless = np.maximum(above, below) > gap.min()  # NaN is not
    rest = np.flatnonzero(np.repeat(~hopeless, STRIDE)[:n])
    asv = asv.at(rest)
    _, nearest, gap = _nearest(cm, asv, after[rest // STRIDE + 1], after[rest // STRIDE])
    j = int(np.argmin(gap))
    if not np.isfinite(gap[j]):
        raise InputError("there is no t-EER: where the error rates come nearest, the CM rejects all that is bona fide")
    i = nearest[j]
    return TandemEer(float(asv.p_fa_spf[j] * cm.far[i]), float(cm.thresholds[i]), float(asv.thresholds[j]))


def _nearest(cm: Roc, asv: _Asv, low: Ints, high: Ints) -> tuple[Ints, Ints, Floats]:
    """For each ASV point by bisection: the first CM point with P_miss >= P_fa, which lies from `low` to `high`; the one
    with the smallest |P_miss - P_fa|; and how far that pair is from the concurrent point.
    """

    def excess(i: Ints) -> Floats:
        """P_miss - P_fa of the tandem, with point `i` of the CM for each ASV point."""
        passed = 1 - cm.frr[i]
        p_fa = (1 - RHO) * passed * asv.p_fa_non + RHO * cm.far[i] * asv.p_fa_spf
        return cm.frr[i] + passed * asv.p_miss - p_fa

    while np.any(low < high):
        middle = (low + high) // 2
        enough = excess(middle) >= 0
        low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
    before = np.maximum(high - 1, 0)
    nearest = np.where(np.abs(excess(before)) <= np.abs(excess(high)), before, high)

    passed = 1 - cm.frr[nearest]
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.abs(asv.p_fa_non / asv.p_fa_spf - cm.far[nearest] / passed)
    return high, nearest, np.where(passed > 0, gap, np.inf)
