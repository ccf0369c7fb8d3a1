"""How well spoofed stretches are found, as people read it: a page that opens anywhere, figures, a terminal's table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich import box
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from deepfake.atomic import write_atomically
from deepfake.figures.comparison import intervals
from deepfake.figures.html import pictures, write_page
from deepfake.figures.style import CURVE, SPOOF, dress, figure_of, roc, shorten
from deepfake.localisation import segments as timeline
from deepfake.localisation.measures import FRAME_SECONDS, VERDICTS, Heard
from deepfake.metrics.classification import auc
from deepfake.metrics.localisation import RESOLUTIONS

TRUTH = "#F6D3BC"  # the red of spoof, pale enough for a curve to be read on it
MOST_ROWS = 3  # of the timelines, of a kind
_UNITS = [f"{1000 * r:.0f}ms" for r in RESOLUTIONS]
_EER = "Share of units wrong either way, at the threshold where the two are equal."
MEASURES = {
    **{f"frame_auc_{u}": (f"AUC, {u[:-2]} ms", "Of units of this length, all together. 0.5: chance.") for u in _UNITS},
    **{f"segment_eer_{u}": (f"segment EER, {u[:-2]} ms", _EER) for u in _UNITS},
    "range_eer": ("range EER", "The same by duration, so that no length of unit enters."),
    "file_auc": ("AUC of files", "Of the largest p_fake of each file."),
    "file_eer": ("EER of files", "Of the same."),
}
AT = {
    "frame_f1": ("F1 of frames", "Of finding spoofed frames of 20 ms."),
    "frame_precision": ("precision of frames", "Share of the flagged frames that are spoofed."),
    "frame_recall": ("recall of frames", "Share of the spoofed frames that are flagged."),
    "boundary_seconds": ("boundary error (s)", "Mean distance of found boundaries from true ones, matched one to one."),
    "boundaries_missed": ("boundaries missed", "Share of the true boundaries without a found one."),
    "boundaries_extra": ("boundaries too many", "Found ones without a true one, for each true one."),
}
KINDS = {
    "trend": "A window sweep: a trend at its effective resolution, no localisation.",
    "localisation": "A detector that scores frames: localisation.",
}


def write(
    result: Mapping[str, Any], heard: Mapping[str, Sequence[Heard]], *, file: Path, page: Path, figures: Path
) -> None:
    """Write `localisation.json`, `report.html` and `figures/{roc,rates,timelines}.{png,svg}`.

    Args:
        result: What stands in `localisation.json`.
        heard: The curves of each partition.
        file: Path of `localisation.json`.
        page: Path of `report.html`.
        figures: Path of the figures' folder.
    """
    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
    threshold = (result["threshold"] or {"value": timeline.THRESHOLD})["value"]
    about, *_ = _notes(result)
    drawn = {
        "roc": lambda: _roc(result, heard["eval"]),
        "rates": lambda: _rates(result),
        "timelines": lambda: timelines(heard["eval"], threshold),
    }
    detector = {"detector": result["detector"]["path"], "sha256": result["detector"]["sha256"]}
    write_page(
        page,
        "localisation/report.html",
        title=f"spoofed stretches of {result['corpus']}",
        provenance={**detector, "corpus": result["corpus"], **result["provenance"], **result["settings"]},
        result=result,
        headline=_headline(result),
        about=about,
        frame_seconds=FRAME_SECONDS,
        drawn=pictures(figures, drawn),
        tables=_tables(result, ", "),
        measures=[*MEASURES.values(), *AT.values()],
    )
    write_atomically(file, text + "\n")


def table(result: Mapping[str, Any]) -> RichTable:
    """The measurement as a rich table for the terminal: a row per measure, a column per partition."""
    grid = RichTable.grid()
    for i, (title, headings, rows) in enumerate(_tables(result)):
        view = RichTable(box=box.SIMPLE_HEAD, title=Text(_headline(result), style="bold") if i == 0 else None)
        view.add_column(title)
        for name in headings:
            view.add_column(Text(name), justify="right")
        for cells in rows:
            view.add_row(*(Text(cell) for cell in cells))
        grid.add_row(view)
    for note in _notes(result):
        grid.add_row(Padding(Text(note, style="yellow"), (0, 2)))
    return grid


def timelines(heard: Sequence[Heard], threshold: float) -> Figure:
    """Curves with what is spoofed and what is flagged: the files that are done worst and best.

    Args:
        heard: Files.
        threshold: Of p_fake.
    """
    rows = _chosen(heard)
    figure = figure_of(8.0, 0.9 + 1.05 * len(rows))
    names = shorten([h.id for h, _ in rows])
    for i, ((h, told), name) in enumerate(zip(rows, names, strict=True)):
        axes = figure.add_subplot(len(rows), 1, i + 1)
        dress(axes, "", "time (s)" if i == len(rows) - 1 else "", "p_fake")
        axes.set_title(f"{name}: {told}", fontsize=9, loc="left", pad=3)
        for k, (start, end) in enumerate(h.spoofed):
            axes.axvspan(start, end, color=TRUTH, linewidth=0, label="spoofed" if k == 0 else None)
        axes.stairs(h.p_fake, h.edges, baseline=None, color=CURVE, linewidth=1.5, label="p_fake")
        axes.axhline(threshold, color="black", linestyle="--", linewidth=1, label=f"threshold {threshold:.3g}")
        for k, found in enumerate(timeline.segments(h.edges, h.p_fake, threshold=threshold)):
            label = "flagged" if k == 0 else None
            axes.plot(found[:2], [-0.12] * 2, color=SPOOF, linewidth=4, solid_capstyle="butt", label=label)
        axes.set(xlim=(0, h.edges[-1]), ylim=(-0.22, 1.05), yticks=[0, 0.5, 1])
    shown = {label: line for a in figure.axes for line, label in zip(*a.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _chosen(heard: Sequence[Heard]) -> list[tuple[Heard, str]]:
    """The files to be drawn, and what is said of each."""
    own = []
    for h in heard:
        scores, labels = h.units(FRAME_SECONDS)
        if 0 < labels.sum() < len(labels):
            own.append((auc(scores, labels), h))
    own.sort(key=lambda pair: pair[0])
    ends = own if len(own) <= 2 * MOST_ROWS else own[:MOST_ROWS] + own[-MOST_ROWS:]
    real = sorted((h for h in heard if not h.spoofed), key=lambda h: -h.p_fake.max())[: MOST_ROWS - 1]
    return [(h, f"spliced, AUC {a:.2f}") for a, h in ends] + [(h, "bona fide") for h in real] or [
        (h, "spoofed throughout") for h in heard[:MOST_ROWS]
    ]


def _roc(result: Mapping[str, Any], heard: Sequence[Heard]) -> Figure:
    scores, labels = (np.concatenate(x) for x in zip(*(h.units(FRAME_SECONDS) for h in heard), strict=True))
    rate = result["partitions"]["eval"]["measures"][f"segment_eer_{_UNITS[0]}"]
    between = None if rate["low"] is None else (rate["low"], rate["high"])
    figure = roc(scores, labels, interval=between, title=f"ROC of units of {1000 * FRAME_SECONDS:.0f} ms")
    if result["threshold"] is not None:
        bonafide, accepted = labels == 1, scores >= -result["threshold"]["value"]
        at = [[accepted[~bonafide].mean()], [accepted[bonafide].mean()]]
        figure.axes[0].plot(*at, "s", color="black", markersize=6, label="threshold of dev")
        figure.legends[0].remove()
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _rates(result: Mapping[str, Any]) -> Figure:
    found = result["partitions"]["eval"]["measures"]
    names = [f"segment_eer_{u}" for u in _UNITS] + ["range_eer", "file_eer"]
    rows = {MEASURES[n][0]: (m["value"], m["low"], m["high"]) for n in names if (m := found[n])["value"] is not None}
    return intervals(rows, unit="EER (%)", reference=("chance", 0.5), title="Error rates")


def _tables(result: Mapping[str, Any], between: str = "\n") -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, headings and rows of each table; the interval of a value comes after `between`."""
    there = {name: of for name, of in result["partitions"].items() if of is not None}
    rows = [
        [label, *(_cell(of["measures"][name], between) for of in there.values())]
        for name, (label, _) in MEASURES.items()
    ]
    found = [("over all thresholds", list(there), rows)]
    columns = {
        f"{partition}, {of['at'][at]['threshold']:.3g} ({at})": of["at"][at]
        for partition, of in there.items()
        for at in ("dev", "default")
        if of["at"][at] is not None
    }
    rows = [
        [label, *(_cell(c["measures"][name], between) for c in columns.values())] for name, (label, _) in AT.items()
    ]
    for kind, words in (("bonafide", "bona fide"), ("spoof", "spoofed")):
        told = [[_count(c["verdicts"][kind][v], between) for c in columns.values()] for v in VERDICTS]
        rows += [[f"{words} files called {v}", *cells] for v, cells in zip(VERDICTS, told, strict=True)]
    return [*found, ("at a threshold of p_fake", list(columns), rows)]


def _cell(found: Mapping[str, Any], between: str) -> str:
    if found["value"] is None:
        return "-"
    return f"{found['value']:.3f}" + (
        "" if found["low"] is None else f"{between}{found['low']:.3f} to {found['high']:.3f}"
    )


def _count(found: Mapping[str, Any], between: str) -> str:
    if found["value"] is None:
        return "-"
    ends = "" if found["low"] is None else f"{between}{found['low']:.0%} to {found['high']:.0%}"
    return f"{found['n']} ({found['value']:.0%}){ends}"


def _headline(result: Mapping[str, Any]) -> str:
    found = result["partitions"]["eval"]["measures"][f"frame_auc_{_UNITS[0]}"]
    return f"AUC at {_UNITS[0][:-2]} ms: {_cell(found, ', ')}"


def _notes(result: Mapping[str, Any]) -> list[str]:
    window, files = result["window"], result["partitions"]["eval"]
    about = (
        f"{KINDS[result['kind']]} Windows of {window['seconds']:g} s, overlap {window['overlap']:.0%}, effective "
        f"resolution {result['resolution']:g} s; {files['n_bonafide']:,} bona fide and {files['n_spoof']:,} spoofed "
        f"files of eval."
    )
    return [about, *result["notes"]]
