"""Several systems, or several seeds of one, side by side on the same trials."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from scipy.special import stdtrit

from deepfake import terminal
from deepfake.atomic import write_atomically
from deepfake.evaluation.metrics import Intervals
from deepfake.evaluation.report import FORMS, NAMES, bracketed, interval, number
from deepfake.evaluation.tandem import Tandem
from deepfake.figures import comparison as figures_comparison
from deepfake.figures.html import pictures, write_page
from deepfake.metrics.classification import proportion_interval
from deepfake.metrics.comparison import mean_of_systems, paired
from deepfake.runs.environment import environment_rows, write_environment
from deepfake.runs.folder import ReportFolder
from deepfake.scores.fusion import aligned
from deepfake.scores.table import Scores

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
UP_TO_1 = {*SHOWN} - {"cllr"}  # none is below 0
MOST_PAIRED = 6


@dataclass(frozen=True)
class Comparison:
    """What was found of systems on the same trials.

    Args:
        systems: Metrics by system, as `evaluate` gives them.
        differences: Of each pair (of more than `MOST_PAIRED` systems, of the first with each of the others): `a`, `b`,
            `metric`, their values, `difference`, `ci`, `p`.
        mean: Of seeds: by metric `mean`, `sd` (of one run, N - 1), `ci` (other trials, these runs), `ci_seeds` (other
            seeds, these trials); None for systems that are not seeds of one.
        mean_eer: Of seeds: the same of the EER of some spoofs, those of attacks `seen in training` and `unseen in
            training`, and of each attack (no `ci`).
    """

    systems: Mapping[str, Mapping[str, Any]]
    differences: list[dict[str, Any]]
    mean: dict[str, dict[str, Any]] | None
    mean_eer: dict[str, dict[str, Any]]


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
        metrics: What `evaluate` made of each.
        tandem: The ASV system, for the t-DCF.
        intervals: How intervals are made; with n = 0 there are none, and no test.
        seeds: Whether the systems are seeds of one, whose mean is of interest and not who is better.

    Raises:
        InputError: The trials are not the same ones, see `aligned`.
    """
    scores, how = aligned(scores), intervals
    trials, values, of = next(iter(scores.values())), [s.scores for s in scores.values()], list(metrics.values())
    weights = {key: w for key, w in (tandem.weights if tandem else {}).items() if all(m[key] is not None for m in of)}
    columns = {**trials.extras, "attack": trials.attacks}
    options: dict[str, Any] = how.resampling | {"clusters": columns.get(how.cluster) if how.cluster else None}
    fewest = min(int(np.sum(trials.labels == label)) for label in (0, 1))
    resampled = how.n and fewest > 1
    if seeds:
        among = mean_of_systems(values, trials.labels, tdcf=weights, **options) if resampled else {}
        if resampled and not any(m["eer"] for m in of):  # no resample of no errors has one
            among["eer"] = proportion_interval(0.0, fewest, how.confidence)
        keys = [key for key in SHOWN if all(m[key] is not None for m in of)]
        mean = {key: _over_seeds(key, [m[key] for m in of], among.get(key), how.confidence) for key in keys}
        mean_eer = _mean_eer(trials, values, of, how, options if resampled else None)
        return Comparison(dict(metrics), [], mean, mean_eer)
    differences: list[dict[str, Any]] = []
    pairs = list(combinations(scores, 2)) if resampled else []
    if len(scores) > MOST_PAIRED:
        pairs = pairs[: len(scores) - 1]  # the first system with each of the others
    for a, b in pairs:
        for metric, d in paired(scores[a].scores, scores[b].scores, trials.labels, tdcf=weights, **options).items():
            differences.append(
                {"a": a, "b": b, "metric": metric, "of_a": d.a, "of_b": d.b}
                | {"difference": d.difference, "ci": [d.low, d.high], "p": d.p}
            )
    return Comparison(dict(metrics), differences, None, {})


def _mean_eer(
    trials: Scores,
    values: Sequence[NDArray[np.float64]],
    metrics: Sequence[Mapping[str, Any]],
    how: Intervals,
    options: Mapping[str, Any] | None,
) -> dict[str, dict[str, Any]]:
    """Mean EER of the spoofs of attacks seen and unseen in training, with intervals, and of each attack, without."""
    found = {}
    for kind in ("by_training", "by_attack"):
        for name, entry in metrics[0][kind].items():
            eers = [m[kind].get(name, {}).get("eer") for m in metrics]
            if None in eers:
                continue
            among = None
            if kind == "by_training" and options:
                rows = (trials.labels == 1) | np.isin(trials.attacks, entry["attacks"])
                clusters = None if options["clusters"] is None else np.array(options["clusters"])[rows]
                part = {**options, "clusters": clusters}
                among = mean_of_systems([s[rows] for s in values], trials.labels[rows], **part)["eer"]
            of = f"{name} in training" if kind == "by_training" else name
            found[of] = _over_seeds("eer", eers, among, how.confidence)
    return found


