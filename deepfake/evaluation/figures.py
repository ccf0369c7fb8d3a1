"""Figures of a report: DET and ROC curve, score histogram, EER per attack. Each function returns a matplotlib Figure.

No pyplot: nothing global is changed, no display is needed, and a figure is freed with its last reference. Colours are
those of Okabe and Ito, and no two curves differ by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from deepfake.errors import InputError
from deepfake.metrics.classification import auc
from deepfake.metrics.eer import eer, trials
from deepfake.metrics.eer import roc as roc_points

BONAFIDE, SPOOF, CURVE, REFERENCE = "#0072B2", "#D55E00", "#0072B2", "#666666"
DET_TICKS = np.array([0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.9]) / 100
CROWDED = np.array([30, 40, 60, 70]) / 100
MOST_ATTACKS = 80


def _axes(title: str, xlabel: str, ylabel: str, *, width: float = 5.2, height: float = 4.4) -> tuple[Figure, Axes]:
    """An empty figure of the house's look, sizes in inches."""
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(_plain(title), fontsize=11)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _plain(text: str) -> str:
    """Text that is drawn as it stands, not read as mathematics."""
    return text.replace("$", r"\$")


def _probit(rates: ArrayLike) -> np.ndarray:
    """Quantiles of the normal distribution; 0 and 1 go to a point that lies off every axis."""
    inverse = NormalDist().inv_cdf
    return np.array([inverse(rate) for rate in np.clip(rates, 1e-7, 1 - 1e-7)])


def det(scores: ArrayLike, labels: ArrayLike, *, title: str = "DET curve") -> Figure:
    """Detection error trade-off: misses against false alarms, both on the normal-deviate scale, with the EER marked.

    Gaussian scores give a straight line (Martin et al. 1997, "The DET curve in assessment of detection task
    performance").
    The axes begin one step below the smallest rate that this many trials can show.

    Raises:
        InputError: See `deepfake.metrics.eer.trials`.
    """
    far, frr, _ = roc_points(scores, labels)
    rate, _ = eer(scores, labels)
    y = np.asarray(labels).astype(bool)
    smallest = min(1 / min(y.sum(), (~y).sum()), 0.01, rate or 1)  # finest step of the smaller class
    wide = rate > 0.35
    low = DET_TICKS[max(np.searchsorted(DET_TICKS, smallest) - 1, 0)]
    high = DET_TICKS[-1] if wide else 0.5
    ticks = DET_TICKS[(low <= DET_TICKS) & (high >= DET_TICKS) & ~(wide & np.isin(DET_TICKS, CROWDED))]
    between = np.union1d(frr - far, np.linspace(-1, 1, 401))  # points on the lines that join tied scores; 0 is the EER
    far, frr = np.interp(between, frr - far, far), np.interp(between, frr - far, frr)

    figure, axes = _axes(title, "false alarms: spoof accepted (%)", "misses: bona fide rejected (%)", height=5.0)
    limits = _probit([low, high])
    axes.plot(limits, limits, color=REFERENCE, linestyle=":", linewidth=1, label="equal rates")
    axes.plot(_probit(far), _probit(frr), color=CURVE, linewidth=1.8, label="detector")
    axes.plot(_probit([rate]), _probit([rate]), "o", color=SPOOF, markersize=7, label=f"EER {rate:.2%}")
    if rate == 0:
        axes.text(0.5, 0.25, "no errors: the curve lies below these axes", transform=axes.transAxes, ha="center")
    axes.set_xticks(_probit(ticks), [f"{100 * t:g}" for t in ticks], fontsize=8)
    axes.set_yticks(_probit(ticks), [f"{100 * t:g}" for t in ticks], fontsize=8)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


def roc(scores: ArrayLike, labels: ArrayLike, *, title: str = "ROC curve") -> Figure:
    """Receiver operating characteristic: bona fide accepted against spoof accepted, with the EER marked.

    Raises:
        InputError: See `deepfake.metrics.eer.trials`.
    """
    far, frr, _ = roc_points(scores, labels)
    rate, _ = eer(scores, labels)
    figure, axes = _axes(title, "spoof accepted (%)", "bona fide accepted (%)", height=5.0)
    axes.plot([0, 1], [0, 1], color=REFERENCE, linestyle=":", linewidth=1, label="chance")
    axes.plot(far, 1 - frr, color=CURVE, linewidth=1.8, label=f"detector, AUC {auc(scores, labels):.4f}")
    axes.plot([rate], [1 - rate], "o", color=SPOOF, markersize=7, label=f"EER {rate:.2%}", clip_on=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, symbol=""))
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.legend(loc="lower right")
    return figure


def histogram(
    scores: ArrayLike, labels: ArrayLike, *, threshold: float | None = None, title: str = "Scores by class"
) -> Figure:
    """Share of each class's trials per bin of score, and the threshold; a class without trials is left out.

    Raises:
        InputError: See `deepfake.metrics.eer.trials`; one class may be missing.
    """
    s, y = trials(scores, labels, both_classes=False)
    figure, axes = _axes(title, "score (larger = more bona fide)", "share of the class per bin (%)")
    edges = np.histogram_bin_edges(s, bins=int(np.clip(2 * np.sqrt(len(s)), 10, 60)))
    for name, of_class, colour, line in (("spoof", ~y, SPOOF, "--"), ("bona fide", y, BONAFIDE, "-")):
        if n := int(of_class.sum()):
            share = np.histogram(s[of_class], edges)[0] / n
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.3)
            axes.stairs(share, edges, color=colour, linestyle=line, linewidth=1.6, label=f"{name} ({n:,})")
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="-.", linewidth=1.2, label=f"threshold {threshold + 0.0:.4g}")
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


def by_attack(
    eers: Mapping[str, float], *, overall: float | None = None, title: str = "EER per attack against all bona fide"
) -> Figure:
    """One bar per attack, in the order given, with the pooled EER as a line; of very many, the hardest ones.

    Args:
        eers: EER by attack, as fractions.
        overall: EER of all attacks together, a fraction.

    Raises:
        InputError: There is no attack.
    """
    if not eers:
        raise InputError("there is no attack whose EER could be drawn")
    if len(eers) > MOST_ATTACKS:
        hardest = set(sorted(eers, key=lambda name: -eers[name])[:MOST_ATTACKS])
        title = f"{title}: the {MOST_ATTACKS} hardest of {len(eers)}"
        eers = {name: value for name, value in eers.items() if name in hardest}
    names, values = list(eers), np.array(list(eers.values()))
    figure, axes = _axes(title, "EER (%)", "", height=1.6 + 0.26 * len(names))
    axes.barh(np.arange(len(names)), values, height=0.7, color=CURVE)
    for row, value in enumerate(values):
        axes.annotate(f"{100 * value:.2f}", (value, row), (3, 0), textcoords="offset points", va="center", fontsize=8)
    if overall is not None:
        axes.axvline(overall, color=SPOOF, linestyle="--", linewidth=1.4, label=f"all attacks {overall:.2%}")
        figure.legend(loc="outside lower right", fontsize=9)
    axes.set_yticks(np.arange(len(names)), [_plain(name) for name in names], fontsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first attack on top
    axes.set_xlim(0, 1.12 * max(values.max(), overall or 0, 0.01))
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    axes.grid(visible=False, axis="y")
    return figure
