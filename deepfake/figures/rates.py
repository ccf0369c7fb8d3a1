"""Figures of rates: precision and recall, rates by threshold, confusion, scores and EER per attack, t-DCF."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch
from matplotlib.ticker import PercentFormatter

from deepfake.errors import InputError
from deepfake.figures.style import (
    BONAFIDE,
    CURVE,
    MOST_ATTACKS,
    REFERENCE,
    SPOOF,
    STYLES,
    axes_of,
    between,
    finite,
    percent,
    plain,
    shorten,
    span,
    thin,
)
from deepfake.metrics.tdcf import min_tdcf_of
from deepfake.metrics.trials import Labels, Scored, Trials

EMPTY = {"facecolor": "white", "edgecolor": "#bbbbbb", "hatch": "////", "linewidth": 0.0}
FEW = 20  # trials: fewer are drawn one by one
HIGHEST_COST = 1.25
THRESHOLD = {"color": "black", "linestyle": (0, (6, 2, 1, 2)), "linewidth": 1.2, "zorder": 1.5}


def precision_recall(scores: Scored, labels: Labels = None) -> Figure:
    """Share of bona fide among the accepted against the share of the bona fide accepted; **positive = bona fide**.

    Average precision is the area below the steps, the sum of `(R_n - R_{n-1}) P_n` over the distinct thresholds. It
    moves with the base rate, which is drawn as the line that a detector without information lies on.

    Raises:
        InputError: See `deepfake.metrics.trials.Trials`.
    """
    precision, recall, _, _ = _precision(scores, labels)
    precision, recall = precision[-2::-1], recall[-2::-1]  # from the strictest threshold that accepts something
    average = float(np.sum(np.diff(recall, prepend=0.0) * precision))
    base = float(precision[-1])  # everything is accepted
    drawn = thin(recall, precision)
    names = "recall: bona fide accepted (%)", "precision: bona fide among the accepted (%)"
    figure, axes = axes_of("Precision and recall", *names, height=4.8)
    x, y = np.append(0.0, recall[drawn]), np.append(precision[0], precision[drawn])
    axes.plot(x, y, drawstyle="steps-pre", color=CURVE, linewidth=1.8, label=f"average precision {average:.4f}")
    axes.axhline(base, color=REFERENCE, linestyle=":", linewidth=1.4, label=f"base rate of bona fide {base:.1%}")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    percent(axes.xaxis, axes.yaxis)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def rates_by_threshold(scores: Scored, labels: Labels = None, *, threshold: float | None = None) -> Figure:
    """Precision, recall and F1 of bona fide, and both error rates, at every threshold; a trial is accepted above it.

    Precision ends where nothing is accepted any more.

    Raises:
        InputError: The threshold is not finite; see also `deepfake.metrics.trials.Trials`.
    """
    precision, recall, far, thresholds = _precision(scores, labels)
    precision[-1] = precision[-2]  # the last step is drawn up to the largest score
    with np.errstate(invalid="ignore"):
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))  # nothing right is accepted: 0
    low, high = span(thresholds[1:], threshold)
    figure, axes = axes_of("Rates against the threshold", "threshold on the score", "rate (%)", width=6.4, height=4.8)
    curves = {
        "precision": (precision, BONAFIDE, "-"),
        "recall": (recall, "#009E73", (0, (6, 2))),
        "F1": (f1, "black", (0, (6, 1.5, 1.5, 1.5))),
        "false alarms: spoof accepted": (far, SPOOF, (0, (1.2, 1.2))),
        "misses: bona fide rejected": (1 - recall, "#CC79A7", (0, (3, 1, 1, 1, 1, 1))),
    }
    for name, (rate, colour, line) in curves.items():
        end = float(thresholds[-1]) if name == "precision" else high
        x, y = between(thresholds, rate, low, min(end, high))
        axes.plot(x, y, drawstyle="steps-post", color=colour, linestyle=line, linewidth=1.8, label=name)
    _draw_threshold(axes, threshold)
    axes.set(xlim=(low, high), ylim=(-0.01, 1.02))
    percent(axes.yaxis)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


def confusion(scores: Scored, labels: Labels, threshold: float) -> Figure:
    """Counts of the decisions `score > threshold` by class, and their share of the class; a class may be missing.

    Raises:
        InputError: The threshold is not finite; see also `deepfake.metrics.trials.Trials`.
    """
    trials = Trials.of(scores, labels, both_classes=False)
    y, accepted = trials.bonafide, trials.scores > finite(threshold)
    xlabel = f"decision at the threshold {threshold + 0.0:.4g}"
    figure, axes = axes_of("Decisions at the threshold", xlabel, "truth", height=3.8)
    axes.patch.set(**EMPTY)
    words = (("hits (right)", "misses (wrong)"), ("false alarms (wrong)", "correct rejections (right)"))
    for (row, column), of_cell in np.ndenumerate(words):
        truth, decided = y == (row == 0), accepted == (column == 0)
        if not (n := int(truth.sum())):
            axes.text(column, row - 0.05, "no trials", ha="center", va="center", fontsize=14)
            continue
        count = int(np.sum(truth & decided))
        colour = mpl.colormaps["Blues"](0.85 * count / n)
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, linewidth=0))
        ink, text = _ink(colour), f"{count:,}\n{count / n:.2%}"
        axes.text(column, row - 0.05, text, color=ink, ha="center", va="center", fontsize=14, linespacing=1.3)
        axes.text(column, row + 0.36, of_cell, color=ink, ha="center", va="center", fontsize=8)
    axes.set_xticks([0, 1], ["accepted as bona fide", "rejected as spoof"])
    axes.set_yticks([0, 1], [f"bona fide\n({trials.n_bonafide:,})", f"spoof\n({trials.n_spoof:,})"])
    axes.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5))
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.axhline(0.5, color="white", linewidth=3)
    axes.axvline(0.5, color="white", linewidth=3)
    return figure


def histogram_by_attack(
    scores: Scored, labels: Labels, attacks: Iterable[str], *, threshold: float | None = None
) -> Figure:
    """One small histogram per attack above one axis of scores, bona fide speech on top; of very many, the hardest.

    Each histogram is scaled to its own peak; the line below it spans the middle 90 % of its trials, and its tick is the
    median. Fewer than 20 trials are drawn one by one. Scores far outside of nearly all others are counted at the ends.

    Args:
        scores: Scores `[N]`, larger = more bona fide.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof; one class may be missing.
        attacks: N names; those of bona fide trials do not matter.
        threshold: Drawn, and the share of each row that it accepts as bona fide is written beside it.

    Raises:
        InputError: There are not N attacks, the threshold is not finite; see also `deepfake.metrics.trials.Trials`.
    """
    trials = Trials.of(scores, labels, both_classes=False)
    s, rows = trials.scores, _by_attack(trials, list(attacks))
    title = "Scores by attack"
    medians = {name: float(np.median(of_row)) for name, of_row in rows.items() if name is not None}
    if len(medians) > MOST_ATTACKS:
        hardest = sorted(medians, key=lambda name: -medians[name])[:MOST_ATTACKS]
        title = f"{title}: the {MOST_ATTACKS} of {len(medians)} with the highest medians"
        rows = {name: of_row for name, of_row in rows.items() if name is None or name in hardest}
    low, high = span(s, threshold)
    outside = bool(np.any((s < low) | (s > high)))
    edges = np.linspace(low, high, 1 + int(np.clip(2800 // len(rows), 32, 80)))
    xlabel = "score (larger = more bona fide)" + ("; what lies further out is counted at the ends" if outside else "")
    figure, axes = axes_of(title, xlabel, "", width=6.4, height=1.5 + 0.27 * len(rows))
    for row, (name, of_row) in enumerate(rows.items()):
        _draw_row(axes, row, np.clip(of_row, low, high), edges, BONAFIDE if name is None else SPOOF)
        if threshold is not None:
            share = f"{100 * np.mean(of_row > threshold):.1f}"
            axes.text(1.09, row, share, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8)
    if threshold is not None:
        axes.text(1.09, -1, "accepted\n(%)", transform=axes.get_yaxis_transform(), ha="right", va="bottom", fontsize=8)
    _draw_threshold(axes, threshold)
    axes.plot([], [], color="black", linewidth=1, marker="|", label="median, middle 90% of the trials")
    names = shorten("bona fide" if name is None else name for name in rows)
    counts = [len(of_row) for of_row in rows.values()]
    axes.set_yticks(range(len(rows)), [f"{name} ({n:,})" for name, n in zip(names, counts, strict=True)], fontsize=8)
    axes.set(xlim=(low, high), ylim=(len(rows) - 0.4, -0.8))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def heat_map(
    table: Mapping[str, Mapping[str, float | None]],
    *,
    row_name: str,
    column_name: str,
    title: str | None = None,
) -> Figure:
    """EER of each pair of two conditions, such as attack and codec; pairs without trials are hatched.

    Args:
        table: EER as a fraction by row and column, in the order to be drawn; `None`, NaN or nothing where unknown.
        row_name: What the rows are, such as "attack".
        column_name: What the columns are, such as "codec".
        title: Of the figure.

    Raises:
        InputError: No pair has an EER, one is not between 0 and 1, or the table is beyond 80 rows or 40 columns.
    """
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    if len(table) > MOST_ATTACKS or len(columns) > MOST_ATTACKS // 2:
        most = f"{MOST_ATTACKS} x {MOST_ATTACKS // 2}"
        raise InputError(f"a heat map of {len(table)} x {len(columns)} {row_name} x {column_name}: at most {most}")
    given = [[row.get(column) for column in columns] for row in table.values()]
    rates = np.array([[np.nan if rate is None else rate for rate in row] for row in given], dtype=np.float64)
    if not np.isfinite(rates).any():
        raise InputError(f"no pair of {row_name} and {column_name} has an EER that could be drawn")
    if not np.all(np.isnan(rates) | ((rates >= 0) & (rates <= 1))):
        raise InputError(f"an EER of {row_name} x {column_name} is not a fraction between 0 and 1")
    names, headings = shorten(table), shorten(columns, most=18)
    upright = max(map(len, headings)) > 7
    figure, axes = axes_of(
        title or f"EER by {row_name} and {column_name}",
        plain(column_name),
        plain(row_name),
        width=2.4 + 0.07 * max(map(len, names)) + max(0.5 * len(columns), 1.2),
        height=1.4 + 0.28 * max(len(table), 4) + (0.07 * max(map(len, headings)) if upright else 0),
    )
    highest = max(float(np.nanmax(rates)), 0.01)
    axes.patch.set(**EMPTY)
    edges = [np.arange(n + 1) - 0.5 for n in (len(columns), len(table))]
    cells = np.ma.masked_invalid(rates)
    mesh = axes.pcolormesh(*edges, cells, cmap="Blues", vmin=0, vmax=highest, edgecolors="white", linewidth=0.5)
    for (row, column), rate in np.ndenumerate(rates):
        if not math.isnan(rate):
            text, ink = f"{100 * rate:.{2 if rate < 0.0995 else 1}f}", _ink(mesh.cmap(rate / highest))
            axes.text(column, row, text, color=ink, ha="center", va="center", fontsize=8)
    axes.set_xticks(range(len(columns)), headings, fontsize=8, rotation=90 if upright else 0)
    axes.set_yticks(range(len(table)), names, fontsize=8)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    bar = figure.colorbar(mesh, ax=axes, label="EER (%)", format=PercentFormatter(1, symbol=""), aspect=25)
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def tdcf_curve(
    scores: Scored, labels: Labels, weights: Mapping[str, tuple[float, float, float]], *, threshold: float | None = None
) -> Figure:
    """Normalised t-DCF `(C0 + C1 P_miss + C2 P_fa) / (C0 + min(C1, C2))` at every CM threshold, its minimum marked.

    At 1 the CM is worth as much as one without information. The points are those of the organisers' curve, from which
    `deepfake.metrics.tdcf.min_tdcf_of` takes the minimum, those inside tied scores included.

    Args:
        scores: CM scores `[N]`, larger = more bona fide.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof.
        weights: C0, C1 and C2 by the name of the form, such as "legacy" and "revised"; at most 8.
        threshold: The CM threshold in use; the cost there is written into the legend.

    Raises:
        InputError: There are no weights or too many, the threshold is not finite; see also `min_tdcf_of`.
    """
    if not 0 < len(weights) <= len(STYLES):
        raise InputError(f"got the t-DCF weights of {len(weights)} forms: 1 to {len(STYLES)} were expected")
    trials = Trials.of(scores, labels)
    far, frr, thresholds = trials.official
    low, high = span(thresholds[1:], threshold)
    title = "Tandem detection cost against the CM threshold"
    figure, axes = axes_of(title, "CM threshold", "normalised t-DCF", width=6.4, height=4.8)
    axes.axhline(1, color=REFERENCE, linestyle=":", linewidth=1.4, label="a CM without information: 1")
    highest = 1.0
    for name, (c0, c1, c2), (colour, line, marker) in zip(shorten(weights), weights.values(), STYLES, strict=False):
        least, best = min_tdcf_of(trials, c0=c0, c1=c1, c2=c2)
        cost = (c0 + c1 * frr + c2 * far) / (c0 + min(c1, c2))
        highest = max(highest, float(cost.max()))
        words = f"{name}: minimum {least:.4f} at {best + 0.0:.4g}"
        if threshold is not None:
            at = max(int(np.searchsorted(thresholds, threshold, side="right")) - 1, 0)
            words += f"; {cost[at]:.4f} at the threshold in use"
        x, y = between(thresholds, cost, low, high)
        drawn = {"color": colour, "linestyle": line, "linewidth": 1.8}
        axes.plot(x, y, drawstyle="steps-post", **drawn)
        axes.plot([best], [least], marker=marker, markeredgecolor="white", markersize=9, **drawn, zorder=3, label=words)
    _draw_threshold(axes, threshold)
    axes.set(xlim=(low, high), ylim=(0, min(1.05 * highest, HIGHEST_COST)))
    figure.legend(loc="outside lower center", ncols=1, fontsize=8)
    return figure


def _precision(scores: Scored, labels: Labels) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Precision (NaN where nothing is accepted: the last one), recall, false alarms, thresholds; each `[U + 1]`."""
    trials = Trials.of(scores, labels)
    far, frr, thresholds = trials.roc
    tp, fp = (1 - frr) * trials.n_bonafide, far * trials.n_spoof
    precision = np.append((tp / np.maximum(tp + fp, 0.5))[:-1], np.nan)
    return precision, 1 - frr, far, thresholds


