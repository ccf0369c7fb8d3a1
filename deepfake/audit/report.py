"""Report of an audit: a self-contained page, figures, the cues of every file, a table for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Group

from deepfake import terminal
from deepfake.atomic import write_atomically, write_csv
from deepfake.audio.measures import CONVENTIONS, MEANINGS, word
from deepfake.audit.shortcuts import VERDICTS, Table
from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError
from deepfake.figures.comparison import intervals
from deepfake.figures.html import pictures, write_page
from deepfake.figures.rates import heat_map
from deepfake.runs.folder import ReportFolder

STYLES = {"near chance": "dim", "weak": "", "strong": "bold red"}
HEADINGS = ("EER", "95 %", "verdict", "lowest attack")


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
    place = ReportFolder(Path(folder))
    text = json.dumps(
        {**result, "provenance": dict(provenance)}, indent=2, ensure_ascii=False, allow_nan=False, default=str
    )
    figures = {"cues": lambda: cue_figure(result), "cue_attack": lambda: attack_figure(result)}
    drawn = pictures(place.figures, figures)
    write_csv(place.cues, _rows(table, utterances), "\n")
    write_page(place.page, "audit/report.html", title=title, provenance=provenance, drawn=drawn, **_facts(result))
    write_atomically(place.audit, text + "\n")


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
    if all({*entry["by_attack"]} <= {"unknown"} for entry in entries.values()):
        raise InputError("no attack has a name")
    return heat_map(
        {name: entry["by_attack"] for name, entry in entries.items()},
        row_name="cue",
        column_name="attack",
        title="EER of each cue against each attack",
    )


def table(result: Mapping[str, Any]) -> Group:
    """Table of the audit for the terminal, by rising EER."""
    together, cues = by_eer(result["together"]), by_eer(result["cues"])
    entries = together | cues | _carried(result)
    rows = [[name, *_cells(entry)] for name, entry in entries.items()]
    view = terminal.table(("cue", *HEADINGS), rows, title=_counts(result), left=(0, 3))
    for row, entry in zip(view.rows, entries.values(), strict=True):
        row.style = STYLES[entry["verdict"]]
    for last in {len(together), len(together) + len(cues)} - {0}:
        view.rows[last - 1].end_section = True
    return terminal.with_notes([view], result["notes"])


def _counts(result: Mapping[str, Any]) -> str:
    speakers = f" of {result['n_speakers']:,} speakers" if result["n_speakers"] else ""
    return f"{result['n_bonafide']:,} bona fide and {result['n_spoof']:,} spoofed utterances{speakers}"


def _cells(entry: Mapping[str, Any]) -> list[str]:
    lowest = min(entry["by_attack"].items(), key=lambda item: item[1])
    interval = f"{100 * entry['low']:.1f} to {100 * entry['high']:.1f}"
    return [f"{100 * entry['eer']:.1f} %", interval, entry["verdict"], f"{lowest[0]} {100 * lowest[1]:.1f} %"]


def _facts(result: Mapping[str, Any]) -> dict[str, Any]:
    """What `report.html` names."""
    cues, together = by_eer(result["cues"]), by_eer(result["together"])
    found = {v: [n for n, entry in cues.items() if entry["verdict"] == v] for v in ("strong", "weak")}
    attacks = sorted({attack for entry in cues.values() for attack in entry["by_attack"]})
    return {
        "result": result,
        "found": found,
        "counts": _counts(result),
        "summary": "; ".join(f"{v}: {', '.join(n)}" for v, n in found.items() if n) or "none is below chance",
        "verdicts": "; ".join(f"{name}: {meaning}" for name, meaning in VERDICTS.items()),
        "conventions": CONVENTIONS,
        "constant": [name for name, entry in result["cues"].items() if entry["constant"]],
        "trivial": next((entry["cues"] for name, entry in together.items() if name.endswith("trivial")), []),
        "attacks": attacks,
        "cue_rows": [[name, *_cells(entry)] for name, entry in cues.items()],
        "together_rows": [[name, *_cells(entry)] for name, entry in {**together, **_carried(result)}.items()],
        "attack_rows": [
            [name, *(f"{100 * entry['by_attack'][attack]:.1f}" for attack in attacks)]
            for name, entry in (together | cues).items()
        ],
        "typical_rows": [
            [name, MEANINGS.get(name, ""), *_typical(name, entry), f"{entry['n_missing']:,}"]
            for name, entry in result["cues"].items()
        ],
    }


def _carried(result: Mapping[str, Any]) -> dict[str, Any]:
    """What models fitted on train find in each other partition."""
    carried = result["carried"].items()
    return {f"{name}, train to {part}": entry for part, models in carried for name, entry in models.items()}


def _typical(name: str, entry: Mapping[str, Any]) -> list[str]:
    return ["" if value is None else word(name, value) for value in entry["typical"].values()]


def _rows(table: Table, utterances: Sequence[Utterance]) -> Iterator[list[Any]]:
    """The headings, and one row per utterance; the cell of a missing cue is empty."""
    yield ["utterance", "label", "attack", "speaker", "partition", *table]
    for i, u in enumerate(utterances):
        cues = (word(name, float(column[i])) for name, column in table.items())
        yield [u.id, u.label, u.attack, u.speaker, u.partition, *cues]
