"""Pictures of one explained clip. Each function returns a matplotlib Figure.

Blue speaks for bona fide and vermilion for spoof, as in every other figure; a map has the same colours for the same
evidence in every clip, so that a clip without evidence looks like one. Nothing is interpolated: what is drawn as one
cell is one number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator, NullLocator
from numpy.typing import ArrayLike

from deepfake.errors import InputError
from deepfake.explain.map import Map
from deepfake.features.mel import hz_to_mel, mel_to_hz
from deepfake.figures.style import BONAFIDE, REFERENCE, SPOOF, axes_of, dress, figure_of, plain
from deepfake.metrics.localisation import stretches

WIDTH = 8.0  # inches
LEVELS_DB = (-80.0, 0.0)
LEVELS = colormaps["cividis"]
GREY = LinearSegmentedColormap.from_list("speech", ["#ffffff", "#707070"])  # light enough for a map to lie on it
SIDES = LinearSegmentedColormap.from_list("sides", [BONAFIDE, "#ffffff", SPOOF]).with_extremes(
    under="#141499", over="#a31515", bad="none"
)
HZ_TICKS = (0, 500, 1000, 2000, 4000, 8000, 16_000, 32_000)
TIME_STEPS = (15, 30, 60, 120, 300, 600, 900, 1800, 3600)  # seconds
CELL_LIMIT = 0.1  # nats at the end of the colours, of a cell of 10 ms in 40 bands
FRAME_LIMIT = 0.5  # nats at the end of the axis, of a frame of 10 ms
MOST_COLUMNS = 2000  # of a drawn waveform: about a printed figure's own resolution


def spectrogram(
    levels_db: ArrayLike, hz: ArrayLike, seconds: ArrayLike, *, regions: Sequence[tuple[float, float]] = ()
) -> Figure:
    """Level of each cell of mel band and frame, from 80 dB below the loudest cell up to it.

    Args:
        levels_db: In dB relative to the loudest cell `[F, L]`.
        hz: Edges of the bands `[F + 1]`.
        seconds: Edges of the frames `[L + 1]`.
        regions: Start and end in seconds of what is framed.
    """
    figure, axes, cells = _spectrogram("Spectrogram in mel bands", levels_db, hz, seconds, LEVELS)
    figure.colorbar(cells, ax=axes, label="level (dB, loudest cell 0)", pad=0.01, extend="min")
    for start, end in regions:
        axes.axvspan(start, end, facecolor="none", edgecolor="white", linewidth=4.5)
        axes.axvspan(start, end, facecolor="none", edgecolor=SPOOF, linewidth=2.2)
    return figure


def overlay(levels_db: ArrayLike, hz: ArrayLike, seconds: ArrayLike, map: Map) -> Figure:
    """A map in its own cells over the spectrogram in grey.

    The colours end at `limit_of` the map, whatever the clip; cells beyond have a colour of their own, shown at the ends
    of the colour bar. A cell without a value (NaN) stays grey.

    Args:
        levels_db: In dB relative to the loudest cell `[F, L]`, of the spectrogram.
        hz: Edges of the spectrogram's bands `[F + 1]`.
        seconds: Edges of the spectrogram's frames `[L + 1]`.
        map: What is drawn over it; its grid may differ.
    """
    limit, unit = limit_of(map), unit_of(map)
    cell_ms = 1000 * float(np.median(np.diff(map.seconds)))
    title = f"{map.method.replace('_', ' ')}: cells of {cell_ms:.3g} ms in {len(map.hz) - 1} bands"
    figure, axes, _ = _spectrogram(title, levels_db, hz, seconds, GREY)
    values = np.ma.masked_where(np.isnan(map.values), np.clip(map.values, -2 * limit, 2 * limit))
    cells = _cells(axes, values, map.hz, map.seconds, cmap=SIDES, norm=Normalize(-limit, limit), alpha=0.5)
    bar = figure.colorbar(cells, ax=axes, pad=0.01, extend="both", ticks=[-limit, -limit / 2, 0, limit / 2, limit])
    sides = {-limit: f"{_signed(-limit)}\nbona fide", limit: f"spoof\n{_signed(limit)}"}
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: sides.get(value, _signed(value))))
    bar.ax.tick_params(labelsize=8)
    bar.set_label(plain(fill(f"{unit} per cell" if unit == "nats" else unit, 42)), fontsize=9)
    return figure


def limit_of(map: Map, *, over_time: bool = False) -> float:
    """Where the colours of a map end, in its own unit: set by the size of its cells, never by what is in them.

    Of a map in nats it grows as the square root of the cell's area, as sums of independent values do, and is 1, 2 or 5
    times a power of ten, so that maps of nearly the same resolution share it. Grad-CAM's own unit has one end for all.

    Args:
        map: Its cells and its unit count.
        over_time: Of the evidence of its frames, all bands together.
    """
    limit = FRAME_LIMIT if over_time else CELL_LIMIT
    if not unit_of(map).startswith("nats"):
        return limit
    frames = float(np.median(np.diff(map.seconds))) / 0.01
    exponent = math.log10(limit * math.sqrt(frames if over_time else frames * 40 / (len(map.hz) - 1)))
    step = min((0, math.log10(2), math.log10(5), 1), key=lambda s: abs(s - (exponent - math.floor(exponent))))
    return float(f"{10 ** (math.floor(exponent) + step):.1g}")


def unit_of(map: Map) -> str:
    """What a map's values are, as its facts say."""
    return str(map.facts.get("unit", "nats"))


