"""Tandem detection cost of a countermeasure (CM) in front of a fixed speaker verifier (ASV).

Two forms with names of their own, because their values do not compare: the legacy one of ASVspoof 2019 (Kinnunen et al.
2018, "t-DCF: a detection cost function for the tandem assessment of spoofing countermeasures and automatic speaker
verification") and the revised one of ASVspoof 2021 (Kinnunen et al. 2020, "Tandem assessment of spoofing
countermeasures and automatic speaker verification: fundamentals", IEEE/ACM TASLP).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deepfake.errors import InputError
from deepfake.metrics.eer import eer_official
from deepfake.metrics.trials import Labels, Scored, Trials, three_kinds

P_SPOOF = 0.05
P_TARGET = 0.95 * 0.99
P_NONTARGET = 0.95 * 0.01
C_MISS_ASV = 1.0
C_FA_ASV = 10.0
C_MISS_CM = 1.0  # legacy
C_FA_CM = 10.0  # legacy
C_FA_SPOOF = 10.0  # revised


class AsvOperatingPoint(NamedTuple):
    """Error rates of the ASV system at its EER threshold, as fractions.

    Attributes:
        eer: Official EER of target against non-target trials.
        threshold: Its threshold; the rates below accept if score >= threshold, as the organisers' do.
        p_miss: Share of target trials rejected.
        p_fa: Share of non-target trials accepted.
        p_fa_spoof: Share of spoof trials accepted.
    """

    eer: float
    threshold: float
    p_miss: float
    p_fa: float
    p_fa_spoof: float


class Weights(NamedTuple):
    """What a t-DCF is made of: `(c0 + c1 P_miss + c2 P_fa) / (c0 + min(c1, c2))` of the CM.

    Attributes:
        c0: Cost of the ASV's own errors, which no CM can take away (0 in the legacy form).
        c1: Weight of the CM's misses.
        c2: Weight of the CM's false alarms.
    """

    c0: float
    c1: float
    c2: float


def asv_operating_point(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> AsvOperatingPoint:
    """Operating point of the ASV system from its scores (larger = more like the claimed speaker).

    The threshold comes from the curve's rule (reject s <= t) and the rates from the other one (reject s < t): so do the
    published values, and both are needed to reproduce them.

    Raises:
        InputError: A group is empty, or a score is NaN or infinite.

    >>> asv_operating_point([1, 2, 3], [0, 1.5, -1], [1.5, 0, 2, 9])._asdict()["p_fa_spoof"]
    0.75
    """
    tar, non, spf = three_kinds(target, nontarget, spoof, what="ASV scores")
    eer, threshold = eer_official(Trials.of_classes(tar, non))
    return AsvOperatingPoint(
        eer=eer,
        threshold=threshold,
        p_miss=float(np.mean(tar < threshold)),
        p_fa=float(np.mean(non >= threshold)),
        p_fa_spoof=float(np.mean(spf >= threshold)),
    )


def min_tdcf_of(scores: Scored, labels: Labels = None, *, c0: float, c1: float, c2: float) -> tuple[float, float]:
    """Least `(c0 + c1 P_miss + c2 P_fa) / (c0 + min(c1, c2))` over the organisers' operating points of the CM.

    The divisor is the cost of the better of the two CMs that accept everything and reject everything.
    Priors and costs other than the challenges' go into the weights.

    Args:
        scores: CM scores `[N]`, larger = more bona fide, or trials.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof; not beside trials.
        c0, c1, c2: See `Weights`.

    Returns:
        The cost (1 = no better than accepting or rejecting everything) and the CM threshold of its first minimum.

    Raises:
        InputError: Fewer than 3 distinct scores (decisions, not scores), a negative weight, a divisor of 0; see also
            `deepfake.metrics.eer.eer`.

    >>> min_tdcf_of([3, 2, 1, 0], [1, 1, 0, 0], c0=0.25, c1=1, c2=0.25)
    (0.5, 1.0)
    """
    trials = Trials.of(scores, labels)
    p_fa, p_miss, thresholds = trials.official
    if (distinct := len(trials.roc.thresholds) - 1) < 3:
        raise InputError(f"got {distinct} distinct scores: a t-DCF needs scores, at least 3 distinct, not decisions")
    if not all(0 <= weight < np.inf for weight in (c0, c1, c2)):  # NaN is refused too
        raise InputError(
            f"the t-DCF weights C0 {c0:.6g}, C1 {c1:.6g}, C2 {c2:.6g} must be numbers >= 0, not negative: check the ASV"
        )
    if c0 + min(c1, c2) == 0:
        raise InputError("the t-DCF cannot be normalised: accepting or rejecting all costs nothing with this ASV")
    cost = (c0 + c1 * p_miss + c2 * p_fa) / (c0 + min(c1, c2))
    i = int(np.argmin(cost))
    return float(cost[i]), float(thresholds[i])


def legacy_weights(asv: AsvOperatingPoint) -> Weights:
    """Weights of the t-DCF of ASVspoof 2019, with its priors and costs; a perfect CM then reaches 0.

    `C1 = P_tar (C_miss_cm - C_miss_asv P_miss_asv) - P_non C_fa_asv P_fa_asv`, `C2 = C_fa_cm P_spoof P_fa_spoof`.

    >>> asv = AsvOperatingPoint(eer=0.05, threshold=0, p_miss=0.05, p_fa=0.05, p_fa_spoof=0.5)
    >>> [round(weight, 6) for weight in legacy_weights(asv)]
    [0.0, 0.888725, 0.25]
    """
    c1 = P_TARGET * (C_MISS_CM - C_MISS_ASV * asv.p_miss) - P_NONTARGET * C_FA_ASV * asv.p_fa
    return Weights(0.0, c1, C_FA_CM * P_SPOOF * asv.p_fa_spoof)


def revised_weights(asv: AsvOperatingPoint) -> Weights:
    """Weights of the t-DCF in its revised form (ASVspoof 2021), with the priors and costs of the challenge.

    `C0 = P_tar C_miss P_miss_asv + P_non C_fa P_fa_asv`, `C1 = P_tar C_miss - C0`,
    `C2 = P_spoof C_fa_spoof P_fa_spoof`. A perfect CM reaches `C0 / (C0 + min(C1, C2))`, not 0.

    >>> asv = AsvOperatingPoint(eer=0.05, threshold=0, p_miss=0.05, p_fa=0.05, p_fa_spoof=0.5)
    >>> [round(weight, 6) for weight in revised_weights(asv)]
    [0.051775, 0.888725, 0.25]
    """
    c0 = P_TARGET * C_MISS_ASV * asv.p_miss + P_NONTARGET * C_FA_ASV * asv.p_fa
    return Weights(c0, P_TARGET * C_MISS_ASV - c0, P_SPOOF * C_FA_SPOOF * asv.p_fa_spoof)
