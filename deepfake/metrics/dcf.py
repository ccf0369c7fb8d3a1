"""Detection cost functions (DCF): expected cost of decisions at stated priors and costs, normalised.

1 is the cost of the better of two decisions that need no score: accept everything, reject everything.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from deepfake.errors import InputError
from deepfake.metrics.eer import official_points
from deepfake.metrics.trials import Labels, Scored, Trials, below, rejected_shares, three_kinds

P_SPOOF = 0.05
C_MISS = 1.0
C_FA = 10.0


def min_dcf(
    scores: Scored, labels: Labels = None, *, p_spoof: float = P_SPOOF, c_miss: float = C_MISS, c_fa: float = C_FA
) -> tuple[float, float]:
    """Least detection cost over all thresholds: the primary metric of ASVspoof 5 track 1 (`compute_mindcf` there).

    `(c_miss (1 - p_spoof) P_miss + c_fa p_spoof P_fa) / min(c_miss (1 - p_spoof), c_fa p_spoof)`, first minimum over
    `deepfake.metrics.eer.official_points`. Of those, the points inside a tie never cost least (bona fide go first, so
    that the cost rises before it falls): unlike the official EER, the value is one that a threshold reaches. Fewer than
    3 distinct scores are treated like any others, all equal ones at 1.

    Args:
        scores: Scores `[N]`, larger = more bona fide; any scale; or trials.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof; not beside trials.
        p_spoof: Prior probability of spoof, inside (0, 1).
        c_miss: Cost of rejecting bona fide speech, > 0.
        c_fa: Cost of accepting spoofed speech, > 0.

    Returns:
        The cost, from 0 to 1, and its threshold (accept if score > threshold).

    Raises:
        InputError: A prior or cost out of range; see also `deepfake.metrics.eer.eer` (one class, NaN, infinity).

    >>> min_dcf([3, 2, 1, 0], [1, 1, 0, 0])
    (0.0, 1.0)
    """
    miss, fa = _weights(p_spoof, c_miss, c_fa)
    p_fa, p_miss, thresholds = official_points(scores, labels)
    cost = (miss * p_miss + fa * p_fa) / min(miss, fa)
    i = int(np.argmin(cost))
    return float(cost[i]), float(thresholds[i])


def act_dcf(
    llrs: Scored, labels: Labels = None, *, p_spoof: float = P_SPOOF, c_miss: float = C_MISS, c_fa: float = C_FA
) -> float:
    """Detection cost at the threshold that these priors and costs call for, if scores are the LLRs they claim to be.

    Secondary metric of ASVspoof 5 track 1: the cost of `min_dcf` at `-ln(c_miss (1 - p_spoof) / (c_fa p_spoof))`, where
    a trial is accepted if its LLR is **at or above** it. It means nothing for scores that are not natural-log LLRs.

    LLRs that tie with the threshold are accepted; few distinct ones and infinite ones need no care.

    Args:
        llrs: Natural-log likelihood ratios `[N]`, positive = bona fide, or trials of them.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof; not beside trials.
        p_spoof: Prior probability of spoof, inside (0, 1).
        c_miss: Cost of rejecting bona fide speech, > 0.
        c_fa: Cost of accepting spoofed speech, > 0.

    Returns:
        The cost; above 1 where the decisions are worse than accepting or rejecting everything.

    Raises:
        InputError: A prior or cost out of range; see also `deepfake.metrics.trials.Trials` (one class, NaN).

    >>> round(act_dcf([0.5, 0.4], [0, 1]), 9)  # both are accepted
    1.0
    """
    miss, fa = _weights(p_spoof, c_miss, c_fa)
    trials = Trials.of(llrs, labels, infinite=True)
    y, accepted = trials.bonafide, trials.scores >= -np.log(miss / fa)
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

    Tied scores are accepted or rejected together; the package's further points, inside ties and with targets rejected
    first, never cost least. All scores equal: 1.

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

    >>> a_dcf([3, 5], [1, 2], [0, 1])
    (0.0, 2.0)
    """
    priors, costs = (p_target, p_nontarget, p_spoof), (c_miss, c_fa_nontarget, c_fa_spoof)
    if not all(0 < p < 1 for p in priors) or abs(sum(priors) - 1) > 1e-10:
        raise InputError(f"the a-DCF priors of target, nontarget and spoof are {priors}: they must sum to 1, each > 0")
    if not all(0 < c < np.inf for c in costs):
        raise InputError(f"the a-DCF costs of a miss and of the two false alarms are {costs}: each must be > 0")
    (p_miss, *rejected), distinct = rejected_shares(three_kinds(target, nontarget, spoof))
    miss, *fa = (p * c for p, c in zip(priors, costs, strict=True))
    cost = miss * p_miss + fa[0] * (1 - rejected[0]) + fa[1] * (1 - rejected[1])  # [U + 1]
    i = int(np.argmin(cost))
    return float(cost[i] / min(miss, sum(fa))), float(distinct[i - 1]) if i else below(float(distinct[0]), 1e-8)


def _weights(p_spoof: float, c_miss: float, c_fa: float) -> tuple[float, float]:
    """What a miss and a false alarm weigh."""
    if not 0 < p_spoof < 1:
        raise InputError(f"the prior probability of spoof is {p_spoof}: a number between 0 and 1 was expected")
    if not (0 < c_miss < np.inf and 0 < c_fa < np.inf):
        raise InputError(f"the costs of a miss and of a false alarm are {c_miss} and {c_fa}: numbers > 0 were expected")
    return c_miss * (1 - p_spoof), c_fa * p_spoof
