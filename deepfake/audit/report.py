"""Report of an audit: a self-contained page, figures, the cues of every file, a table for the terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich import box
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from deepfake.atomic import write_atomically
from deepfake.audio.measures import CONVENTIONS, MEANINGS, word
from deepfake.audit.shortcuts import VERDICTS, Table
from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError
from deepfake.figures.comparison import intervals
from deepfake.figures.html import heading, html_table, page, paragraph, pictures
from deepfake.figures.rates import heat_map

STYLES = {"near chance": "dim", "weak": "", "strong": "bold red"}
MOST_CELLS = 40  # columns of the heat map
READING = (
    "Each cue alone scored utterances that it was not fitted on. 50 % is chance, and so is more than 50 %: chance "
    "patterns of the training folds do not hold in the held-out fold. The lower, the worse: a detector can do that "
    "well on this corpus without any trace of synthesis; whether one does is another question. The interval is over "
    "resampled utterances (or speakers), not over fits; of forty uninformative cues, one is expected to be rated weak."
)
ATTACKS = (
    "EER in % of each attack against all bona fide utterances, by the same scores. The cue separates an attack far "
    "above 50 % as well, but in the direction opposite to the other attacks. Among so many numbers, some are low by "
    "chance."
)


def write_audit(
    folder: str | Path,
    result: Mapping[str, Any],
    table: Table,
    utterances: Sequence[Utterance],
    *,
    title: str,
    provenance: Mapping[str, Any],
) -> None:
    """Write `audit.json`, `cues.csv`, `report.html` and `figures/{cues,cue_attack}.{png,svg}` into a folder.

    Args:
        folder: Output folder, created if it does not exist.
        result: Result of `audit`.
        table: Cues from `measure`, `[N]` by name.
        utterances: The N utterances, for the rows of `cues.csv`.
        title: Heading of the page.
        provenance: Corpus, command, version, date and so on, printed unchanged.
    """
    folder = Path(folder)
    text = json.dumps(
        {**result, "provenance": dict(provenance)}, indent=2, ensure_ascii=False, allow_nan=False, default=str
    )
    drawn = {
        "cues": (
            lambda: cue_figure(result),
            "EER of each cue alone, and of all together, out of fold, with 95 % intervals.",
        ),
        "cue_attack": (
            lambda: attack_figure(result),
            "EER of each cue against each attack alone (against all bona fide utterances), by the same scores.",
        ),
    }
    html = pictures(folder / "figures", drawn)
    write_atomically(folder / "cues.csv", _csv(table, utterances))
    write_atomically(folder / "report.html", _page(result, html, title=title, provenance=provenance))
    write_atomically(folder / "audit.json", text + "\n")


def by_eer(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Entries by rising EER, without the cues that are constant over all files."""
    return dict(sorted(((n, e) for n, e in entries.items() if not e.get("constant")), key=lambda item: item[1]["eer"]))


def cue_figure(result: Mapping[str, Any]) -> Figure:
    """EER with interval of all cues together and of each cue, the lowest on top."""
    entries = by_eer(result["together"]) | by_eer(result["cues"])
    rows = {name: (entry["eer"], entry["low"], entry["high"]) for name, entry in entries.items()}
    return intervals(rows, unit="EER, out of fold (%)", reference=("chance", 0.5), title="EER of the cues")


def attack_figure(result: Mapping[str, Any]) -> Figure:
    """Heat map of the EER of each cue against each attack.

    Raises:
        InputError: No attack has a name, or there are too many.
    """
    entries = by_eer(result["together"]) | by_eer(result["cues"])
    names = {attack for entry in entries.values() for attack in entry["by_attack"]}
    if names <= {"unknown"} or len(names) > MOST_CELLS:
        raise InputError(f"{len(names)} attacks: 1 to {MOST_CELLS} named ones were expected")
    return heat_map(
        {name: entry["by_attack"] for name, entry in entries.items()},
        row_name="cue",
        column_name="attack",
        title="EER of each cue against each attack",
    )


def table(result: Mapping[str, Any]) -> RichTable:
    """Table of the audit for the terminal, by rising EER."""
    view = RichTable(box=box.SIMPLE_HEAD, title=Text(_counts(result), style="bold"))
    view.add_column("cue")
    for name in ("EER", "95 %", "verdict", "lowest attack"):
        view.add_column(name, justify="left" if name == "verdict" else "right")
    for part in (by_eer(result["together"]), by_eer(result["cues"])):
        for i, (name, entry) in enumerate(part.items(), start=1):
            style = STYLES[entry["verdict"]]
            view.add_row(*(Text(cell, style=style) for cell in [name, *_cells(entry)]), end_section=i == len(part))
    for part, models in result["carried"].items():
        for name, entry in models.items():
            view.add_row(*(Text(cell) for cell in [f"{name}, train to {part}", *_cells(entry)]))
    grid = RichTable.grid()
    grid.add_row(view)
    for note in result["notes"]:
        grid.add_row(Padding(Text(note, style="yellow"), (0, 2)))
    return grid


