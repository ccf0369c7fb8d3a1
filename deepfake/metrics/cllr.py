"""Cost of log-likelihood ratios (LLRs): as they are given, and as the best monotone recalibration would have them.

An LLR here is the natural logarithm of P(evidence | bona fide) / P(evidence | spoof): positive supports bona fide.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import isotonic_regression

from deepfake.metrics.trials import Floats, Labels, Scored, Trials


def cllr(llrs: Scored, labels: Labels = None) -> float:
    """Cost of log-likelihood ratios in bits (Brümmer and du Preez 2006, "Application-independent evaluation of speaker
    detection"; secondary metric of ASVspoof 5 track 1).

    `(mean over bona fide of ln(1 + e^-llr) + mean over spoof of ln(1 + e^llr)) / (2 ln 2)`. 0 is perfect, 1 is what
    saying nothing (all LLRs 0) costs, and more than 1 misleads. It means nothing for scores that are not LLRs.

    Nothing overflows. Ties and few distinct values need no care. An infinite LLR costs 0 on the right side and makes
    the cost infinite on the wrong one.

    Raises:
        InputError: A class is missing, an LLR is NaN; see `deepfake.metrics.trials.Trials`.

    >>> cllr([0.0, 0.0], [1, 0])
    1.0
    """
    trials = Trials.of(llrs, labels, infinite=True)
    s, y = trials.scores, trials.bonafide
    return float((np.logaddexp(0, -s[y]).mean() + np.logaddexp(0, s[~y]).mean()) / (2 * np.log(2)))


def pav(scores: Scored, labels: Labels = None) -> Floats:
    """LLRs of the same trials after the best monotone calibration there is *for these very labels*.

    The pool-adjacent-violators (PAV) solution of isotonic regression gives the share of bona fide in each block of
    scores; its log-odds less those of the whole set are the LLR (Brümmer and du Preez 2006). A yardstick
    that has seen the answers, not a calibration for other trials.

    Tied scores get one LLR. Blocks of one class alone get `-inf` or `inf`, always on the right side; scores that tell
    nothing (all equal, or the wrong way round) get 0 throughout.

    Args:
        scores: Scores `[N]`, larger = more bona fide; any scale; or trials.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof; not beside trials.

    Returns:
        Natural-log LLRs `[N]`, in the order given, not falling with the score.

    Raises:
        InputError: See `deepfake.metrics.eer.eer`.

    >>> pav([2.0, 1.0, 1.0, 0.0], [1, 1, 0, 0])
    array([ inf,   0.,   0., -inf])
    """
    trials = Trials.of(scores, labels)
    n_bonafide, n_spoof = (np.diff(rejected) for rejected in trials.rejected)  # of each distinct score [U]
    n = n_bonafide + n_spoof
    share = isotonic_regression(n_bonafide / n, weights=n).x
    block = np.concatenate([[0], np.cumsum(np.diff(share) != 0)])  # [U]
    bonafide = np.bincount(block, weights=n_bonafide)  # counted again: exact where shares are near 0 or 1
    spoof = np.bincount(block, weights=n_spoof)
    with np.errstate(divide="ignore"):
        llrs = np.log(bonafide / trials.n_bonafide) - np.log(spoof / trials.n_spoof)
    found = np.empty(len(trials))
    found[trials.ranking.order] = np.repeat(llrs[block], n)
    return found


def min_cllr(scores: Scored, labels: Labels = None) -> float:
    """`cllr` after the calibration of `pav`: what is left of the cost is for want of discrimination, in bits.

    Cllr less min Cllr is the cost of bad calibration. Like EER it depends on the order of the scores alone: separable
    classes give 0, scores that tell nothing (all equal, or the wrong way round) give 1.

    Raises:
        InputError: See `deepfake.metrics.eer.eer`.

    >>> min_cllr([3, 2, 1], [1, 1, 0])
    0.0
    """
    trials = Trials.of(scores, labels)
    return cllr(Trials.unchecked(pav(trials), trials.bonafide))
