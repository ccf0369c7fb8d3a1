"""Probabilities and likelihood ratios (LLRs) as statements: how far they can be believed.

Two measures are abbreviated ECE: the *expected calibration error* of probabilities (`ece`) and the *empirical
cross-entropy* of LLRs (`empirical_cross_entropy`). They have nothing in common but the letters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from deepfake.errors import InputError
from deepfake.metrics.trials import Floats, Labels, Scored, Trials, numbers

WIDEST_LOG_ODDS = 700.0  # beyond, one of the two priors is 0 in float64


class Reliability(NamedTuple):
    """A reliability diagram: equal-width bins of predicted probability, M of them, from 0 to 1.

    Attributes:
        predicted: Mean predicted probability of bona fide in the bin `[M]`; NaN where the bin is empty.
        observed: Share of bona fide among the bin's trials `[M]`; NaN where the bin is empty.
        count: Number of trials in the bin `[M]`.
    """

    predicted: Floats
    observed: Floats
    count: NDArray[np.int64]


def reliability(p_bonafide: Scored, labels: Labels = None, *, n_bins: int = 15) -> Reliability:
    """Predicted probability against observed frequency, bin by bin (DeGroot and Fienberg 1983).

    Bin m holds `(m - 1)/M < p <= m/M`, the first one also 0. Probabilities are of bona fide *at the share of bona fide
    that these trials have*: at another prior they differ from the observed frequency however good they are. Ties fall
    into one bin.

    Args:
        p_bonafide: Predicted probability of bona fide `[N]`, in [0, 1], or trials of them.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof; not beside trials.
        n_bins: Number of bins M, at least 1.

    Raises:
        InputError: A probability outside [0, 1], fewer than 1 bin; see also `deepfake.metrics.eer.eer` (one class,
            NaN).

    >>> reliability([0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0], n_bins=2).predicted
    array([0.15, 0.85])
    """
    trials = _probabilities(p_bonafide, labels)
    p, y = trials.scores, trials.bonafide
    if n_bins < 1:
        raise InputError(f"got {n_bins} bins: at least 1 was expected")
    inner = np.linspace(0, 1, n_bins + 1)[1:-1]
    of_bin = np.searchsorted(inner, p, side="left")
    count = np.bincount(of_bin, minlength=n_bins)
    n = np.where(count, count, np.nan)
    return Reliability(
        predicted=np.bincount(of_bin, weights=p, minlength=n_bins) / n,
        observed=np.bincount(of_bin, weights=y, minlength=n_bins) / n,
        count=count,
    )


def ece(p_bonafide: Scored, labels: Labels = None, *, n_bins: int = 15) -> float:
    """Expected calibration error: mean distance of `reliability`'s bins from the diagonal, weighted by their trials.

    Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning"; Guo et al. 2017, "On
    calibration of modern neural networks"; here of the probability of bona fide and not of the likelier class.
    From 0 to 1; biased upwards on few trials, and dependent on the bins.

    Raises:
        InputError: See `reliability`.

    >>> round(ece([0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0], n_bins=2), 9)
    0.15
    """
    predicted, observed, count = reliability(p_bonafide, labels, n_bins=n_bins)
    return float(np.nansum(count * np.abs(observed - predicted)) / count.sum())


def brier(p_bonafide: Scored, labels: Labels = None) -> float:
    """Mean squared error of the probability of bona fide (Brier 1950), from 0 to 1; always saying 1/2 gives 1/4.

    Raises:
        InputError: A probability outside [0, 1]; see also `deepfake.metrics.eer.eer` (one class, NaN).

    >>> brier([0.5, 0.5], [1, 0])
    0.25
    """
    trials = _probabilities(p_bonafide, labels)
    return float(np.mean((trials.scores - trials.bonafide) ** 2))


def posterior(llrs: ArrayLike, prior_bonafide: float = 0.5) -> Floats:
    """Probability of bona fide after the evidence: the logistic function of `llr + ln(prior / (1 - prior))`.

    Args:
        llrs: Natural-log likelihood ratios, any shape; infinite ones give exactly 0 or 1.
        prior_bonafide: Probability of bona fide before it, inside (0, 1).

    Returns:
        Probabilities, of the shape given.

    Raises:
        InputError: An LLR is NaN or no number, the prior is not inside (0, 1).

    >>> posterior([0.0, float("inf")])
    array([0.5, 1. ])
    """
    s = numbers(llrs, "log-likelihood ratios")
    if bad := np.count_nonzero(np.isnan(s)):
        raise InputError(f"{bad} of {s.size} log-likelihood ratios are NaN: find out which utterances gave them")
    if not 0 < prior_bonafide < 1:
        raise InputError(f"the prior probability of bona fide is {prior_bonafide}: it must be between 0 and 1")
    return expit(s + logit(prior_bonafide))


def misleading(llrs: Scored, labels: Labels = None) -> tuple[float, float]:
    """Rates of misleading evidence (Royall 1997, "Statistical evidence").

    An LLR of exactly 0 favours neither class and so misleads nobody; infinite LLRs count like any others.

    Returns:
        Share of bona fide trials with an LLR below 0, and of spoofed trials with one above 0.

    Raises:
        InputError: See `deepfake.metrics.trials.Trials` (one class, NaN).

    >>> misleading([2.0, -1.0, -3.0], [1, 1, 0])
    (0.5, 0.0)
    """
    trials = Trials.of(llrs, labels, infinite=True)
    s, y = trials.scores, trials.bonafide
    return float(np.mean(s[y] < 0)), float(np.mean(s[~y] > 0))


def empirical_cross_entropy(llrs: Scored, labels: Labels, prior_log_odds: ArrayLike) -> Floats:
    """Bits still missing to know the answer after the evidence, over a range of priors.

    Ramos and Gonzalez-Rodriguez 2013, "Reliable support: measuring calibration of likelihood ratios", Forensic Science
    International 230. At prior log-odds t, with P = 1 / (1 + e^-t): `P mean over bona fide of log2(1 + e^-(llr + t)) +
    (1 - P) mean over spoof of log2(1 + e^(llr + t))`; at t = 0 that is Cllr. A plot of it wants two more curves: of all
    LLRs 0 (the entropy of the prior, what saying nothing leaves) and of `deepfake.metrics.cllr.pav`'s LLRs.

    An infinite LLR costs 0 on the right side and makes the curve infinite on the wrong one; ties and few distinct
    values need no care. Memory is linear in N.

    Args:
        llrs: Natural-log likelihood ratios `[N]`, or trials of them.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof; None beside trials.
        prior_log_odds: Natural-log prior odds of bona fide `[P]`, within +-700.

    Returns:
        Bits `[P]`.

    Raises:
        InputError: Prior log-odds that are not a row of numbers within +-700; see also
            `deepfake.metrics.trials.Trials` (one class, NaN).

    >>> empirical_cross_entropy([0.0, 0.0], [1, 0], [0.0])
    array([1.])
    """
    trials = Trials.of(llrs, labels, infinite=True)
    s, y = trials.scores, trials.bonafide
    grid = np.asarray(prior_log_odds, dtype=np.float64)
    if grid.ndim != 1 or not (np.abs(grid) <= WIDEST_LOG_ODDS).all():
        raise InputError(f"prior log-odds of shape {grid.shape}: one row of numbers within +-700 was expected")
    (bonafide, of_bonafide), (spoof, of_spoof) = (np.unique(x, return_counts=True) for x in (s[y], s[~y]))
    of_bonafide, of_spoof = of_bonafide / trials.n_bonafide, of_spoof / trials.n_spoof
    nats = [
        expit(t) * (np.logaddexp(0, -bonafide - t) @ of_bonafide) + expit(-t) * (np.logaddexp(0, spoof + t) @ of_spoof)
        for t in grid
    ]
    return np.array(nats) / np.log(2)


def _probabilities(p_bonafide: Scored, labels: Labels) -> Trials:
    trials = Trials.of(p_bonafide, labels)
    if bad := np.count_nonzero((trials.scores < 0) | (trials.scores > 1)):
        raise InputError(f"{bad} of {len(trials)} values are outside [0, 1]: probabilities were expected, not scores")
    return trials