def _draw_threshold(axes: Axes, threshold: float | None) -> None:
    if threshold is not None:
        axes.axvline(threshold, **THRESHOLD, label=f"threshold in use {threshold + 0.0:.4g}")


def _ink(colour: tuple[float, ...]) -> str:
    """Black or white, whichever is read more easily on a colour (its relative luminance, Rec. 709)."""
    luminance = sum(weight * channel**2.2 for weight, channel in zip((0.2126, 0.7152, 0.0722), colour[:3], strict=True))
    return "black" if luminance > 0.18 else "white"


def _by_attack(trials: Trials, attacks: list[str]) -> dict[str | None, np.ndarray]:
    """Scores of bona fide speech, under `None`, and of each attack, by name."""
    s, y = trials.scores, trials.bonafide
    if len(attacks) != len(s):
        raise InputError(f"got {len(attacks)} attacks of {len(s)} trials: one name each was expected")
    names = sorted({"unknown" if attack in ("", "-") else attack for attack in set(attacks)})
    code = {name: i for i, name in enumerate(names)}
    code |= dict.fromkeys(("", "-"), code.get("unknown", -1))
    codes = np.fromiter(map(code.__getitem__, attacks), dtype=np.int64, count=len(attacks))
    rows: dict[str | None, np.ndarray] = {None: s[y]} | {name: s[~y & (codes == i)] for i, name in enumerate(names)}
    return {name: of_row for name, of_row in rows.items() if len(of_row)}


def _draw_row(axes: Axes, row: int, scores: np.ndarray, edges: np.ndarray, colour: str) -> None:
    """A histogram that stands on the line of its row (or a dash per trial), and the spread below it."""
    floor = row + 0.28
    if len(scores) < FEW:
        axes.plot(scores, np.full(len(scores), row), "|", color=colour, markersize=8, markeredgewidth=1.2)
        return
    counts = np.histogram(scores, edges)[0]
    filled = np.flatnonzero(counts)
    first, last = filled[0], filled[-1] + 1
    top = floor - 0.72 * counts[first:last] / counts.max()
    fill = {"fill": True, "facecolor": to_rgba(colour, 0.45), "edgecolor": colour}
    steps = StepPatch(top, edges[first : last + 1], baseline=floor, linewidth=0.8, **fill)
    axes.add_artist(steps)  # `axes.stairs` also looks for limits, which are given, in a tenth of a second
    low, median, high = np.quantile(scores, [0.05, 0.5, 0.95])
    axes.plot([low, high], [floor + 0.1] * 2, color="black", linewidth=1)
    axes.plot([median], [floor + 0.1], "|", color="black", markersize=6, markeredgewidth=1.4)
