"""The measurement of explanations as people read it: a page that opens anywhere, figures, a table for the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich import box
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from deepfake.atomic import write_atomically
from deepfake.errors import InputError
from deepfake.figures.comparison import intervals
from deepfake.figures.html import pictures, write_page
from deepfake.runs.folder import ReportFolder

_FILLED = "the clip is cut into blocks of 50 ms x 8 bands"
_SPLICED = "Share of the evidence for spoof that lies within 80 ms of a seam"
MEASURES = {
    "localisation_auc": (
        "AUC, 20 ms",
        "Of evidence over time against the known stretches, mean of files. 0.5: chance.",
    ),
    "localisation_auc_smooth": ("AUC, mean of 200 ms", "The same with evidence averaged over 200 ms."),
    "localisation_auc_pooled": ("AUC, all files together", "The same, the units of all files in one pool."),
    "pointing": ("peak in a known stretch", "Share of files, one cell of tolerance (pointing game)."),
    "pointing_chance": ("the same by chance", "Share of the time for which that would be so."),
    **{
        f"deletion_{filling}_minus_random": (
            f"deletion, {filling}, minus random",
            f"In nats: {_FILLED}, what speaks most for spoof is filled first; mean evidence along the way, minus that "
            "for the map's own cells shuffled. Below 0 is better than chance.",
        )
        for filling in ("noise", "silence", "reversed")
    },
    **{
        f"insertion_{filling}_minus_random": (
            f"insertion, {filling}, minus random",
            f"In nats: {_FILLED}, what speaks most for spoof comes back first. Above 0 is better than chance.",
        )
        for filling in ("noise", "silence", "reversed")
    },
    **{
        f"margin_{filling}_minus_random": (
            f"insertion - deletion, {filling}, minus random",
            "The two together, in nats: what an order gains by keeping neighbours together cancels. Above 0 is better "
            "than chance.",
        )
        for filling in ("noise", "silence", "reversed")
    },
    "infidelity": (
        "infidelity",
        "Share of the change of evidence, squared, that the map does not foretell. 0 is best.",
    ),
    "max_sensitivity": ("max-sensitivity", "Relative change of the map with noise at 40 dB, the larger of two."),
    "completeness_error": ("completeness error", "Relative gap between the map's sum and the evidence it explains."),
    "sanity_head": ("sanity: head", "Rank correlation with the map where the last layer's weights are re-drawn."),
    "sanity_half": ("sanity: last half", "The same for the last half of the layers."),
    "sanity_all": ("sanity: all layers", "The same for all layers."),
    "sanity_all_unsigned": (
        "sanity: all, sign set aside",
        "Mean size of the same, whatever its sign. Below 0.3 the check is passed.",
    ),
    "seams_of_fakes": ("at seams of fakes", f"{_SPLICED} of a known stretch."),
    "seams_of_fakes_time": ("the same by chance", "Share of the time that is so near to a seam."),
    "seams_of_bona_fide": ("at seams, bona fide in bona fide", f"{_SPLICED} between bona fide and bona fide."),
    "seams_of_bona_fide_time": ("the same by chance", "Share of the time that is so near to a seam."),
    "seconds": ("seconds per clip", "Of one map, on the machine named below."),
}


def write(folder: str | Path, result: Mapping[str, Any], *, title: str, provenance: Mapping[str, Any]) -> None:
    """Write `faithfulness.json`, `report.html` and `figures/{localisation,deletion,sanity}.{png,svg}` into a folder.

    Args:
        folder: Made if it is not there.
        result: What `deepfake.faithfulness.measure.measure` found.
        title: Heading of the page.
        provenance: What was measured (run, corpus, command, version, date ...), printed as it stands.
    """
    place = ReportFolder(Path(folder))
    text = json.dumps(
        {**result, "provenance": dict(provenance)}, indent=2, ensure_ascii=False, allow_nan=False, default=str
    )
    measures = [name for name in MEASURES if any(name in m["measures"] for m in result["methods"].values())]
    write_page(
        place.page,
        "faithfulness/report.html",
        title=title,
        provenance={**provenance, **result["settings"]},
        result=result,
        recommendation=_recommendation(result),
        counts=_counts(result),
        warnings=_notes(result)[1:],
        drawn=pictures(place.figures, _figures(result)),
        rows=_rows(result, between=", "),
        measures=[MEASURES[name] for name in measures],
    )
    write_atomically(place.faithfulness, text + "\n")


def table(result: Mapping[str, Any]) -> RichTable:
    """The measurement as a rich table for the terminal: a row per measure, a column per method."""
    view = RichTable(box=box.SIMPLE_HEAD, title=Text(_counts(result), style="bold"))
    view.add_column("")
    for name in result["methods"]:
        view.add_column(Text(name), justify="right")
    for cells in _rows(result, between="\n"):
        view.add_row(*(Text(cell) for cell in cells))
    grid = RichTable.grid()
    grid.add_row(view)
    for note in _notes(result):
        grid.add_row(Padding(Text(note, style="yellow"), (0, 2)))
    return grid


def _rows(result: Mapping[str, Any], *, between: str) -> list[list[str]]:
    """A row of cells per measure that any method has; the interval comes after `between`."""
    methods = result["methods"].values()
    return [
        [label, *(_cell(method["measures"].get(measure), between) for method in methods)]
        for measure, (label, _) in MEASURES.items()
        if any(measure in method["measures"] for method in methods)
    ]


def _cell(found: Mapping[str, Any] | None, between: str) -> str:
    if found is None:
        return "-"
    low, high = found["low"], found["high"]
    return f"{found['value']:.2f}" + (f"{between}{low:.2f} to {high:.2f}" if low is not None else "")


def _counts(result: Mapping[str, Any]) -> str:
    return f"explanations of {result['n_bonafide']:,} bona fide and {result['n_spoof']:,} spoofed clips"


def _recommendation(result: Mapping[str, Any]) -> str:
    if not result["settings"]["fillings"] or not result["settings"]["n_slow"]:
        return "Sanity and order were not measured: nothing is recommended"
    if result["recommended"] is None:
        return "No method passes the sanity check and beats random order with every filling"
    return f"Recommended: {result['recommended']}"


def _notes(result: Mapping[str, Any]) -> list[str]:
    warned = [f"{name}: {w}" for name, method in result["methods"].items() for w in method["warnings"]]
    return [f"{_recommendation(result)}.", *warned, *result["notes"]]


def _figures(result: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
    """How each figure is drawn: measures, unit, what chance gives, title."""
    margins = [name for name in MEASURES if name.startswith("margin_")]
    sanity = ["sanity_head", "sanity_half", "sanity_all"]
    return {
        "localisation": partial(
            _figure, result, ["localisation_auc_smooth"], "AUC", ("chance", 0.5), "Does it find the splices?"
        ),
        "deletion": partial(
            _figure, result, margins, "nats", ("random order", 0.0), "Insertion minus deletion, minus random order"
        ),
        "sanity": partial(
            _figure, result, sanity, "rank correlation", ("another map", 0.0), "Maps of re-drawn weights"
        ),
    }


def _figure(
    result: Mapping[str, Any], measures: Sequence[str], unit: str, reference: tuple[str, float], title: str
) -> Figure:
    """Values and intervals of each method.

    Raises:
        InputError: No method has any of the measures.
    """
    rows = {
        (f"{name}, {MEASURES[measure][0].split(', ')[1]}" if measure.startswith("margin") else
         f"{name}, {MEASURES[measure][0].split(': ')[1]}" if measure.startswith("sanity") else name):
        (found["value"], found["low"], found["high"])
        for name, method in result["methods"].items()
        for measure in measures
        if (found := method["measures"].get(measure)) is not None
    }  # fmt: skip
    if not rows:
        raise InputError(f"no method has {measures[0]}")
    return intervals(rows, unit=unit, reference=reference, title=title)