def _counts(result: Mapping[str, Any]) -> str:
    speakers = f" of {result['n_speakers']:,} speakers" if result["n_speakers"] else ""
    return f"{result['n_bonafide']:,} bona fide and {result['n_spoof']:,} spoofed utterances{speakers}"


def _cells(entry: Mapping[str, Any]) -> list[str]:
    lowest = min(entry["by_attack"].items(), key=lambda item: item[1])
    interval = f"{100 * entry['low']:.1f} to {100 * entry['high']:.1f}"
    return [f"{100 * entry['eer']:.1f} %", interval, entry["verdict"], f"{lowest[0]} {100 * lowest[1]:.1f} %"]


def _page(result: Mapping[str, Any], html: Mapping[str, str], *, title: str, provenance: Mapping[str, Any]) -> str:
    cues, together = by_eer(result["cues"]), by_eer(result["together"])
    found = {v: [n for n, entry in cues.items() if entry["verdict"] == v] for v in ("strong", "weak")}
    rated = "; ".join(f"{v}: {', '.join(names)}" for v, names in found.items() if names) or "none is below chance"
    split = "speaker-disjoint" if result["grouped_by_speaker"] else "not speaker-disjoint"
    verdicts = "; ".join(f"{name}: {meaning}" for name, meaning in VERDICTS.items())
    constant = [name for name, entry in result["cues"].items() if entry["constant"]]
    trivial = next((entry["cues"] for name, entry in together.items() if name.endswith("trivial")), [])
    attacks = sorted({attack for entry in cues.values() for attack in entry["by_attack"]})
    headings = ("EER", "95 % interval", "verdict", "lowest attack")
    carried = [
        [f"{name}, train to {part}", *_cells(entry)]
        for part, models in result["carried"].items()
        for name, entry in models.items()
    ]
    return page(
        title,
        f"{len(found['strong'])} strong, {len(found['weak'])} weak of {len(result['cues'])} cues",
        paragraph(f"{_counts(result)}, {result['folds']} folds, {split}. {rated.capitalize()}."),
        *(paragraph(note, note=True) for note in result["notes"]),
        paragraph(READING),
        html.get("cues", ""),
        html.get("cue_attack", ""),
        heading("Each cue alone"),
        html_table(("cue", *headings), [[name, *_cells(entry)] for name, entry in cues.items()]),
        paragraph(f"{verdicts.capitalize()}."),
        paragraph(f"Constant over all files: {', '.join(constant)}.") if constant else "",
        heading("All together"),
        html_table(("model, cues", *headings), [[name, *_cells(entry)] for name, entry in together.items()] + carried),
        paragraph(f"Trivial: {', '.join(trivial)}.") if trivial else "",
        heading("Attack by attack"),
        paragraph(ATTACKS),
        html_table(
            ("cue", *attacks),
            [
                [name, *(f"{100 * entry['by_attack'][attack]:.1f}" for attack in attacks)]
                for name, entry in (together | cues).items()
            ],
        ),
        heading("Definitions of the cues"),
        paragraph(CONVENTIONS),
        html_table(
            ("cue", "what it is", "bona fide", "spoof", "missing"),
            [
                [name, MEANINGS.get(name, ""), *_typical(name, entry), f"{entry['n_missing']:,}"]
                for name, entry in result["cues"].items()
            ],
            left=(0, 1),
        ),
        paragraph("Values are medians over the class; for cues that are names, the most frequent one."),
        heading("Provenance"),
        html_table((), list(provenance.items()), left=(0, 1)),
    )


def _typical(name: str, entry: Mapping[str, Any]) -> list[str]:
    return ["" if value is None else word(name, value) for value in entry["typical"].values()]


def _csv(table: Table, utterances: Sequence[Utterance]) -> str:
    """One row per utterance; the cell of a missing cue is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["utterance", "label", "attack", "speaker", "partition", *table])
    for i, u in enumerate(utterances):
        own = [u.id, "" if u.label is None else u.label, u.attack, u.speaker, u.partition]
        writer.writerow([*own, *(word(name, float(column[i])) for name, column in table.items())])
    return text.getvalue()