def time_importance(maps: Sequence[Map], *, regions: Sequence[tuple[float, float]] = ()) -> Figure:
    """What each frame speaks for, all bands together, a row for each map: above the line spoof, below it bona fide.

    Each has its own frames and its own unit. The axes end at `limit_of` the map, whatever the clip; a triangle marks
    each stretch in which a curve goes beyond.

    Args:
        maps: Of one clip.
        regions: Start and end in seconds of what is shaded grey.

    Raises:
        InputError: There is no map.
    """
    if not maps:
        raise InputError("there is no map whose evidence over time could be drawn")
    figure = figure_of(WIDTH, 1.0 + 0.75 * len(maps))
    rows = figure.subplots(len(maps), sharex=True, squeeze=False)[:, 0]
    for axes, map in zip(rows, maps, strict=True):
        edges, values, limit = map.seconds, map.over_time(), limit_of(map, over_time=True)
        dress(axes, "", "", "")
        axes.set_title(plain(f"{map.method.replace('_', ' ')} ({unit_of(map)})"), fontsize=9, loc="left")
        shown = np.clip(values, -limit, limit)
        axes.stairs(np.maximum(shown, 0), edges, fill=True, color=SPOOF, alpha=0.35)
        axes.stairs(np.minimum(shown, 0), edges, fill=True, color=BONAFIDE, alpha=0.35)
        axes.stairs(shown, edges, baseline=None, color="black", linewidth=0.8, label="evidence")
        for side, mark in ((1, "^"), (-1, "v")):
            beyond = stretches(side * values > limit, edges, gap_seconds=0, shortest_seconds=0)
            if beyond:  # the layout engine trips over a mark without points
                at = edges[np.array(beyond)].mean(axis=1)
                axes.plot(at, np.full(len(at), side * limit), mark, color="black", markersize=4, clip_on=False)
        axes.axhline(0, color=REFERENCE, linewidth=0.8)
        axes.set(ylim=(-limit, limit), yticks=[-limit, 0, limit])
        axes.yaxis.set_major_formatter(FuncFormatter(_signed))
        for start, end in regions:
            axes.axvspan(start, end, facecolor="#eeeeee", edgecolor="#999999", linewidth=0.8, zorder=0.4)
    figure.suptitle("Evidence over time", fontsize=11)
    figure.supylabel("← bona fide      spoof →", fontsize=9)
    time_axis(rows[-1], min(map.seconds[0] for map in maps), max(map.seconds[-1] for map in maps))
    return figure


def waveform_highlight(
    waveform: ArrayLike, rate: float, regions: Sequence[tuple[float, float]], *, start: float = 0.0
) -> Figure:
    """The waveform with the suspicious regions hatched and coloured.

    A long waveform is drawn as the lowest and highest sample of each column, so that no peak is lost.

    Args:
        waveform: Samples `[T]`, full scale is 1.
        rate: Samples per second.
        regions: Start and end of each in seconds; no two overlap.
        start: Time of the first sample in seconds.

    Raises:
        InputError: There are no samples.
    """
    samples = np.asarray(waveform, dtype=float)
    if not len(samples):
        raise InputError("there are no samples of which a waveform could be drawn")
    share = sum(end - start for start, end in regions) * rate / len(samples)
    words = f"{len(regions)} suspicious region{'s' * (len(regions) != 1)}, {share:.1%} of the time"
    title = f"Waveform: {words if regions else 'no suspicious region'}"
    figure, axes = axes_of(title, "", "amplitude (full scale 1)", width=WIDTH, height=2.8)
    end = start + len(samples) / rate
    if len(samples) > 2 * MOST_COLUMNS:
        firsts = np.linspace(0, len(samples), MOST_COLUMNS, endpoint=False).astype(int)
        low, high = np.minimum.reduceat(samples, firsts), np.maximum.reduceat(samples, firsts)
        at = start + np.append(firsts, len(samples)) / rate
        axes.fill_between(at, np.append(low, low[-1]), np.append(high, high[-1]), step="post", color="#333333", lw=0.3)
    else:
        axes.plot(start + np.arange(len(samples)) / rate, samples, color="#333333", linewidth=0.6)
    top = 1.05 * min(max(float(np.max(np.abs(samples))), 0.05), 1e30)
    axes.set_ylim(-top, top)
    for first, last in regions:
        look = {"facecolor": (SPOOF, 0.22), "edgecolor": (SPOOF, 0.9), "linewidth": 0.8}
        axes.axvspan(first, last, hatch="///", zorder=0.9, **look)
    time_axis(axes, start, end)
    return figure


