"""The report on a speaker verifier that also has to refuse spoofed speech: one score, three kinds of trials."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table as RichTable

from deepfake.atomic import write_atomically
from deepfake.evaluation.metrics import Intervals
from deepfake.evaluation.report import number, results
from deepfake.figures import comparison as figures_comparison
from deepfake.figures.html import pictures, write_page
from deepfake.metrics.dcf import a_dcf
from deepfake.metrics.eer import eer
from deepfake.metrics.trials import Trials
from deepfake.runs.environment import environment_rows, write_environment
from deepfake.runs.folder import ReportFolder
from deepfake.scores.table import AsvScores

ROWS = (  # key of metrics.json, name, how it is printed, what it is
    ("a_dcf", "min a-DCF", "f", "detection cost with the priors and costs of ASVspoof 5, at its best threshold"),
    ("a_dcf_threshold", "its threshold", "g", "a trial is accepted if its score is greater"),
    ("sasv_eer", "SASV-EER", "%", "targets against non-targets and spoofs"),
    ("sv_eer", "SV-EER", "%", "targets against non-targets"),
    ("spf_eer", "SPF-EER", "%", "targets against spoofs"),
)


def against(scores: AsvScores) -> dict[str, Trials]:
    """Targets and what is to be refused, by the EER that tells them apart."""
    target, nontarget, spoof = scores
    refused = {"sasv_eer": np.append(nontarget, spoof), "sv_eer": nontarget, "spf_eer": spoof}
    return {name: Trials.of_classes(target, others) for name, others in refused.items()}


def evaluate_sasv(scores: AsvScores, *, dataset: str, how: Intervals) -> dict[str, Any]:
    """What `metrics.json` says of a verifier: the a-DCF (Shim et al. 2024) and three EERs (Jung et al. 2022).

    Args:
        scores: By kind of trial, larger = accept.
        dataset: Name of what was scored.
        how: How intervals of the EERs are made: trials drawn one by one; an EER of 0 has that of no error among the
            trials of the smaller class.
    """
    cost, threshold = a_dcf(*scores)
    metrics: dict[str, Any] = {"dataset": dataset, **{f"n_{kind}": len(s) for kind, s in scores._asdict().items()}}
    metrics |= {"a_dcf": cost, "a_dcf_threshold": threshold} | {k: eer(of)[0] for k, of in against(scores).items()}
    metrics |= {"confidence": how.confidence if how.n else None, "ci": {}, "notes": []}
    for name, trials in against(scores).items():
        if bounds := how.of_eer(trials, metrics[name]):
            metrics["ci"][name] = bounds
    if metrics["sasv_eer"] > 0.5:
        metrics["notes"] += ["The SASV-EER is above 50 %: where larger scores mean a refusal, give polarity=-1."]
    return metrics


def write_sasv(
    path: Path, metrics: Mapping[str, Any], scores: AsvScores, *, title: str, provenance: Mapping[str, Any]
) -> None:
    """Write `metrics.json`, `report.html`, `environment.json` and `figures/det.{png,svg}` into a folder."""
    folder, facts = ReportFolder(path), write_environment(path, sys.argv, "cpu", 0)
    curves = {what: against(scores)[key] for key, _, _, what in ROWS if key in against(scores)}
    det = partial(figures_comparison.det_many, curves, classes=("targets", "others"))
    write_page(
        folder.page,
        "evaluation/sasv.html",
        title=title,
        provenance={**provenance, **environment_rows(facts)},
        headline=f"{number(metrics['a_dcf'], 'f')} min a-DCF",
        metrics=metrics,
        interval=f"{100 * (metrics['confidence'] or 0.95):g} % interval",
        rows=results(metrics, ROWS),
        drawn=pictures(folder.figures, {"det": det}),
    )
    write_atomically(folder.metrics, json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def table(metrics: Mapping[str, Any]) -> RichTable:
    """The metrics as a rich table for the terminal."""
    view = RichTable.grid(padding=(0, 2))
    for kind in AsvScores._fields:
        view.add_row(kind, f"{metrics[f'n_{kind}']:,}")
    for name, value, bounds, _ in results(metrics, ROWS):
        view.add_row(name, value, bounds)
    for note in metrics["notes"]:
        view.add_row("note", note)
    return view
