"""Logistic regression that turns the scores of one system, or of several, into log-likelihood ratios (LLRs)."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from deepfake.errors import InputError
from deepfake.metrics.trials import Bools, Floats, Labels, Scored, Trials, numbers

MOST_STEPS = 200


def fit(scores: Scored, labels: Labels = None, *, prior: float = 0.5) -> tuple[Floats, float]:
    """Weights and offset with which `scores @ weights + offset` is a natural-log LLR: calibration, or linear fusion.

    Prior-weighted logistic regression (Brümmer et al. 2007, "Fusion of heterogeneous speaker recognition systems in the
    STBU submission for the NIST SRE 2006", and Brümmer's FoCal toolkit): the log-odds `llr + logit(prior)` are fitted
    to labels of which the bona fide ones weigh `prior / N_bonafide` each and the spoofed ones
    `(1 - prior) / N_spoof`, so that the shares of the classes in this set do not enter the LLR. With the smoothed
    targets of Platt 1999, "Probabilistic outputs for support vector machines", that is a share of
    `(N_bonafide + 1) / (N_bonafide + 2)` bona fide in each bona fide trial and `1 / (N_spoof + 2)` in each spoofed one,
    where either share weighs as a label of its kind, separable classes have finite weights. If `prior` is the share of
    bona fide in the set, this is Platt's own fit.

    Newton's method with backtracking on standardised scores, in float64: no randomness, and the LLRs do not depend on
    the scale of the scores. Ties and two distinct scores are enough. Scores the wrong way round give a negative weight,
    which is right but which the caller should remark on. Systems that say the same share their weight.

    Args:
        scores: Scores `[N]` of one system, or trials, or `[N, K]` of K systems; larger = more bona fide is not
            required.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof; not beside trials.
        prior: Prior probability of bona fide about which the LLRs shall fit best, inside (0, 1).

    Returns:
        Weights `[K]` (`[1]` for scores `[N]`) and the offset.

    Raises:
        InputError: The scores of a system are all the same (or 1e300 apart), the prior is not inside (0, 1); see also
            `deepfake.metrics.eer.eer` (one class, NaN, infinity).

    >>> weights, offset = fit([3, 2, 1, 0], [1, 1, 0, 0])
    >>> weights.round(3), round(offset, 3)
    (array([0.908]), -1.362)
    """
    x, y = _systems(scores, labels)
    if not 0 < prior < 1:
        raise InputError(f"the prior probability of bona fide is {prior}: it must be between 0 and 1")
    centre = x.mean(axis=0)
    x = x - centre
    scale = np.abs(x).max(axis=0)  # first, so that no square overflows
    x /= scale
    spread = x.std(axis=0)
    x, scale = x / spread, scale * spread
    n_bonafide, n_spoof = int(y.sum()), int((~y).sum())
    target = np.where(y, (n_bonafide + 1) / (n_bonafide + 2), 1 / (n_spoof + 2))
    theta = _newton(
        np.column_stack([x, np.ones(len(x))]),
        for_bonafide=prior / n_bonafide * target,
        for_spoof=(1 - prior) / n_spoof * (1 - target),
        prior_log_odds=float(logit(prior)),
    )
    weights = theta[:-1] / scale
    return weights, float(theta[-1] - weights @ centre)


def _newton(x: Floats, *, for_bonafide: Floats, for_spoof: Floats, prior_log_odds: float) -> Floats:
    """Minimise the weighted logistic loss of `x @ theta + prior_log_odds` over theta, from 0.

    Args:
        x: Standardised scores and a column of ones `[N, D]`.
        for_bonafide: Weight of the label bona fide at each trial `[N]`.
        for_spoof: Weight of the label spoof at each trial `[N]`.
        prior_log_odds: What is added to the LLR to give the log-odds that are fitted.
    """

    def loss(theta: Floats) -> float:
        log_odds = x @ theta + prior_log_odds
        return float(for_bonafide @ np.logaddexp(0, -log_odds) + for_spoof @ np.logaddexp(0, log_odds))

    theta, total = np.zeros(x.shape[1]), for_bonafide + for_spoof
    now = loss(theta)
    for _ in range(MOST_STEPS):
        p = expit(x @ theta + prior_log_odds)
        gradient = x.T @ (total * p - for_bonafide)
        hessian = x.T @ (x * (total * p * (1 - p))[:, None])
        step = -np.linalg.lstsq(hessian, gradient)[0]  # the shortest, where systems say the same
        slope = float(gradient @ step)
        while (after := loss(theta + step)) > now + 1e-4 * slope + 1e-14 * now:
            step, slope = step / 2, slope / 2
        theta, now = theta + step, after
        if -slope <= 1e-17 * now:  # before this last step, which squares it
            return theta
    raise InputError(f"the logistic regression has not settled after {MOST_STEPS} steps: look for outlying scores")


def _systems(scores: Scored, labels: Labels) -> tuple[Floats, Bools]:
    """Scores as `[N, K]`, each column checked, and `True` where bona fide `[N]`."""
    x = scores.scores if isinstance(scores, Trials) else numbers(scores, "scores of N trials by K systems")
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or not x.shape[1]:
        raise InputError(f"got scores of shape {x.shape}: [N] or [N, K] of at least one system was expected")
    systems = [Trials.of(scores)] if isinstance(scores, Trials) else [Trials.of(column, labels) for column in x.T]
    for k, system in enumerate(systems):
        low, high = float(system.scores.min()), float(system.scores.max())
        if not 1e-300 < high - low < 1e300:  # beyond, weights or squares are not finite
            which = f" of system {k + 1}" if len(systems) > 1 else ""
            raise InputError(f"the scores{which} run from {low:g} to {high:g}: that cannot be calibrated, check them")
    return x, systems[0].bonafide