def radar(cues: Mapping[str, float | None], even: Mapping[str, float | None]) -> Figure:
    """A radar chart of cues: each is a share from 0 in the middle to 1 at the rim.

    Args:
        cues: Share by name; None was not measured, and no line is drawn to it.
        even: The shares that evidence spread evenly over the clip would have, dashed: what stands out is beyond them.
    """
    figure = figure_of(5.6, 4.6)
    axes = figure.add_subplot(projection="polar")
    assert isinstance(axes, PolarAxes)
    axes.set_title("Where the evidence for spoof lies", fontsize=11, pad=14)
    angles = np.linspace(0, 2 * np.pi, len(cues), endpoint=False)
    axes.set(theta_offset=np.pi / 2, theta_direction=-1, ylim=(0, 1))
    words = [f"{plain(name)}\n{'not measured' if x is None else f'{x:.0%}'}" for name, x in cues.items()]
    axes.set_xticks(angles, words, fontsize=9)
    for label, angle in zip(axes.get_xticklabels(), angles, strict=True):
        side = math.sin(angle)
        label.set_horizontalalignment("center" if abs(side) < 0.1 else "left" if side > 0 else "right")
    axes.set_yticks([0.25, 0.5, 0.75, 1], ["", "50%", "", ""], fontsize=7, color=REFERENCE)
    around = np.append(angles, angles[0])
    names = [*cues, next(iter(cues))]
    shares, expected = (np.array([of.get(name) for name in names], dtype=float) for of in (cues, even))
    emptiest = int(np.argmin(np.nan_to_num(shares[1:] + shares[:-1])))  # there the scale is best read
    axes.set_rlabel_position((emptiest + 0.5) * 360 / len(cues))
    axes.tick_params(axis="x", pad=6)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines["polar"].set_color("#bbbbbb")
    axes.plot(around, expected, color=REFERENCE, linestyle="--", linewidth=1.2, label="spread evenly")
    if not np.isnan(shares).any():
        axes.fill(around, shares, color=SPOOF, alpha=0.2)
    axes.plot(around, shares, "o-", color=SPOOF, linewidth=1.8, label="this file", clip_on=False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def time_axis(axes: Axes, start: float, end: float) -> None:
    """Ticks and label of a time axis between two times in seconds: seconds of a clip, h:mm:ss of a long recording."""
    axes.set_xlim(start, end)
    if end - start <= 120:
        axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))
        axes.set_xlabel("time (s)")
        return
    step = next((step for step in TIME_STEPS if (end - start) / step <= 10), None)
    axes.xaxis.set_major_locator(MultipleLocator(step or 3600 * math.ceil((end - start) / 36_000)))
    hours = end >= 3600
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: clock(value, hours=hours)))
    axes.set_xlabel("time (h:mm:ss)" if hours else "time (min:s)")


def clock(seconds: float, *, hours: bool) -> str:
    """A time as h:mm:ss, or as m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _spectrogram(title: str, levels_db: ArrayLike, hz: ArrayLike, seconds: ArrayLike, colours: Colormap):
    """The figure, its axes of time and mel-spaced frequency, and the cells that are drawn."""
    figure, axes = axes_of(title, "", "frequency (Hz, mel-spaced)", width=WIDTH, height=3.4)
    cells = _cells(axes, levels_db, hz, seconds, cmap=colours, norm=Normalize(*LEVELS_DB))
    low, high = np.asarray(hz, dtype=float)[[0, -1]]
    axes.set_yscale("function", functions=(hz_to_mel, mel_to_hz))
    axes.set_ylim(low, high)
    axes.set_yticks([tick for tick in HZ_TICKS if low - 0.5 <= tick <= high + 0.5])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.grid(visible=False)
    time_axis(axes, *np.asarray(seconds)[[0, -1]])
    return figure, axes, cells


def _cells(axes: Axes, values: ArrayLike, hz: ArrayLike, seconds: ArrayLike, **look):
    mesh = axes.pcolormesh(np.asarray(seconds), np.asarray(hz), np.ma.asarray(values), **look)
    mesh.set(rasterized=True, edgecolor="none", antialiased=False)
    return mesh


def _signed(value: float, _: int | None = None) -> str:
    return f"{value:+.3g}".replace("-", "\N{MINUS SIGN}") if value else "0"
