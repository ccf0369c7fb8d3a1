"""The report on localisation: `localisation.json`, a page that opens anywhere, figures, a table for the terminal."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Group

from deepfake.atomic import write_atomically
from deepfake.figures.comparison import intervals
from deepfake.figures.html import pictures, write_page
from deepfake.figures.style import CURVE, SPOOF, dress, figure_of, roc, shorten
from deepfake.localisation.measures import FRAME_SECONDS, VERDICTS, Curve
from deepfake.localisation.segments import THRESHOLD, segments
from deepfake.metrics.classification import auc
from deepfake.metrics.localisation import RESOLUTIONS
from deepfake.terminal import summary

TRUTH = "#F6D3BC"  # the red of spoof, pale enough for a curve to be read on it
MOST_ROWS = 3  # of the timelines, of a kind
_UNITS = [f"{1000 * r:.0f}" for r in RESOLUTIONS]  # milliseconds
_EER = "Error rate of units at the threshold where bona fide and spoofed units are wrong equally often."
MEASURES = {
    **{f"frame_auc_{u}ms": (f"AUC, {u} ms", "Of the pooled units of this length. 0.5: chance.") for u in _UNITS},
    **{f"segment_eer_{u}ms": (f"segment EER, {u} ms", _EER) for u in _UNITS},
    "range_eer": ("range EER", "The same by duration, which does not depend on a length of units."),
    "file_auc": ("AUC of files", "Of the largest p_fake of each file."),
    "file_eer": ("EER of files", "Of the largest p_fake of each file."),
}
AT = {
    "frame_f1": ("F1 of frames", "Of the detection of spoofed frames of 20 ms."),
    "frame_precision": ("precision of frames", "Share of the flagged frames that are spoofed."),
    "frame_recall": ("recall of frames", "Share of the spoofed frames that are flagged."),
    "boundary_seconds": (
        "boundary error (s)",
        "Mean distance of detected boundaries from true ones, matched one to one.",
    ),
    "boundaries_missed": ("boundaries missed", "Share of the true boundaries without a detected one."),
    "boundaries_extra": ("boundaries too many", "Detected boundaries without a true one, per true boundary."),
}
KINDS = {
    "trend": "A scan of windows: a trend at its effective resolution, not localisation.",
    "localisation": "A detector that scores frames: localisation.",
}


def write(
    result: Mapping[str, Any], curves: Mapping[str, Sequence[Curve]], *, file: Path, page: Path, figures: Path
) -> None:
    """Write `localisation.json`, `report.html` and the figures `{roc,rates,timelines}.{png,svg}`.

    Args:
        result: Content of `localisation.json`.
        curves: Of each partition.
        file: Path of `localisation.json`.
        page: Path of `report.html`.
        figures: Path of the folder of figures.
    """
    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
    threshold = (result["threshold"] or {"value": THRESHOLD})["value"]
    drawn = {
        "roc": lambda: _roc(result, curves["eval"]),
        "rates": lambda: _rates(result),
        "timelines": lambda: timelines(curves["eval"], threshold),
    }
    detector = {"detector": result["detector"]["path"], "sha256": result["detector"]["sha256"]}
    write_page(
        page,
        "localisation/report.html",
        title=f"spoofed stretches of {result['corpus']}",
        provenance={**detector, "corpus": result["corpus"], **result["provenance"], **result["settings"]},
        result=result,
        headline=_headline(result),
        about=_about(result),
        frame_seconds=FRAME_SECONDS,
        drawn=pictures(figures, drawn),
        tables=_tables(result, ", "),
        measures=[*MEASURES.values(), *AT.values()],
    )
    write_atomically(file, text + "\n")


def table(result: Mapping[str, Any]) -> Group:
    """The measures for the terminal: a row per measure, a column per partition."""
    return summary(_headline(result), _tables(result, "\n"), [_about(result), *result["notes"]])


def timelines(curves: Sequence[Curve], threshold: float) -> Figure:
    """Curves with spoofed stretches and flagged segments: the files with the lowest and the highest AUC.

    Args:
        curves: Of the files.
        threshold: On p_fake.
    """
    rows = _examples(curves)
    figure = figure_of(8.0, 0.9 + 1.05 * len(rows))
    names = shorten([c.id for c, _ in rows])
    for i, ((c, about), name) in enumerate(zip(rows, names, strict=True)):
        axes = figure.add_subplot(len(rows), 1, i + 1)
        dress(axes, "", "time (s)" if i == len(rows) - 1 else "", "p_fake")
        axes.set_title(f"{name}: {about}", fontsize=9, loc="left", pad=3)
        for start, end in c.spoofed:
            axes.axvspan(start, end, color=TRUTH, linewidth=0, label="spoofed")
        axes.stairs(c.p_fake, c.edges, baseline=None, color=CURVE, linewidth=1.5, label="p_fake")
        axes.axhline(threshold, color="black", linestyle="--", linewidth=1, label=f"threshold {threshold:.3g}")
        for found in segments(c.edges, c.p_fake, threshold=threshold):
            axes.plot(found[:2], [-0.12] * 2, color=SPOOF, linewidth=4, solid_capstyle="butt", label="flagged")
        axes.set(xlim=(0, c.edges[-1]), ylim=(-0.22, 1.05), yticks=[0, 0.5, 1])
    legend = {label: line for a in figure.axes for line, label in zip(*a.get_legend_handles_labels(), strict=True)}
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _examples(curves: Sequence[Curve]) -> list[tuple[Curve, str]]:
    """The files to be drawn, each with its caption."""
    mixed = [c for c in curves if len(np.unique(c.units(FRAME_SECONDS)[1])) == 2]
    own = sorted(((auc(*c.units(FRAME_SECONDS)), c) for c in mixed), key=lambda pair: pair[0])
    ends = own if len(own) <= 2 * MOST_ROWS else own[:MOST_ROWS] + own[-MOST_ROWS:]
    real = sorted((c for c in curves if not c.spoofed), key=lambda c: -c.p_fake.max())[: MOST_ROWS - 1]
    return [(c, f"spliced, AUC {a:.2f}") for a, c in ends] + [(c, "bona fide") for c in real] or [
        (c, "spoofed throughout") for c in curves[:MOST_ROWS]
    ]


def _roc(result: Mapping[str, Any], curves: Sequence[Curve]) -> Figure:
    scores, labels = (np.concatenate(x) for x in zip(*(c.units(FRAME_SECONDS) for c in curves), strict=True))
    rate = result["partitions"]["eval"]["measures"][f"segment_eer_{_UNITS[0]}ms"]
    between = None if rate["low"] is None else (rate["low"], rate["high"])
    figure = roc(scores, labels, interval=between, title=f"ROC of units of {1000 * FRAME_SECONDS:.0f} ms")
    if result["threshold"] is not None:
        accepted = scores >= -result["threshold"]["value"]
        at = [[accepted[labels == label].mean()] for label in (0, 1)]
        figure.axes[0].plot(*at, "s", color="black", markersize=6, label="threshold of dev")
        figure.legends[0].remove()
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _rates(result: Mapping[str, Any]) -> Figure:
    found = result["partitions"]["eval"]["measures"]
    names = [f"segment_eer_{u}ms" for u in _UNITS] + ["range_eer", "file_eer"]
    rows = {MEASURES[n][0]: (m["value"], m["low"], m["high"]) for n in names if (m := found[n])["value"] is not None}
    return intervals(rows, unit="EER (%)", reference=("chance", 0.5), title="Error rates")


def _tables(result: Mapping[str, Any], between: str) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, headings and rows of each table; the interval of a value comes after `between`."""
    partitions = {name: found for name, found in result["partitions"].items() if found is not None}
    at = {
        f"{partition}, {fixed['threshold']:.3g} ({name})": fixed
        for partition, found in partitions.items()
        for name in ("dev", "default")
        if (fixed := found["at"][name]) is not None
    }
    verdicts = [
        [f"{words} files called {v}", *(_cell(fixed["verdicts"][kind][v], between, ".0%") for fixed in at.values())]
        for kind, words in (("bonafide", "bona fide"), ("spoof", "spoofed"))
        for v in VERDICTS
    ]
    return [
        ("over all thresholds", list(partitions), _rows(MEASURES, partitions.values(), between)),
        ("at a threshold of p_fake", list(at), _rows(AT, at.values(), between) + verdicts),
    ]


