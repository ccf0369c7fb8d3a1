"""Figures of a report: DET and ROC curve, score histogram, EER per attack. Each function returns a matplotlib Figure.

No pyplot: nothing global is changed, no display is needed, and a figure is freed with its last reference. Colours are
those of Okabe and Ito, and no two curves differ by colour alone. The look is here too, for the other files of figures.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike
from scipy.special import ndtri

from deepfake.errors import InputError
from deepfake.figures.layout import Layout
from deepfake.metrics.classification import auc
from deepfake.metrics.eer import eer
from deepfake.metrics.trials import Labels, Scored, Trials

BONAFIDE, SPOOF, CURVE, REFERENCE = "#0072B2", "#D55E00", "#0072B2", "#666666"
DET_TICKS = np.array([0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.9]) / 100
CROWDED = np.array([30, 40, 60, 70]) / 100
MOST_ATTACKS = 80
CLASSES = ("bona fide", "spoof")
STYLES = (  # of several systems: colour, line, mark
    ("#0072B2", "-", "o"),
    ("#D55E00", (0, (6, 2)), "s"),
    ("#009E73", (0, (1.2, 1.2)), "^"),
    ("#CC79A7", (0, (6, 1.5, 1.5, 1.5)), "D"),
    ("#000000", (0, (3, 1.5)), "v"),
    ("#E69F00", (0, (8, 1.5, 1.5, 1.5, 1.5, 1.5)), "<"),
    ("#56B4E9", (0, (3, 1, 1, 1)), ">"),
    ("#666666", (0, (1, 2.5)), "p"),
)
LARGEST = 1e100
CELLS = 1500  # of `thin`, per axis: about a printed figure's own resolution


def figure_of(width: float, height: float) -> Figure:
    """An empty figure, sizes in inches."""
    figure = Figure(figsize=(width, height), dpi=150, layout=Layout())
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Give a pair of axes the look of all figures."""
    axes.set_title(plain(title), fontsize=11, y=1.0)  # with y given, no drawing looks for a place for it
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def axes_of(title: str, xlabel: str, ylabel: str, *, width: float = 5.2, height: float = 4.4) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, sizes in inches."""
    figure = figure_of(width, height)
    axes = figure.add_subplot()
    dress(axes, title, xlabel, ylabel)
    return figure, axes


def plain(text: str) -> str:
    """Text that is drawn as it stands, not read as mathematics."""
    return text.replace("$", r"\$")


def shorten(names: Iterable[str], *, most: int = 32) -> list[str]:
    """Names fit to be drawn: long ones lose the start that all share, then their middle; no two come out the same."""
    names = [" ".join(name.split()) or "(no name)" for name in names]
    if max(map(len, names), default=0) > most and len(set(names)) > 1:
        same = [len(set(letters)) == 1 for letters in zip(*names, strict=False)]
        shared = len(re.sub(r"\w+$", "", names[0][: [*same, False].index(False)]))  # up to a separator
        names = [f"…{name[shared:]}" if shared else name for name in names]
    shown: list[str] = []
    for name in names:
        if len(name) > most:
            name = f"{name[: most // 2]}…{name[most // 2 + 1 - most :]}"
        name = plain(name)
        shown.append(name if name not in shown else f"{name} (#{len(shown) + 1})")
    return shown


def thin(*columns: np.ndarray) -> np.ndarray:
    """Indices `[K]` of the points of a curve that can be told apart: what is drawn of a million of them.

    The first and the last point of each stay of the curve in one cell of a grid over all points, so that no drawn line
    is off by more than a cell. A short curve stays whole.

    Shape:
        each `[N]`, finite -> `[K]`
    """
    n = len(columns[0])
    if n <= CELLS:
        return np.arange(n)
    moves = np.zeros(n - 1, dtype=bool)
    for column in columns:
        low, high = column.min(), column.max()
        cell = np.floor((column - low) * (CELLS / ((high - low) or 1)))
        moves |= cell[1:] != cell[:-1]
    return np.flatnonzero(np.append(True, moves) | np.append(moves, True))


def finite(threshold: float) -> float:
    """The threshold, if it is one."""
    if not math.isfinite(threshold):
        raise InputError(f"the threshold is {threshold}: a finite number was expected")
    return threshold


def drawable(scores: np.ndarray) -> np.ndarray:
    """The scores, if an axis can hold them."""
    if (largest := float(np.abs(scores).max())) > LARGEST:
        raise InputError(f"a score of magnitude {largest:.3g} cannot be drawn: at most {LARGEST:g} was expected")
    return scores


def span(scores: np.ndarray, threshold: float | None) -> tuple[float, float]:
    """Ends of an axis that shows nearly all the scores and the threshold: single far ones do not squeeze the rest."""
    least, low, high, most = np.quantile(drawable(scores), [0, 0.001, 0.999, 1])
    margin = (high - low) / 4
    low, high = max(least, low - margin), min(most, high + margin)
    if threshold is not None:
        low, high = min(low, finite(threshold)), max(high, threshold)
    margin = 0.03 * (high - low) or 0.03 * (abs(high) or 1)
    return float(low - margin), float(high + margin)


def between(x: np.ndarray, y: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """The part of a step curve `[K]` with ascending x that lies between two ends, thinned; each step reaches right."""
    first, last = max(int(np.searchsorted(x, low, side="right")) - 1, 0), int(np.searchsorted(x, high, side="right"))
    x, y = x[first : max(last, first + 1)], y[first : max(last, first + 1)]
    x, y = np.concatenate([[low], x[1:], [high]]), np.append(y, y[-1])
    drawn = thin(x, y)
    return x[drawn], y[drawn]


def percent(*axes: Axis) -> None:
    """Write an axis of fractions in percent."""
    for axis in axes:
        axis.set_major_formatter(PercentFormatter(1, symbol=""))


def eer_label(rate: float, interval: tuple[float, float] | None) -> str:
    """The EER in words, with its interval where there is one; fractions."""
    between = "" if interval is None else f"\n(between {interval[0]:.2%} and {interval[1]:.2%})"
    return f"EER {rate:.2%}{between}"


def probit(rates: ArrayLike) -> np.ndarray:
    """Quantiles of the normal distribution; 0 and 1 go to a point that lies off every axis."""
    return ndtri(np.clip(rates, 1e-7, 1 - 1e-7))


def det_points(trials: Trials) -> tuple[np.ndarray, np.ndarray]:
    """False alarms and misses `[K]` of a DET curve in probits, with points on the lines that join tied scores."""
    far, frr, _ = trials.roc
    gap, between = frr - far, np.linspace(-1, 1, 401)  # 0 is the EER
    at = np.searchsorted(gap, between)
    x, y = (probit(np.insert(rate, at, np.interp(between, gap, rate))) for rate in (far, frr))
    drawn = thin(x, y)
    return x[drawn], y[drawn]


def det_axes(
    title: str, trials: Sequence[Trials], *, height: float = 5.0, classes: tuple[str, str] = CLASSES
) -> tuple[Figure, Axes]:
    """Axes of a DET plot in probits, and the line of equal rates.

    The axes begin one step below the smallest rate that so many trials can show, and end at 50 % unless an EER is high.

    Args:
        title: Of the figure.
        trials: Of each system that is to be drawn.
        height: Of the figure, in inches.
        classes: Names of the class to be accepted and the one to be rejected.
    """
    rates = [eer(of)[0] for of in trials]
    finest = [1 / min(of.n_bonafide, of.n_spoof) for of in trials]
    smallest = min(0.01, *finest, *(rate for rate in rates if rate))
    wide = max(rates) > 0.35
    low = DET_TICKS[max(np.searchsorted(DET_TICKS, smallest) - 1, 0)]
    high = DET_TICKS[-1] if wide else 0.5
    ticks = DET_TICKS[(low <= DET_TICKS) & (high >= DET_TICKS) & ~(wide & np.isin(DET_TICKS, CROWDED))]
    accepted, rejected = classes
    labels = f"false alarms: {rejected} accepted (%)", f"misses: {accepted} rejected (%)"
    figure, axes = axes_of(title, *labels, height=height)
    limits = probit([low, high])
    axes.plot(limits, limits, color=REFERENCE, linestyle=":", linewidth=1, label="equal rates")
    axes.set_xticks(probit(ticks), [f"{100 * t:g}" for t in ticks], fontsize=8)
    axes.set_yticks(probit(ticks), [f"{100 * t:g}" for t in ticks], fontsize=8)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    return figure, axes


def det(scores: Scored, labels: Labels = None, *, interval: tuple[float, float] | None = None) -> Figure:
    """Detection error trade-off: misses against false alarms, both on the normal-deviate scale, with the EER marked.

    Gaussian scores give a straight line (Martin et al. 1997, "The DET curve in assessment of detection task
    performance").

    Args:
        scores: Scores `[N]`, larger = more bona fide.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof.
        interval: The EER's interval, fractions, put into words beside it.

    Raises:
        InputError: See `deepfake.metrics.trials.Trials`.
    """
    trials = Trials.of(scores, labels)
    x, y = det_points(trials)
    rate, _ = eer(trials)
    figure, axes = det_axes("DET curve", [trials])
    axes.plot(x, y, color=CURVE, linewidth=1.8, label="detector")
    axes.plot(probit([rate]), probit([rate]), "o", color=SPOOF, markersize=7, label=eer_label(rate, interval))
    if rate == 0:
        axes.text(0.5, 0.25, "no errors: the curve lies below these axes", transform=axes.transAxes, ha="center")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


def roc(
    scores: Scored, labels: Labels = None, *, interval: tuple[float, float] | None = None, title: str = "ROC curve"
) -> Figure:
    """Receiver operating characteristic: bona fide accepted against spoof accepted, with the EER marked.

    `interval` is as in `det`.

    Raises:
        InputError: See `deepfake.metrics.trials.Trials`.
    """
    trials = Trials.of(scores, labels)
    far, frr, _ = trials.roc
    rate, _ = eer(trials)
    drawn = thin(far, frr)
    figure, axes = axes_of(title, "spoof accepted (%)", "bona fide accepted (%)", height=5.0)
    axes.plot([0, 1], [0, 1], color=REFERENCE, linestyle=":", linewidth=1, label="chance")
    area = auc(trials)
    axes.plot(far[drawn], 1 - frr[drawn], color=CURVE, linewidth=1.8, label=f"detector, AUC {area:.4f}")
    axes.plot([rate], [1 - rate], "o", color=SPOOF, markersize=7, label=eer_label(rate, interval), clip_on=False)
    percent(axes.xaxis, axes.yaxis)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, columnspacing=1)
    return figure


def histogram(scores: Scored, labels: Labels = None, *, threshold: float | None = None) -> Figure:
    """Share of each class's trials per bin of score, and the threshold; a class without trials is left out.

    Raises:
        InputError: See `deepfake.metrics.trials.Trials`; one class may be missing.
    """
    trials = Trials.of(scores, labels, both_classes=False)
    s, y = trials.scores, trials.bonafide
    figure, axes = axes_of("Scores by class", "score (larger = more bona fide)", "share of the class per bin (%)")
    edges = np.histogram_bin_edges(drawable(s), bins=int(np.clip(2 * np.sqrt(len(s)), 10, 60)))
    for name, of_class, colour, line in (("spoof", ~y, SPOOF, "--"), ("bona fide", y, BONAFIDE, "-")):
        if n := int(of_class.sum()):
            share = np.histogram(s[of_class], edges)[0] / n
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.3)
            axes.stairs(share, edges, color=colour, linestyle=line, linewidth=1.6, label=f"{name} ({n:,})")
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="-.", linewidth=1.2, label=f"threshold {threshold + 0.0:.4g}")
    percent(axes.yaxis)
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


def by_attack(eers: Mapping[str, float], *, overall: float | None = None) -> Figure:
    """One bar per attack, in the order given, with the pooled EER as a line; of very many, the hardest ones.

    Args:
        eers: EER by attack, as fractions.
        overall: EER of all attacks together, a fraction.

    Raises:
        InputError: There is no attack.
    """
    if not eers:
        raise InputError("there is no attack whose EER could be drawn")
    title = "EER per attack against all bona fide"
    if len(eers) > MOST_ATTACKS:
        hardest = set(sorted(eers, key=lambda name: -eers[name])[:MOST_ATTACKS])
        title = f"{title}: the {MOST_ATTACKS} hardest of {len(eers)}"
        eers = {name: value for name, value in eers.items() if name in hardest}
    names, values = list(eers), np.array(list(eers.values()))
    figure, axes = axes_of(title, "EER (%)", "", height=1.6 + 0.26 * len(names))
    axes.barh(np.arange(len(names)), values, height=0.7, color=CURVE)
    for row, value in enumerate(values):
        axes.annotate(f"{100 * value:.2f}", (value, row), (3, 0), textcoords="offset points", va="center", fontsize=8)
    if overall is not None:
        axes.axvline(overall, color=SPOOF, linestyle="--", linewidth=1.4, label=f"all attacks {overall:.2%}")
        figure.legend(loc="outside lower right", fontsize=9)
    axes.set_yticks(np.arange(len(names)), shorten(names), fontsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first attack on top
    axes.set_xlim(0, 1.12 * max(values.max(), overall or 0, 0.01))
    percent(axes.xaxis)
    axes.grid(visible=False, axis="y")
    return figure
