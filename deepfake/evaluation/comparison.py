"""Several systems, or several seeds of one, side by side on the same trials."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from scipy.stats import t as student

from deepfake.atomic import write_atomically
from deepfake.environment import told, write_environment
from deepfake.evaluation import figures_comparison
from deepfake.evaluation.fusion import aligned
from deepfake.evaluation.judging import Intervals
from deepfake.evaluation.page import Pictures, heading, html_table, page, paragraph, pictures
from deepfake.evaluation.report import FORMS, NAMES, interval, number
from deepfake.evaluation.scores import Scores
from deepfake.evaluation.tandem import Tandem
from deepfake.metrics.comparison import mean_of_systems, paired

SHOWN = (
    "eer",
    "eer_official",
    "auc",
    "min_dcf",
    "min_tdcf_legacy",
    "min_tdcf",
    "t_eer",
    "fpr",
    "fnr",
    "cllr",
    "min_cllr",
)
MOST_PAIRED = 6


@dataclass(frozen=True)
class Comparison:
    """What was found of systems on the same trials.

    Args:
        systems: Metrics by system, as `judge` gives them.
        differences: Of each pair: `a`, `b`, `metric`, their values, `difference`, `ci`, `p`.
        mean: Of seeds: by metric `mean`, `sd` (of one run, N - 1), `ci` (other trials, these runs), `ci_seeds` (other
            seeds, these trials); None for systems that are not seeds of one.
    """

    systems: Mapping[str, Mapping[str, Any]]
    differences: list[dict[str, Any]]
    mean: dict[str, dict[str, Any]] | None


def compare(
    scores: Mapping[str, Scores],
    metrics: Mapping[str, Mapping[str, Any]],
    *,
    tandem: Tandem | None,
    intervals: Intervals,
    seeds: bool,
) -> Comparison:
    """Compare systems that scored the same trials; a difference is tested on the same resamples for both.

    Args:
        scores: By system.
        metrics: What `judge` said of each.
        tandem: The ASV system, for the t-DCF.
        intervals: How intervals are made; with n = 0 there are none, and no test.
        seeds: Whether the systems are seeds of one, whose mean is of interest and not who is better.

    Raises:
        InputError: The trials are not the same ones, see `aligned`.
    """
    trials, values = aligned(scores)
    differences: list[dict[str, Any]] = []
    mean: dict[str, dict[str, Any]] | None = None
    options: dict[str, Any] = {"n": intervals.n, "confidence": intervals.confidence, "seed": intervals.seed}
    weights = dict(tandem.weights) if tandem else {}
    if intervals.cluster:
        columns = {**trials.extras, "attack": trials.attacks}
        options["clusters"] = columns.get(intervals.cluster)
    if seeds:
        among: Mapping[str, Any] = {}
        if intervals.n:
            among = mean_of_systems(list(values.T), trials.labels, tdcf=weights, **options)
        mean = {}
        for key in SHOWN:
            if all(m[key] is not None for m in metrics.values()):
                mean[key] = _over_seeds([m[key] for m in metrics.values()], among.get(key), intervals.confidence)
    elif intervals.n:
        for a, b in list(combinations(range(len(scores)), 2))[: MOST_PAIRED * (MOST_PAIRED - 1) // 2]:
            names = list(scores)
            found = paired(values[:, a], values[:, b], trials.labels, tdcf=weights, **options)
            for metric, d in found.items():
                differences.append(
                    {"a": names[a], "b": names[b], "metric": metric, "of_a": d.a, "of_b": d.b}
                    | {"difference": d.difference, "ci": [d.low, d.high], "p": d.p}
                )
    return Comparison(dict(metrics), differences, mean)


def _over_seeds(values: list[float], among: tuple[float, float] | None, confidence: float) -> dict[str, Any]:
    """Mean and spread over runs, with Student's interval of the mean."""
    n, mean = len(values), float(np.mean(values))
    sd = float(np.std(values, ddof=1)) if n > 1 else None
    half = float(student.ppf((1 + confidence) / 2, n - 1)) * sd / n**0.5 if sd is not None else None
    return {
        "mean": mean,
        "sd": sd,
        "ci": None if among is None else [float(bound) for bound in among],
        "ci_seeds": None if half is None else [mean - half, mean + half],
    }


