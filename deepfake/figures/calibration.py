"""Figures of calibration: whether log-likelihood ratios (LLRs) mean what they say, and how often they mislead.

LLRs are natural logarithms; the axes show log10 of the likelihood ratio (LR), as forensic reports do. They may be
infinite, and both classes are needed.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from scipy.special import betaincinv

from deepfake.figures.style import (
    BONAFIDE,
    CURVE,
    REFERENCE,
    SPOOF,
    axes_of,
    between,
    dress,
    figure_of,
    percent,
    span,
    thin,
)
from deepfake.metrics.cllr import cllr
from deepfake.metrics.cllr import pav as calibrated
from deepfake.metrics.probability import empirical_cross_entropy, posterior
from deepfake.metrics.trials import Labels, Scored, Trials

LN10 = math.log(10)
PRIORS = np.linspace(-2.5, 2.5, 41)  # log10 odds
MOST_BITS = 1.5
BINS = 15
LLR_CELLS = 1 << 14
FEW = 200  # trials: fewer are marked one by one
STRENGTHS = (1, 10, 100, 1000)


def reliability(llrs: Scored, labels: Labels = None) -> Figure:
    """Share of bona fide that was observed against the probability that was predicted, and the trials in each bin.

    Both are at a prior of 1/2: the LLR alone makes the prediction, and the classes are given equal weight. The bars are
    95 % intervals of the share (Clopper and Pearson 1934). On the diagonal (DeGroot and Fienberg 1983) the predictions
    are right.

    There are 15 bins of equal width, each with its upper end.

    Raises:
        InputError: See `deepfake.metrics.cllr.cllr`.
    """
    trials = Trials.of(llrs, labels, infinite=True)
    s, y = trials.scores, trials.bonafide
    p = posterior(s)
    edges = np.linspace(0, 1, BINS + 1)
    of_bin = np.searchsorted(edges[1:-1], p, side="left")
    n_bonafide, n_spoof = (np.bincount(of_bin[of_class], minlength=BINS) for of_class in (y, ~y))
    weight = np.where(y, 1 / y.sum(), 1 / (~y).sum())
    filled = np.flatnonzero(n_bonafide + n_spoof)
    predicted = (np.bincount(of_bin, weights=weight * p) / np.bincount(of_bin, weights=weight).clip(1e-300))[filled]

    ratio = (~y).sum() / y.sum()
    b, n = n_bonafide[filled], n_spoof[filled]
    observed = _reweighted(b / (b + n), ratio)
    low = _reweighted(np.where(b, betaincinv(np.maximum(b, 1), n + 1, 0.025), 0.0), ratio)
    high = _reweighted(np.where(n, betaincinv(b + 1, np.maximum(n, 1), 0.975), 1.0), ratio)

    figure = figure_of(5.2, 6.2)
    axes, strip = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
    dress(axes, "Reliability", "", "bona fide observed, classes weighted equally (%)")
    dress(strip, "", "predicted probability of bona fide at a prior of 1/2 (%)", "trials per bin")
    axes.plot([0, 1], [0, 1], color=REFERENCE, linestyle=":", linewidth=1.4, label="perfectly calibrated")
    error = np.maximum([observed - low, high - observed], 0)
    style = {"color": CURVE, "linewidth": 1.4, "markersize": 5, "elinewidth": 1, "capsize": 2.5, "clip_on": False}
    axes.errorbar(predicted, observed, yerr=error, fmt="o-", **style, label="detector, 95% interval", zorder=3)
    strip.stairs(n_spoof, edges, baseline=0.6, color=SPOOF, linestyle=(0, (4, 1.5)), linewidth=1.6, label="spoof")
    strip.stairs(n_bonafide, edges, baseline=0.6, color=BONAFIDE, linewidth=1.6, label="bona fide")
    strip.set_yscale("log")
    strip.set_ylim(0.6, max(12.0, 2.0 * max(n_spoof.max(), n_bonafide.max())))
    strip.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    strip.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    percent(axes.xaxis, axes.yaxis)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def tippett(llrs: Scored, labels: Labels = None) -> Figure:
    """Cumulative shares of both classes against the LR; where each crosses LR = 1 is its rate of misleading evidence.

    As in forensic voice comparison (Morrison et al. 2021, "Consensus on validation of forensic voice comparison",
    Science & Justice 61): the curve of bona fide speech rises to the right (share with this LR or a lower one) and that
    of spoofed speech to the left (share with this LR or a higher one).

    Raises:
        InputError: See `deepfake.metrics.cllr.cllr`.
    """
    trials = Trials.of(llrs, labels, infinite=True)
    s, y = trials.scores / LN10, trials.bonafide
    low, high = span(_tamed(Trials.unchecked(s, y)).scores, 0.0)
    xlabel = "log₁₀ LR (larger = more bona fide)"
    figure, axes = axes_of("Tippett plot", xlabel, "share of the class (%)", height=4.8)
    axes.axvline(0, color=REFERENCE, linestyle=":", linewidth=1.4, label="LR = 1: no information")
    for name, side, of_class, colour, line, mark in (
        ("bona fide: this LR or a lower one", 1, s[y], BONAFIDE, "-", "o"),
        ("spoof: this LR or a higher one", -1, s[~y], SPOOF, (0, (6, 2)), "s"),
    ):
        values = np.sort(side * of_class)  # spoof mirrored, and back again when drawn
        shares = np.arange(len(values) + 1) / len(values)
        x, share = between(np.append(-np.inf, values), shares, *sorted((side * low, side * high)))
        rate = float(np.mean(values < 0))
        drawn = {"color": colour, "linestyle": line, "linewidth": 1.8}
        axes.plot(side * x, share, drawstyle="steps-post", **drawn)
        words = f"{name}; {rate:.2%} mislead"
        axes.plot([0], [rate], marker=mark, markeredgecolor="white", markersize=8, **drawn, zorder=3, label=words)
    axes.set(xlim=(low, high), ylim=(-0.01, 1.02))
    percent(axes.yaxis)
    figure.legend(loc="outside lower center", ncols=1, fontsize=8)
    return figure


def pav(llrs: Scored, labels: Labels = None) -> Figure:
    """The LR that the best monotone recalibration gives to each trial, against the LR that the detector gave.

    On the diagonal the LRs are right; below it they are too high, and flatter than it they claim too much. The
    recalibration (pool adjacent violators, Brümmer and du Preez 2006) is fitted to these very labels. Where only one
    class remains it is infinite: drawn on the edge.

    Raises:
        InputError: See `deepfake.metrics.cllr.cllr`.
    """
    tamed = _tamed(Trials.of(llrs, labels, infinite=True))
    s = np.sort(tamed.scores) / LN10
    mapped = np.sort(calibrated(tamed)) / LN10  # it does not fall with the LR
    finite = np.isfinite(mapped)
    reach = np.concatenate([span(s, 0.0), mapped[finite]])
    edge = 1.06 * float(np.abs(reach).max())

    names = "PAV plot", "log₁₀ LR of the detector", "log₁₀ LR after the best recalibration"
    figure, axes = axes_of(*names, height=5.4)
    axes.plot([-edge, edge], [-edge, edge], color=REFERENCE, linestyle=":", linewidth=1.4, label="perfectly calibrated")
    x, inner = s[finite], mapped[finite]
    drawn = thin(x, inner)
    axes.plot(x[drawn], inner[drawn], color=CURVE, linewidth=1.8, marker="." if len(x) < FEW else "", label="detector")
    for side, mark, name in ((1, "^", "infinite"), (-1, "v", "0")):
        ends = s[mapped == side * np.inf]
        if len(ends):
            style = {"color": SPOOF if side < 0 else BONAFIDE, "linestyle": "--", "clip_on": False}
            x = np.clip([ends[0], ends[-1]], -edge, edge)
            words = f"LR {name}: {len(ends):,} of {len(s):,} trials"
            axes.plot(x, [side * edge] * 2, marker=mark, **style, label=words)
    axes.set(xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def ece(llrs: Scored, labels: Labels = None) -> Figure:
    """Bits still missing to know the answer, against the prior odds (Ramos and Gonzalez-Rodriguez 2013).

    Where the detector lies above the line of no information (LR = 1 throughout) its LRs do harm. The distance to its
    own best recalibration is what bad calibration costs. At prior odds of 1 the curves are Cllr and min Cllr.

    Raises:
        InputError: See `deepfake.metrics.cllr.cllr`.
    """
    trials = Trials.of(llrs, labels, infinite=True)
    tamed = _tamed(trials)
    odds = PRIORS * LN10
    nothing = empirical_cross_entropy(np.zeros(2), [0, 1], odds)
    recalibrated = Trials.unchecked(calibrated(tamed), trials.bonafide)
    best = empirical_cross_entropy(recalibrated, None, odds)
    given = empirical_cross_entropy(_coarse(trials), None, odds)

    names = "Empirical cross-entropy", "log₁₀ prior odds of bona fide", "empirical cross-entropy (bits)"
    figure, axes = axes_of(*names, width=5.6, height=4.8)
    axes.axvline(0, color=REFERENCE, linewidth=0.8)
    axes.plot(PRIORS, nothing, color=REFERENCE, linestyle=":", linewidth=1.8, label="no information: LR = 1, Cllr 1")
    words = f"detector, Cllr {cllr(trials):.4f}"
    if not np.isfinite(given).all():
        words += ": infinite LRs on the wrong side"
    elif given.min() > MOST_BITS:
        words += ": above these axes"
    axes.plot(PRIORS, np.where(np.isfinite(given), given, np.nan), color=CURVE, linewidth=1.8, label=words)
    words = f"after the best recalibration, min Cllr {cllr(recalibrated):.4f}"
    axes.plot(PRIORS, best, color=SPOOF, linestyle=(0, (6, 2)), linewidth=1.8, label=words)
    highest = float(np.max(given, where=np.isfinite(given), initial=1.0))
    axes.set(xlim=(PRIORS[0], PRIORS[-1]), ylim=(0, min(1.05 * highest, MOST_BITS)))
    figure.legend(loc="outside lower center", ncols=1, fontsize=8)
    return figure


def misleading(llrs: Scored, labels: Labels = None) -> Figure:
    """Share and number of each class's trials whose LR points the wrong way, beyond 1, 10, 100 and 1000.

    The rates of misleading evidence of Royall 1997, "Statistical evidence": bona fide speech with an LR below 1/k,
    spoofed speech with one above k.

    Raises:
        InputError: See `deepfake.metrics.cllr.cllr`.
    """
    trials = Trials.of(llrs, labels, infinite=True)
    s, y = trials.scores, trials.bonafide
    names = "Misleading evidence by strength", "strength k of the evidence", "share of the class (%)"
    figure, axes = axes_of(*names, width=6.0, height=4.4)
    highest = 0.0
    for name, of_class, side, colour, hatch in (
        ("bona fide with an LR below 1/k", -s[y], -1, BONAFIDE, ""),
        ("spoof with an LR above k", s[~y], 1, SPOOF, "////"),
    ):
        counts = np.array([np.sum(of_class > math.log(k)) for k in STRENGTHS])
        rates = counts / len(of_class)
        highest = max(highest, rates.max())
        x = np.arange(len(STRENGTHS)) + 0.2 * side
        style = {"facecolor": to_rgba(colour, 0.45), "edgecolor": colour, "hatch": hatch}
        axes.bar(x, rates, width=0.36, **style, label=f"{name} (of {len(of_class):,})")
        for at, rate, count in zip(x, rates, counts, strict=True):
            text = f"{100 * rate:.2f}%\n{count:,}"
            axes.annotate(text, (at, rate), (0, 3), textcoords="offset points", ha="center", va="bottom", fontsize=8)
    axes.set_xticks(range(len(STRENGTHS)), [f"{k:,}" for k in STRENGTHS])
    axes.set_ylim(0, 1.2 * max(highest, 0.01))
    percent(axes.yaxis)
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _coarse(llrs: Trials) -> Trials:
    """Many LLRs gathered in cells of at most 0.01, each at the mean of its class and cell: few distinct ones.

    The cross-entropy is a mean of ln(1 + e^x), whose second derivative is at most 1/4: it moves by less than
    0.01^2 / 32 nats, five millionths of a bit, which no picture shows. Few, infinite or far LLRs stay as they are.
    """
    if len(llrs) <= LLR_CELLS or llrs.n_infinite or np.ptp(llrs.scores) > 0.01 * LLR_CELLS:
        return llrs
    low, width = llrs.scores.min(), np.ptp(llrs.scores) / LLR_CELLS or 1.0
    cell = 2 * ((llrs.scores - low) / width).astype(np.int64) + llrs.bonafide
    means = np.bincount(cell, llrs.scores) / np.maximum(np.bincount(cell), 1)
    return Trials.unchecked(means[cell], llrs.bonafide)


def _tamed(llrs: Trials) -> Trials:
    """Infinite LLRs put just beyond the finite ones: the same order, and a place on an axis."""
    if not llrs.n_infinite:
        return llrs
    within = llrs.scores[np.isfinite(llrs.scores)]
    low, high = (within.min(), within.max()) if len(within) else (0.0, 0.0)
    return Trials.unchecked(np.clip(llrs.scores, low - 1, high + 1), llrs.bonafide)


def _reweighted(share: np.ndarray, ratio: float) -> np.ndarray:
    """A share of bona fide, had there been as many bona fide as spoof trials, not `ratio` spoof to one bona fide."""
    return share * ratio / (share * ratio + 1 - share)
