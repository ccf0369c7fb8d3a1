"""The report on faithfulness: `faithfulness.json`, a page that opens anywhere, figures, a table for the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Group

from deepfake.atomic import write_atomically
from deepfake.errors import InputError
from deepfake.figures.comparison import intervals
from deepfake.figures.html import pictures, write_page
from deepfake.runs.folder import ReportFolder
from deepfake.terminal import summary

_SPLICED = "Share of the evidence for spoof within 80 ms of a seam"
_NEAR = "Share of the time within 80 ms of a seam."
_ORDERS = {  # of blocks, by their evidence
    "deletion": (
        "deletion",
        "In nats: the clip is cut into blocks of 50 ms x 8 bands, those with most evidence for spoof are filled first; "
        "mean evidence on the way, minus that for the map's own cells shuffled. Below 0 is better than chance.",
    ),
    "insertion": (
        "insertion",
        "In nats: from the filling, the blocks with most evidence for spoof are restored first. Above 0 is better than "
        "chance.",
    ),
    "margin": (
        "insertion - deletion",
        "The two together, in nats: what an order gains by keeping neighbours together cancels. Above 0 is better than "
        "chance.",
    ),
}
MEASURES = {
    "localisation_auc": (
        "AUC, 20 ms",
        "Of evidence over time against the known stretches, mean of files. 0.5: chance.",
    ),
    "localisation_auc_smooth": ("AUC, mean of 200 ms", "The same with evidence averaged over 200 ms."),
    "localisation_auc_pooled": ("AUC, all files together", "The same, the units of all files in one pool."),
    "pointing": ("peak in a known stretch", "Share of files, one cell of tolerance (pointing game)."),
    "pointing_chance": ("the same by chance", "Share of the time that counts as a hit."),
    **{
        f"{order}_{filling}_minus_random": (f"{label}, {filling}, minus random", meaning)
        for order, (label, meaning) in _ORDERS.items()
        for filling in ("noise", "silence", "reversed")
    },
    "infidelity": ("infidelity", "Share of the squared change of evidence that the map does not predict. 0 is best."),
    "max_sensitivity": ("max-sensitivity", "Relative change of the map with noise at 40 dB, the larger of two."),
    "completeness_error": ("completeness error", "Relative gap between the map's sum and the evidence it explains."),
    "sanity_head": ("sanity: head", "Rank correlation with the map after the last layer's weights are randomised."),
    "sanity_half": ("sanity: last half", "The same for the last half of the layers."),
    "sanity_all": ("sanity: all layers", "The same for all layers."),
    "sanity_all_unsigned": (
        "sanity: all, without sign",
        "Mean absolute rank correlation, for all layers. Below 0.3 the check is passed.",
    ),
    "seams_of_fakes": ("at seams of fakes", f"{_SPLICED} of a known stretch."),
    "seams_of_fakes_time": ("the same by chance", _NEAR),
    "seams_of_bona_fide": ("at seams, bona fide in bona fide", f"{_SPLICED} between bona fide and bona fide."),
    "seams_of_bona_fide_time": ("the same by chance", _NEAR),
    "seconds": ("seconds per clip", "Of one map, on the machine named below."),
}
_MARGINS = [name for name in MEASURES if name.startswith("margin_")]
_SANITY = ["sanity_head", "sanity_half", "sanity_all"]
FIGURES = {  # measures, unit, what chance gives, title
    "localisation": (["localisation_auc_smooth"], "AUC", ("chance", 0.5), "Localisation of the splices"),
    "deletion": (_MARGINS, "nats", ("random order", 0.0), "Insertion minus deletion, minus random order"),
    "sanity": (_SANITY, "rank correlation", ("another map", 0.0), "Maps with randomised weights"),
}


def write(folder: str | Path, result: Mapping[str, Any], *, title: str, provenance: Mapping[str, Any]) -> None:
    """Write `faithfulness.json`, `report.html` and `figures/{localisation,deletion,sanity}.{png,svg}` into a folder.

    Args:
        folder: Created if it does not exist.
        result: Of `deepfake.faithfulness.measure.measure`.
        title: Heading of the page.
        provenance: Run, corpus, command, version, date and so on, printed unchanged.
    """
    to = ReportFolder(Path(folder))
    text = json.dumps(
        {**result, "provenance": dict(provenance)}, indent=2, ensure_ascii=False, allow_nan=False, default=str
    )
    write_page(
        to.page,
        "faithfulness/report.html",
        title=title,
        provenance={**provenance, **result["settings"]},
        result=result,
        recommendation=_recommendation(result),
        counts=_counts(result),
        warnings=_notes(result)[1:],
        drawn=pictures(to.figures, {name: partial(_figure, result, *of) for name, of in FIGURES.items()}),
        rows=_rows(result, ", "),
        measures=[MEASURES[name] for name in _measured(result)],
    )
    write_atomically(to.faithfulness, text + "\n")


def table(result: Mapping[str, Any]) -> Group:
    """The measures for the terminal: a row per measure, a column per method."""
    return summary(_counts(result), [("", list(result["methods"]), _rows(result, "\n"))], _notes(result))


def _measured(result: Mapping[str, Any]) -> list[str]:
    """The measures that any method has."""
    return [name for name in MEASURES if any(name in method["measures"] for method in result["methods"].values())]


def _rows(result: Mapping[str, Any], between: str) -> list[list[str]]:
    """A row of cells per measure; the interval comes after `between`."""
    methods = result["methods"].values()
    return [
        [MEASURES[name][0], *(_cell(method["measures"].get(name), between) for method in methods)]
        for name in _measured(result)
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
        return "No recommendation: sanity and deletion were not measured"
    if result["recommended"] is None:
        return "No method passes the sanity check and beats random order with every filling"
    return f"Recommended: {result['recommended']}"


def _notes(result: Mapping[str, Any]) -> list[str]:
    warned = [f"{name}: {w}" for name, method in result["methods"].items() for w in method["warnings"]]
    return [f"{_recommendation(result)}.", *warned, *result["notes"]]


def _figure(
    result: Mapping[str, Any], measures: Sequence[str], unit: str, reference: tuple[str, float], title: str
) -> Figure:
    """Values and intervals of each method, with chance as the reference.

    Raises:
        InputError: No method has any of the measures.
    """
    rows = {}
    for name, method in result["methods"].items():
        for measure in measures:
            if (found := method["measures"].get(measure)) is not None:
                variant = re.split("[,:] ", MEASURES[measure][0])[1]  # a filling, or the layers
                label = name if len(measures) == 1 else f"{name}, {variant}"
                rows[label] = (found["value"], found["low"], found["high"])
    if not rows:
        raise InputError(f"no method has {measures[0]}")
    return intervals(rows, unit=unit, reference=reference, title=title)
