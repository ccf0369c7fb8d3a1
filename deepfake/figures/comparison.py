"""Figures that compare: DET curves of several systems in one plot, and values with their intervals, row by row."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from deepfake.errors import InputError
from deepfake.figures.style import (
    CLASSES,
    CURVE,
    MOST_ATTACKS,
    REFERENCE,
    STYLES,
    axes_of,
    det_axes,
    det_points,
    percent,
    plain,
    probit,
    shorten,
)
from deepfake.metrics.eer import eer
from deepfake.metrics.trials import Trials


def det_many(
    systems: Mapping[str, Trials | tuple[ArrayLike, ArrayLike]], *, classes: tuple[str, str] = CLASSES
) -> Figure:
    """DET curves of several systems, as `det` draws one, each with its EER marked.

    Args:
        systems: Scores `[N]` and labels `[N]`, or trials, by the system's name, at most 8; N may differ.
        classes: Names of the class to be accepted and the one to be rejected.

    Raises:
        InputError: There is no system or more than 8; see also `deepfake.metrics.trials.Trials`.
    """
    if not 0 < len(systems) <= len(STYLES):
        raise InputError(f"got {len(systems)} systems to be drawn in one DET plot: 1 to {len(STYLES)} were expected")
    trials = [Trials.of(*of) if isinstance(of, tuple) else Trials.of(of) for of in systems.values()]
    figure, axes = det_axes("DET curves", trials, height=5.6 + 0.2 * len(systems), classes=classes)
    for name, of, (colour, line, marker) in zip(shorten(systems, most=44), trials, STYLES, strict=False):
        rate, _ = eer(of)
        drawn = {"color": colour, "linestyle": line, "linewidth": 1.6}
        axes.plot(*det_points(of), **drawn)
        words = f"{name}: EER {rate:.2%}{' (below these axes)' if rate == 0 else ''}"
        at = probit([rate])
        axes.plot(at, at, marker=marker, markeredgecolor="white", markersize=8, **drawn, zorder=3, label=words)
    figure.legend(loc="outside lower center", ncols=1, fontsize=8)
    return figure


def intervals(
    rows: Mapping[str, tuple[float, float | None, float | None]],
    *,
    unit: str,
    reference: tuple[str, float] | None = None,
    title: str = "Intervals",
) -> Figure:
    """A value and its interval per row (a forest plot): systems, seeds, or the cues of a shortcut audit.

    Args:
        rows: Value, lower and upper end by name, in the order to be drawn; a `None` or NaN end means no interval.
        unit: Of the values, as it stands on the axis; if it names % ("EER (%)"), the values are fractions.
        reference: Name and value of a line to compare with, such as `("chance", 0.5)`.
        title: Of the figure.

    Raises:
        InputError: No rows or more than 80, a value is not finite, an end lies on the wrong side of the other.
    """
    if not 0 < len(rows) <= MOST_ATTACKS:
        raise InputError(f"got {len(rows)} values to be drawn with their intervals: 1 to {MOST_ATTACKS} were expected")
    given = [[math.nan if number is None else float(number) for number in row] for row in rows.values()]
    values, low, high = np.array(given).T
    if bad := [name for name, value in zip(rows, values, strict=True) if not math.isfinite(value)]:
        raise InputError(f"the value of {bad[0]!r} is not a finite number: leave it out")
    if wrong := [name for name, of, to in zip(rows, low, high, strict=True) if of > to or math.isinf(to - of)]:
        raise InputError(f"the interval of {wrong[0]!r} does not run from a lower to a higher finite number")

    figure, axes = axes_of(title, plain(unit), "", width=6.4, height=1.5 + 0.28 * max(len(rows), 2))
    at = np.arange(len(rows))
    whole = ~np.isnan(low) & ~np.isnan(high)
    axes.hlines(at[whole], low[whole], high[whole], color=CURVE, linewidth=1.8)
    for ends in (low, high):
        axes.plot(ends[whole], at[whole], "|", color=CURVE, markersize=8, markeredgewidth=1.8)
    label = "value and interval" if whole.any() else "value"
    axes.plot(values, at, "o", color=CURVE, markeredgecolor="white", markersize=8, zorder=3)
    axes.plot([], [], "o-" if whole.any() else "o", color=CURVE, markeredgecolor="white", markersize=8, label=label)
    if reference is not None:
        name, value = reference
        (shown,) = shorten([name])
        words = f"{shown} {_number(value, unit)}{'%' * ('%' in unit)}"
        axes.axvline(value, color=REFERENCE, linestyle=(0, (6, 2)), linewidth=1.4, zorder=1.5, label=words)
    for row, (value, of, to) in enumerate(zip(values, low, high, strict=True)):
        between = f"  [{_number(of, unit)}, {_number(to, unit)}]" if whole[row] else ""
        text = f"{_number(value, unit)}{between}"
        axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    axes.set_yticks(at, shorten(rows), fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.06)
    if "%" in unit:
        percent(axes.xaxis)
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _number(value: float, unit: str) -> str:
    return f"{100 * value:.2f}" if "%" in unit else f"{value + 0.0:.4g}"
