"""How strong a likelihood ratio (LLR) may be that so many trials are to vouch for."""

from __future__ import annotations

import numpy as np

from deepfake.metrics.trials import Floats, Labels, Scored, Trials


def supported(llrs: Scored, labels: Labels = None) -> tuple[float, float]:
    """Empirical lower and upper bound (ELUB) of the LLRs that a calibration set supports.

    Vergeer, van Es, de Jongh, Alberink and Stoel 2016, "Numerical likelihood ratios outputted by LR systems are often
    based on extrapolation: when to stop extrapolating?", Science & Justice 56:482, counted as the `lir` package of the
    Netherlands Forensic Institute does: to either class one trial is added that misleads without limit. Who then
    decides by `llr > t` must not fare worse than who decides by the prior alone, whose threshold t is:
    `P_miss(t) + e^t P_fa(t) <= min(1, e^t)`. The bounds enclose the widest range about 0 in which that holds for every
    t, found exactly and not on a grid.

    No LR for bona fide ever exceeds N_spoof + 1 so, nor one for spoof N_bonafide + 1: with the added trials the rates
    cannot support more. The bounds are 0 and 0 where the LLRs tell nothing, are the wrong way round, or there are too
    few trials (one of each class) to say anything. Swapping the classes mirrors the bounds.

    Ties, few distinct LLRs and infinite ones need no care.

    Args:
        llrs: Natural-log likelihood ratios `[N]` of the set that they were calibrated on, or trials of them.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof; not beside trials.

    Returns:
        `low <= 0 <= high`, natural log: LLRs are to be clipped to them.

    Raises:
        InputError: A class is missing, an LLR is NaN; see `deepfake.metrics.trials.Trials`.

    >>> low, high = supported([9.0, 8.0, 7.0, -7.0, -8.0, -9.0], [1, 1, 1, 0, 0, 0])
    >>> round(low, 3), round(high, 3)
    (-1.099, 1.099)
    """
    trials = Trials.of(llrs, labels, infinite=True)
    s, y = trials.scores, trials.bonafide
    return 0.0 - _upper(-s[~y], -s[y]), _upper(s[y], s[~y])


def _upper(bonafide: Floats, spoof: Floats) -> float:
    """Largest u such that P_miss(t) + e^t P_fa(t) <= 1 for all t of [0, u).

    Between two LLRs the rates stand still while e^t rises: in each such interval there is one t at which it ends.
    """
    bonafide, spoof = np.sort(bonafide), np.sort(spoof)
    llrs = np.concatenate([bonafide, spoof])
    start = np.unique(np.append(llrs[llrs > 0], 0.0))  # [K], each up to the next
    accepted_bonafide = len(bonafide) - np.searchsorted(bonafide, start, side="right")
    accepted_spoof = len(spoof) - np.searchsorted(spoof, start, side="right")
    with np.errstate(divide="ignore"):
        limit = np.log(accepted_bonafide / (len(bonafide) + 1)) - np.log((accepted_spoof + 1) / (len(spoof) + 1))
    ends_here = limit < np.append(start[1:], np.inf)  # true of the last one at least
    return float(np.maximum(start, limit)[np.argmax(ends_here)])
