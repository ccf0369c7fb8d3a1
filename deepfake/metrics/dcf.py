"""Detection cost functions (DCF): expected cost of decisions at stated priors and costs, normalised.

1 is the cost of the better of the two systems that do not listen: accept everything, reject everything.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from deepfake.errors import InputError
from deepfake.metrics.cllr import evidence
from deepfake.metrics.eer import Roc, official_points

P_SPOOF = 0.05
C_MISS = 1.0
C_FA = 10.0


def min_dcf(
    scores: ArrayLike, labels: ArrayLike, *, p_spoof: float = P_SPOOF, c_miss: float = C_MISS, c_fa: float = C_FA
) -> tuple[float, float]:
    """Least detection cost over all thresholds: the primary metric of ASVspoof 5 track 1 (`compute_mindcf` there).

    `(c_miss (1 - p_spoof) P_miss + c_fa p_spoof P_fa) / min(c_miss (1 - p_spoof), c_fa p_spoof)`, first minimum over
    `deepfake.metrics.eer.official_points`. Of those, the points inside a tie never cost least (bona fide go first, so
    that the cost rises before it falls): unlike the official EER, the value is one that a threshold reaches. Fewer than
    3 distinct scores are judged like any others, all equal ones at 1.

    Args:
        scores: Scores `[N]`, larger = more bona fide; any scale.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof.
        p_spoof: Prior probability of spoof, inside (0, 1).
        c_miss: Cost of rejecting bona fide speech, > 0.
        c_fa: Cost of accepting spoofed speech, > 0.

    Returns:
        The cost, from 0 to 1, and its threshold (accept if score > threshold).

    Raises:
        InputError: A prior or cost out of range; see also `deepfake.metrics.eer.trials` (one class, NaN, infinity).
    """
    return min_dcf_on(official_points(scores, labels), p_spoof=p_spoof, c_miss=c_miss, c_fa=c_fa)


def min_dcf_on(
    points: Roc, *, p_spoof: float = P_SPOOF, c_miss: float = C_MISS, c_fa: float = C_FA
) -> tuple[float, float]:
    """`min_dcf` of the trials whose `deepfake.metrics.eer.official_points` these are."""
    miss, fa = _weights(p_spoof, c_miss, c_fa)
    p_fa, p_miss, thresholds = points
    cost = (miss * p_miss + fa * p_fa) / min(miss, fa)
    i = int(np.argmin(cost))
    return float(cost[i]), float(thresholds[i])


def act_dcf(
    llrs: ArrayLike, labels: ArrayLike, *, p_spoof: float = P_SPOOF, c_miss: float = C_MISS, c_fa: float = C_FA
) -> float:
    """Detection cost at the threshold that these priors and costs call for, if scores are the LLRs they claim to be.

    Secondary metric of ASVspoof 5 track 1: the cost of `min_dcf` at `-ln(c_miss (1 - p_spoof) / (c_fa p_spoof))`, where
    a trial is accepted if its LLR is **at or above** it. It means nothing for scores that are not natural-log LLRs.

    LLRs that tie with the threshold are accepted; few distinct ones and infinite ones need no care.

    Args:
        llrs: Natural-log likelihood ratios `[N]`, positive = bona fide.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof.
        p_spoof: Prior probability of spoof, inside (0, 1).
        c_miss: Cost of rejecting bona fide speech, > 0.
        c_fa: Cost of accepting spoofed speech, > 0.

    Returns:
        The cost; above 1 where the decisions are worse than not listening.

    Raises:
        InputError: A prior or cost out of range; see also `deepfake.metrics.cllr.evidence` (one class, NaN).
    """
    miss, fa = _weights(p_spoof, c_miss, c_fa)
    s, y = evidence(llrs, labels)
    accepted = s >= -np.log(miss / fa)
    return float((miss * np.mean(~accepted[y]) + fa * np.mean(accepted[~y])) / min(miss, fa))


def a_dcf(
    target: ArrayLike,
    nontarget: ArrayLike,
    spoof: ArrayLike,
    *,
    p_target: float = 0.9405,
    p_nontarget: float = 0.0095,
    p_spoof: float = P_SPOOF,
    c_miss: float = C_MISS,
    c_fa_nontarget: float = C_FA,
    c_fa_spoof: float = C_FA,
) -> tuple[float, float]:
    """Least architecture-agnostic detection cost of a speaker verifier that must refuse impostors and spoofed speech.

    Shim et al. 2024, "a-DCF: an architecture agnostic metric with application to spoofing-robust speaker verification".
    `c_miss p_target P_miss + c_fa_nontarget p_nontarget P_fa_nontarget + c_fa_spoof p_spoof P_fa_spoof` over its better
    value at accepting or rejecting everything. The defaults are those of ASVspoof 5; the authors' package has others
    (0.9, 0.05, 0.05; 1, 10, 20), so state them.

    As in that package, one point per trial and targets rejected first where scores tie; the points inside a tie never
    cost least, so the value is one that a threshold reaches. All scores equal: 1.

    Args:
        target: Scores `[N1]` of bona fide trials of the claimed speaker, larger = accept.
        nontarget: Scores `[N2]` of bona fide trials of other speakers.
        spoof: Scores `[N3]` of spoofed trials.
        p_target: Prior probability of target trials; the three are > 0 and sum to 1.
        p_nontarget: Prior probability of non-target trials.
        p_spoof: Prior probability of spoofed trials.
        c_miss: Cost of rejecting a target, > 0.
        c_fa_nontarget: Cost of accepting a non-target, > 0.
        c_fa_spoof: Cost of accepting a spoofed trial, > 0.

    Returns:
        The cost, from 0 to 1, and its threshold (accept if score > threshold).

    Raises:
        InputError: A group is empty, a score is NaN or infinite, a prior or cost is out of range.
    """
    priors, costs = (p_target, p_nontarget, p_spoof), (c_miss, c_fa_nontarget, c_fa_spoof)
    if not all(0 < p < 1 for p in priors) or abs(sum(priors) - 1) > 1e-10:
        raise InputError(f"the a-DCF priors of target, nontarget and spoof are {priors}: they must sum to 1, each > 0")
    if not all(0 < c < np.inf for c in costs):
        raise InputError(f"the a-DCF costs of a miss and of the two false alarms are {costs}: each must be > 0")
    groups = [_group(name, s) for name, s in (("target", target), ("nontarget", nontarget), ("spoof", spoof))]
    miss, fa_nontarget, fa_spoof = (p * c for p, c in zip(priors, costs, strict=True))
    scores = np.concatenate(groups)  # targets first: the stable sort keeps them so
    kind = np.repeat(np.arange(3), [len(g) for g in groups])
    order = np.argsort(scores, kind="stable")
    scores, kind = scores[order], kind[order]
    p_miss, rejected_nontarget, rejected_spoof = (
        np.concatenate([[0], np.cumsum(kind == k)]) / len(group) for k, group in enumerate(groups)
    )
    cost = miss * p_miss + fa_nontarget * (1 - rejected_nontarget) + fa_spoof * (1 - rejected_spoof)  # [N + 1]
    i = int(np.argmin(cost))
    lowest = float(scores[0])
    threshold = float(scores[i - 1]) if i else min(lowest - 1e-8, float(np.nextafter(lowest, -np.inf)))
    return float(cost[i] / min(miss, fa_nontarget + fa_spoof)), threshold


def _weights(p_spoof: float, c_miss: float, c_fa: float) -> tuple[float, float]:
    """What a miss and a false alarm weigh."""
    if not 0 < p_spoof < 1:
        raise InputError(f"the prior probability of spoof is {p_spoof}: a number between 0 and 1 was expected")
    if not (0 < c_miss < np.inf and 0 < c_fa < np.inf):
        raise InputError(f"the costs of a miss and of a false alarm are {c_miss} and {c_fa}: numbers > 0 were expected")
    return c_miss * (1 - p_spoof), c_fa * p_spoof


def _group(name: str, scores: ArrayLike) -> np.ndarray:
    try:
        s = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"the scores of {name} trials are not numbers: an array of floats was expected") from None
    if s.ndim != 1 or not s.size:
        raise InputError(f"got scores of {name} trials of shape {s.shape}: at least one, in one row [N], was expected")
    if bad := int(np.sum(~np.isfinite(s))):
        raise InputError(f"{bad} of {s.size} scores of {name} trials are NaN or infinite: find out which gave them")
    return s