def _over_seeds(key: str, values: list[float], among: tuple[float, float] | None, confidence: float) -> dict[str, Any]:
    """Mean and spread over runs, with Student's interval of the mean."""
    n, mean = len(values), float(np.mean(values))
    sd = float(np.std(values, ddof=1)) if n > 1 else None
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * sd / n**0.5 if sd is not None else None
    return {
        "mean": mean,
        "sd": sd,
        "ci": None if among is None else [float(bound) for bound in among],
        "ci_seeds": None if half is None else [max(mean - half, 0.0), min(mean + half, 1.0 if key in UP_TO_1 else inf)],
    }


def write_comparison(
    folder: Path, found: Comparison, scores: Mapping[str, Scores], *, title: str, paths: Sequence[str]
) -> None:
    """Write `comparison.json`, `report.html`, `environment.json`, `figures/{det,intervals}.{png,svg}` into a folder."""
    facts = write_environment(folder, sys.argv, "cpu", 0)
    systems = {f"system {i}": str(Path(path).absolute()) for i, path in enumerate(paths, start=1)}
    labelled = {name: (s.scores[s.labels >= 0], s.labels[s.labels >= 0]) for name, s in scores.items()}
    rows = {n: (m["eer"], *m["ci"]["eer"]) for n, m in found.systems.items() if "eer" in m["ci"]}
    if found.mean and found.mean.get("eer", {}).get("ci"):
        rows["mean"] = (found.mean["eer"]["mean"], *found.mean["eer"]["ci"])
    figures = {
        "det": lambda: figures_comparison.det_many(labelled),
        "intervals": lambda: figures_comparison.intervals(rows, unit="EER (%)", title="EER and its interval"),
    }
    text = json.dumps(vars(found), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    report = ReportFolder(folder)
    write_page(
        report.page,
        "evaluation/comparison.html",
        title=title,
        provenance={**systems, **environment_rows(facts)},
        found=found,
        eers=[m["eer"] for m in found.systems.values() if m["eer"] is not None],
        drawn=pictures(report.figures, figures),
        rows=_rows(found, _keys(found), among=True),
        tables=_tables(found),
        difference_words=DIFFERENCE_WORDS,
        number=number,
    )
    write_atomically(report.comparison, text)


MEAN_HEADINGS = ("", "mean", "standard deviation", "interval, other utterances", "interval, other seeds")
DIFFERENCE_HEADINGS = ("systems", "metric", "first", "second", "difference", "interval", "p")
DIFFERENCE_WORDS = (
    "Paired bootstrap: both systems are measured on the same resampled utterances. p is the two-sided chance of so "
    "large a difference where there is none; with many pairs and metrics some will be small by chance."
)


def _keys(found: Comparison) -> list[str]:
    return [key for key in SHOWN if any(m[key] is not None for m in found.systems.values())]


def _rows(found: Comparison, keys: Sequence[str], *, among: bool) -> list[list[str]]:
    """A row for each metric, a cell for each system, with or without the interval."""
    systems = found.systems.values()
    return [
        [NAMES[key], *(number(m[key], FORMS[key]) + (bracketed(m, key) if among else "") for m in systems)]
        for key in keys
    ]


def _mean_row(name: str, entry: Mapping[str, Any], form: str) -> list[str]:
    values = [number(entry[key], form) for key in ("mean", "sd")]
    return [name, *values, *(interval(entry[key], form) for key in ("ci", "ci_seeds"))]


def _tables(found: Comparison) -> dict[str, tuple[tuple[str, ...], list[list[str]]]]:
    """Headings and rows of what was found besides the metrics of each system."""
    tables = {}
    if found.mean is not None:
        tables["mean"] = MEAN_HEADINGS, [_mean_row(NAMES[key], e, FORMS[key]) for key, e in found.mean.items()]
        headings = ("EER of", *MEAN_HEADINGS[1:])
        tables["mean_eer"] = headings, [_mean_row(name, entry, "%") for name, entry in found.mean_eer.items()]
    if found.differences:
        tables["differences"] = DIFFERENCE_HEADINGS, list(map(_difference_row, found.differences))
    return tables


def _difference_row(d: Mapping[str, Any]) -> list[str]:
    name, form = NAMES[d["metric"]], FORMS[d["metric"]]
    values = [number(d[key], form) for key in ("of_a", "of_b", "difference")]
    return [f"{d['a']} - {d['b']}", name, *values, interval(d["ci"], form), f"{d['p']:.3f}"]


def table(found: Comparison) -> Group:
    """The comparison as rich tables for the terminal."""
    keys = [key for key in ("eer", "auc", "min_dcf", "min_tdcf", "fpr", "fnr") if key in _keys(found)]
    views = [terminal.table(("", *found.systems), _rows(found, keys, among=False))]
    views += [terminal.table(headings, rows) for headings, rows in _tables(found).values()]
    return terminal.with_notes(views, [DIFFERENCE_WORDS] if found.differences else [])