def _rows(
    names: Mapping[str, tuple[str, str]], columns: Collection[Mapping[str, Any]], between: str
) -> list[list[str]]:
    return [[label, *(_cell(c["measures"][name], between) for c in columns)] for name, (label, _) in names.items()]


def _cell(found: Mapping[str, Any], between: str, form: str = ".3f") -> str:
    """A value, after the number of files that it is a share of, with its interval."""
    if found["value"] is None:
        return "-"
    value, low, high = (None if found[key] is None else format(found[key], form) for key in ("value", "low", "high"))
    return (f"{found['n']} ({value})" if "n" in found else f"{value}") + (f"{between}{low} to {high}" if low else "")


def _headline(result: Mapping[str, Any]) -> str:
    found = result["partitions"]["eval"]["measures"][f"frame_auc_{_UNITS[0]}ms"]
    return f"AUC at {_UNITS[0]} ms: {_cell(found, ', ')}"


def _about(result: Mapping[str, Any]) -> str:
    window, files = result["window"], result["partitions"]["eval"]
    return (
        f"{KINDS[result['kind']]} Windows of {window['seconds']:g} s, overlap {window['overlap']:.0%}, effective "
        f"resolution {result['resolution']:g} s; {files['n_bonafide']:,} bona fide and {files['n_spoof']:,} spoofed "
        f"files of eval."
    )
