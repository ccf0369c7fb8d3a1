"""Cost of log-likelihood ratios (LLRs): as they are given, and as the best monotone recalibration would have them.

An LLR here is the natural logarithm of P(evidence | bona fide) / P(evidence | spoof): positive speaks for bona fide.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.isotonic import isotonic_regression

from deepfake.errors import InputError
from deepfake.metrics.eer import Floats, trials


def evidence(llrs: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Check a set of LLRs as `deepfake.metrics.eer.trials` checks scores, except that they may be infinite.

    Returns:
        LLRs in float64 `[N]`, and `True` where bona fide `[N]`.

    Raises:
        InputError: An LLR is NaN; shapes differ, no trials, a label is neither 0 nor 1, a class is missing.
    """
    try:
        s = np.asarray(llrs, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("the log-likelihood ratios are not numbers: an array of floats was expected") from None
    if bad := np.count_nonzero(np.isnan(s)):
        raise InputError(f"{bad} of {s.size} log-likelihood ratios are NaN: find out which utterances gave them")
    _, y = trials(np.where(np.isinf(s), 0.0, s), labels)
    return s, y


def cllr(llrs: ArrayLike, labels: ArrayLike) -> float:
    """Cost of log-likelihood ratios in bits (Brümmer and du Preez 2006, "Application-independent evaluation of speaker
    detection"; secondary metric of ASVspoof 5 track 1).

    `(mean over bona fide of ln(1 + e^-llr) + mean over spoof of ln(1 + e^llr)) / (2 ln 2)`. 0 is perfect, 1 is what
    saying nothing (all LLRs 0) costs, and more than 1 misleads. It means nothing for scores that are not LLRs.

    Nothing overflows. Ties and few distinct values need no care. An infinite LLR costs 0 on the right side and makes
    the cost infinite on the wrong one.

    Raises:
        InputError: See `evidence`.
    """
    s, y = evidence(llrs, labels)
    return float((np.logaddexp(0, -s[y]).mean() + np.logaddexp(0, s[~y]).mean()) / (2 * np.log(2)))


def pav(scores: ArrayLike, labels: ArrayLike) -> Floats:
    """LLRs of the same trials after the best monotone calibration there is *for these very labels*.

    The pool-adjacent-violators (PAV) solution of isotonic regression gives the share of bona fide in each block of
    scores; its log-odds less those of the whole set are the LLR (Brümmer and du Preez 2006). A yardstick
    that has seen the answers, not a calibration for other trials.

    Tied scores get one LLR. Blocks of one class alone get `-inf` or `inf`, always on the right side; scores that tell
    nothing (all equal, or the wrong way round) get 0 throughout.

    Args:
        scores: Scores `[N]`, larger = more bona fide; any scale.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof.

    Returns:
        Natural-log LLRs `[N]`, in the order given, not falling with the score.

    Raises:
        InputError: See `deepfake.metrics.eer.trials`.
    """
    s, y = trials(scores, labels)
    _, where, n = np.unique(s, return_inverse=True, return_counts=True)
    n_bonafide = np.bincount(where, weights=y)  # [U]
    share = isotonic_regression(n_bonafide / n, sample_weight=n)
    block = np.concatenate([[0], np.cumsum(np.diff(share) != 0)])  # [U]
    bonafide = np.bincount(block, weights=n_bonafide)  # counted again: exact where shares are near 0 or 1
    spoof = np.bincount(block, weights=n - n_bonafide)
    with np.errstate(divide="ignore"):
        llrs = np.log(bonafide / y.sum()) - np.log(spoof / (~y).sum())
    return llrs[block][where]


def min_cllr(scores: ArrayLike, labels: ArrayLike) -> float:
    """`cllr` after the calibration of `pav`: what is left of the cost is for want of discrimination, in bits.

    Cllr less min Cllr is the cost of bad calibration. Like EER it depends on the order of the scores alone: separable
    classes give 0, scores that tell nothing (all equal, or the wrong way round) give 1.

    Raises:
        InputError: See `deepfake.metrics.eer.trials`.
    """
    return cllr(pav(scores, labels), labels)
