"""Results of a sweep: tables of its trials, and the best trial."""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Column, Table

from deepfake.atomic import write_atomically, write_csv
from deepfake.runs.folder import RunFolder
from deepfake.sweep.trial import RECORD, Trial, read_trial
from deepfake.terminal import show

METRICS = ("eer", "auc", "accuracy", "f1", "min_tdcf", "min_dcf", "cllr")
UNFINISHED = "it did not finish: interrupted, killed, or out of time"


def read_trials(folder: Path) -> list[Trial]:
    """The trials below a sweep's folder, by number; one whose record still says `running` has failed."""
    trials = sorted((read_trial(path.parent) for path in folder.rglob(RECORD)), key=lambda trial: trial.number)
    for trial in trials:
        if trial.state == "running":
            trial.state, trial.error = "failed", UNFINISHED
    return trials


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The best trial, the first of equals; None if none has a value or their metrics differ."""
    done = [trial for trial in trials if trial.scored]
    if not done or len({(trial.metric, trial.mode) for trial in done}) > 1:
        return None
    return (min if done[0].mode == "min" else max)(done, key=lambda trial: trial.objective)


def close(folder: Path) -> list[Trial]:
    """Write the results of a sweep, show them on stderr, and print the best trial's folder; return the trials."""
    trials, best = write_results(folder)
    show(table(folder, trials))
    print(f"the sweep's folder is {folder}", file=sys.stderr)
    if best:
        print(best.folder, flush=True)
    else:
        why = "the trials monitor different metrics" if any(t.scored for t in trials) else "no trial has a value"
        print(f"error: there is no best trial: {why}", file=sys.stderr)
    return trials


def write_results(folder: Path) -> tuple[list[Trial], Trial | None]:
    """Write `results.csv` and `results.md` into a sweep's folder; return the trials and the best one."""
    trials = read_trials(folder)
    best = best_trial(trials)
    rows = [_row(trial, folder, trial.overrides) for trial in trials]
    columns = _columns(rows)
    write_csv(folder / "results.csv", [columns, *([row.get(column) for column in columns] for row in rows)], "\n")
    write_atomically(folder / "results.md", _page(folder, trials, best))
    return trials, best


def table(folder: Path, trials: Sequence[Trial]) -> Table:
    """Table of the results for the terminal, with the overrides in which trials differ."""
    headings, rows = _short(folder, trials)
    columns = (Column(heading, overflow="fold", vertical="top") for heading in headings)
    view = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        view.add_row(*map(escape, row))
    return view


def _row(trial: Trial, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    path = RunFolder(trial.folder).report.metrics
    metrics = json.loads(path.read_text(encoding="utf-8")) if trial.done and path.is_file() else {}
    return {
        "trial": trial.number,
        "state": trial.state,
        "overrides": " ".join(overrides),
        trial.metric: trial.value,
        **{key: metrics[key] for key in METRICS if metrics.get(key) is not None},
        "seconds": round(trial.seconds, 1),
        "folder": str(trial.folder.relative_to(folder)),
        "error": trial.error,
    }


def _columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Keys of all rows, the same three last."""
    last = ("seconds", "folder", "error")
    return [*dict.fromkeys(key for row in rows for key in row if key not in last), *last]


def _short(folder: Path, trials: Sequence[Trial]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells for people: numbers rounded, without the overrides that all trials share."""
    shared = _shared(trials)
    rows = [_row(trial, folder, [o for o in trial.overrides if o not in shared]) for trial in trials]
    columns = [c for c in _columns(rows) if any(row.get(c) not in (None, "") for row in rows)]
    return columns, [[_cell(c, row.get(c)) for c in columns] for row in rows]


def _cell(column: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}" if column == "seconds" else f"{value:.4f}"
    return "" if value is None else str(value)


def _shared(trials: Sequence[Trial]) -> set[str]:
    return set.intersection(*(set(trial.overrides) for trial in trials)) if len(trials) > 1 else set()


def _page(folder: Path, trials: Sequence[Trial], best: Trial | None) -> str:
    counts = [f"{sum(t.state == s for t in trials)} {s}" for s in ("finished", "pruned", "failed")]
    lines = [f"# Sweep of {len(trials)} trials: {', '.join(counts)}", ""]
    if best:
        where = f"`{best.folder.relative_to(folder)}`"
        lines += [f"Best: trial {best.number} in {where}, {best.metric} {best.objective:.4f} ({best.mode}).", ""]
    if shared := [o for o in (trials[0].overrides if trials else []) if o in _shared(trials)]:
        lines += [f"All with `{' '.join(shared)}`.", ""]
    lines += _markdown(*_short(folder, trials))
    if (seeds := _over_seeds(trials)) is not None:
        lines += ["", "Over seeds:", "", *_markdown(*seeds)]
    return "\n".join(lines) + "\n"


def _over_seeds(trials: Sequence[Trial]) -> tuple[list[str], list[list[str]]] | None:
    """Mean and standard deviation over trials that differ in their seed alone; None if there are none."""
    shared, groups = _shared(trials), defaultdict(list)
    for trial in trials:
        if trial.scored:
            words = [o for o in trial.overrides if o not in shared and not o.startswith("seed=")]
            groups[trial.metric, " ".join(words)].append(trial)
    if all(len(group) < 2 for group in groups.values()):
        return None
    rows = []
    for (metric, words), group in groups.items():
        values = [trial.objective for trial in group]
        deviation = f"{statistics.stdev(values):.4f}" if len(values) > 1 else ""
        pruned = sum(trial.state == "pruned" for trial in group)
        rows.append([words, metric, str(len(values)), str(pruned), f"{statistics.mean(values):.4f}", deviation])
    return ["overrides", "metric", "trials", "pruned", "mean", "standard deviation"], rows


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(' '.join(cell.split()).replace('|', '&#124;') for cell in cells)} |"

    return [line(headings), f"|{'---|' * len(headings)}", *map(line, rows)]