def write_comparison(
    folder: Path, found: Comparison, scores: Mapping[str, Scores], *, title: str, paths: Sequence[str]
) -> None:
    """Write `comparison.json`, `report.html`, `environment.json`, `figures/{det,intervals}.{png,svg}` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = write_environment(folder, sys.argv, torch.device("cpu"), 0)
    systems = {f"system {i}": str(Path(path).absolute()) for i, path in enumerate(paths, start=1)}
    provenance = {**systems, **told(facts)}
    labelled = {name: (s.scores[s.labels >= 0], s.labels[s.labels >= 0]) for name, s in scores.items()}
    rows = {n: (m["eer"], *m["ci"]["eer"]) for n, m in found.systems.items() if "eer" in m["ci"]}
    if found.mean and found.mean.get("eer", {}).get("ci"):
        rows["mean"] = (found.mean["eer"]["mean"], *found.mean["eer"]["ci"])
    drawn: Pictures = {
        "det": (
            lambda: figures_comparison.det_many(labelled),
            "Misses against false alarms, nearer to the lower left corner is better.",
        ),
        "intervals": (
            lambda: figures_comparison.intervals(rows, unit="%"),
            "EER and its interval. Intervals that overlap can still belong to a clear difference: see the paired test.",
        ),
    }
    html = pictures(folder / "figures", drawn)
    side = html_table(("", *(NAMES[key] for key in _keys(found))), _system_rows(found))
    eers = [m["eer"] for m in found.systems.values() if m["eer"] is not None]
    headline = (
        f"{len(found.systems)} systems, EER {100 * min(eers):.2f} to {100 * max(eers):.2f} %" if eers else "no EER"
    )
    parts = [heading("Side by side") + side]
    if found.mean is not None:
        if "eer" in found.mean:
            headline = f"{number(found.mean['eer']['mean'], '%')} EER, mean of {len(found.systems)} runs"
        parts.append(heading("Mean of the runs") + html_table(MEAN_HEADINGS, _mean_rows(found)) + paragraph(MEAN_WORDS))
    if found.differences:
        parts.append(
            heading("Differences")
            + html_table(DIFFERENCE_HEADINGS, _difference_rows(found), left=(0, 1))
            + paragraph(DIFFERENCE_WORDS)
        )
    where = heading("Where the numbers come from") + html_table((), provenance.items(), left=(0, 1))
    text = json.dumps(vars(found), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(folder / "report.html", page(title, headline, *parts, "".join(html.values()), where))
    write_atomically(folder / "comparison.json", text)


MEAN_HEADINGS = ("", "mean", "standard deviation", "interval, other utterances", "interval, other seeds")
MEAN_WORDS = (
    "The standard deviation is that of a single run. The first interval is bootstrapped over the utterances, for these "
    "runs; the second is Student's, over the runs, for these utterances."
)
DIFFERENCE_HEADINGS = ("systems", "metric", "first", "second", "difference", "interval", "p")
DIFFERENCE_WORDS = (
    "Paired bootstrap: both systems are judged on the same resampled utterances. p is the two-sided chance of so large "
    "a difference where there is none; with many pairs and metrics some will be small by chance."
)


def _keys(found: Comparison) -> list[str]:
    return [key for key in SHOWN if any(m[key] is not None for m in found.systems.values())]


def _system_rows(found: Comparison) -> list[list[str]]:
    rows = []
    for name, metrics in found.systems.items():
        cells = [number(metrics[key], FORMS[key]) for key in _keys(found)]
        among = [interval(metrics["ci"].get(key), FORMS[key]) for key in _keys(found)]
        rows.append([name, *(f"{c} ({a})" if a else c for c, a in zip(cells, among, strict=True))])
    return rows


def _mean_rows(found: Comparison) -> list[list[str]]:
    return [
        [
            NAMES[key],
            number(entry["mean"], FORMS[key]),
            number(entry["sd"], FORMS[key]),
            interval(entry["ci"], FORMS[key]),
            interval(entry["ci_seeds"], FORMS[key]),
        ]
        for key, entry in (found.mean or {}).items()
    ]


def _difference_rows(found: Comparison) -> list[list[str]]:
    return [
        [
            f"{d['a']} - {d['b']}",
            NAMES[d["metric"]],
            *(number(d[key], FORMS[d["metric"]]) for key in ("of_a", "of_b", "difference")),
            interval(d["ci"], FORMS[d["metric"]]),
            f"{d['p']:.3f}",
        ]
        for d in found.differences
    ]


def table(found: Comparison) -> Table:
    """The comparison as rich tables for the terminal."""
    keys = [key for key in ("eer", "auc", "min_dcf", "min_tdcf", "fpr", "fnr") if key in _keys(found)]
    rows = [[n, *(number(m[k], FORMS[k]) for k in keys)] for n, m in found.systems.items()]
    view = Table.grid()
    view.add_row(_rich(("", *(NAMES[key] for key in keys)), rows))
    if found.mean is not None:
        view.add_row(_rich(MEAN_HEADINGS, _mean_rows(found)))
    if found.differences:
        view.add_row(_rich(DIFFERENCE_HEADINGS, _difference_rows(found)))
        view.add_row(Padding(Text(DIFFERENCE_WORDS, style="dim"), (0, 2)))
    return view


def _rich(headings: tuple[str, ...], rows: list[list[str]]) -> Table:
    made = Table(box=box.SIMPLE_HEAD)
    for i, name in enumerate(headings):
        made.add_column(name, justify="right" if i else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    return made
