"""Figure of a timeline: p_fake over time, the flagged segments, and the effective resolution."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MultipleLocator

from deepfake.figures.style import CURVE, REFERENCE, SPOOF, axes_of
from deepfake.localisation.segments import Timeline
from deepfake.metrics.trials import Floats

# Dark green, light, red: of Okabe and Ito's hues, and of three lightnesses, so that they differ without hue too.
COLOURS = ("#00563F", "#F6EDC1", SPOOF)
HATCH = "#F0A070"  # the red, pale enough for a curve to be read on it
LONG_SECONDS = 120.0  # beyond it the axis counts minutes
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)  # of the ticks, in seconds
MOST_TICKS = 10
MOST_FRAMES = 2000  # drawn


def timeline_figure(timeline: Timeline) -> Figure:
    """p_fake by frame and its threshold, flagged segments hatched, and a strip that is green, light or red by p_fake.

    Light is between the threshold and one half: flagged but more likely bona fide, or the reverse. The bar above the
    curve has the length of the effective resolution: nothing shorter than that is located.
    """
    at, p = _thinned(timeline.edges, timeline.p_fake)
    threshold, duration, resolution = timeline.threshold.value, timeline.scan.duration, timeline.scan.window
    long = duration > LONG_SECONDS
    figure, axes = axes_of("p_fake over time", "time (min:s)" if long else "time (s)", "p_fake", width=8.0, height=3.2)
    low, high = sorted((threshold, 0.5))
    level = np.where(p > high, 2, np.where(p > low, 1, 0))
    strip = axes.pcolormesh(at, [-0.12, -0.04], level[None], cmap=ListedColormap(COLOURS), vmin=0, vmax=2)
    strip.set_label("_strip")
    for i, s in enumerate(timeline.segments):
        label = f"flagged ({len(timeline.segments)})" if i == 0 else None
        box = Rectangle((s.start, 0), s.end - s.start, 1, hatch="///", facecolor="none", edgecolor=HATCH, label=label)
        axes.add_patch(box)
    axes.stairs(p, at, baseline=None, color=CURVE, linewidth=1.6, label="p_fake")
    axes.axhline(threshold, color="black", linestyle="--", linewidth=1.1, label=f"threshold {threshold:.3g}")
    bar = [0, min(resolution, duration)]
    axes.plot(bar, [1.08, 1.08], color=REFERENCE, linewidth=3, solid_capstyle="butt", marker="|", label="_resolution")
    axes.text(0, 1.13, f" effective resolution {resolution:.3g} s", va="bottom", fontsize=8, color="#333333")
    names = (f"≤ {low:.3g}", f"{low:.3g} to {high:.3g}", f"> {high:.3g}")
    for name, colour in zip(names, COLOURS, strict=True):
        if low < high or name != names[1]:
            axes.fill_between([], [], facecolor=colour, edgecolor=REFERENCE, linewidth=0.5, label=name)
    axes.set(xlim=(0, duration), ylim=(-0.14, 1.3))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.xaxis.set_major_locator(MultipleLocator(next((s for s in STEPS if duration / s <= MOST_TICKS), STEPS[-1])))
    if long:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda t, _: f"{t // 60:.0f}:{t % 60:02.0f}"))
    figure.legend(loc="outside lower center", ncols=6, fontsize=8, columnspacing=1.2, handlelength=1.6)
    return figure


def _thinned(at: Floats, p: Floats) -> tuple[Floats, Floats]:
    """At most `MOST_FRAMES` frames; of frames that are merged, the highest is drawn."""
    if len(p) <= MOST_FRAMES:
        return at, p
    firsts = np.linspace(0, len(p), MOST_FRAMES + 1).astype(int)[:-1]
    return np.append(at[firsts], at[-1]), np.maximum.reduceat(p, firsts)
