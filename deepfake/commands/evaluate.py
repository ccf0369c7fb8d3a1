"""Which of its commands `evaluate.py` was asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepfake.commands import evaluate_scores
from deepfake.commands.outcome import Outcome
from deepfake.commands.settings import Settings
from deepfake.datasets.corpus import Corpus
from deepfake.errors import InputError
from deepfake.evaluation import comparison, report, sasv
from deepfake.evaluation.metrics import ON_REQUEST, Intervals
from deepfake.evaluation.output import Evaluation, short_names
from deepfake.metrics.resampling import check
from deepfake.processes import Process
from deepfake.scores.table import AsvScores

METHODS = ("percentile", "bca")
CLIPS = ("first", "whole")
DEFAULTS = {"clips": "first"}
READING = ("protocol", "subset", "score_column", "polarity")
NEEDS = {
    **dict.fromkeys(READING, ("scores", "fuse")),
    "threshold": ("scores",),
    "partition": ("run", "audit"),
    "dataset": ("run", "audit"),
    "asv_scores": ("run", "scores", "fuse"),
    "fit": ("fuse",),
    "calibrate": ("run",),
    "clips": ("run",),
}


def evaluate(config: Mapping[str, Any]) -> Outcome | None:
    """Do what the config of `conf/evaluate.yaml` asks for.

    Several processes share the scoring of runs; all else is done by the first.

    Args:
        config: As plain data.

    Returns:
        None in other processes than the first.

    Raises:
        InputError: It asks for nothing, for two things at once, or for what cannot be combined.
    """
    asked = [key for key in ("run", "scores", "fuse", "audit") if config[key]]
    if len(asked) != 1:
        got = " and ".join(asked) or "nothing"
        raise InputError(f"got {got}: one of run=RUN, scores=FILE, 'fuse=[A,B]' and audit=true was expected")
    (task,) = asked
    for key, needed in NEEDS.items():
        given = config[key] is not None and config[key] is not False and config[key] != DEFAULTS.get(key, {})
        if given and task not in needed:
            option = key if key == "dataset" else f"{key}={config[key]}"
            raise InputError(f"{option} cannot be combined with {task}: it goes with {' or '.join(needed)}")
    shared = ("output", "asv_scores", "device", "batch_size", "num_workers", "clips")
    settings = Settings(**{key: config[key] for key in shared}, intervals=_intervals(config["bootstrap"]))
    if settings.clips not in CLIPS:
        raise InputError(f"clips={settings.clips}: {' or '.join(CLIPS)} was expected")
    if task != "run" and not Process.here().first:
        return None
    return {"run": _runs, "scores": _scores, "fuse": _fusion, "audit": _audit}[task](config, settings)


def _runs(config: Mapping[str, Any], settings: Settings) -> Outcome | None:
    from deepfake.commands import evaluate_runs  # with torch, which score files go without

    one = evaluate_runs.calibrate_run if config["calibrate"] else evaluate_runs.evaluate_run
    if not isinstance(config["run"], list):
        done = one(config["run"], config, settings)
        return None if done is None else _evaluated(done)
    if config["calibrate"]:
        raise InputError("calibrate=true takes one run at a time")
    own = replace(settings, output=None)  # each run has its own folder, `output` is for the comparison
    evaluated = {run: one(run, config, own) for run in _several(config["run"], "run")}
    if not (runs := {run: done for run, done in evaluated.items() if done is not None}):
        return None
    return _compared(*evaluate_runs.compare_runs(runs, settings), any(run.skipped for run in runs.values()))


def _scores(config: Mapping[str, Any], settings: Settings) -> Outcome:
    reading = {key: config[key] for key in READING}
    files, threshold = config["scores"], config["threshold"]
    if threshold is not None and not (isinstance(threshold, int | float) and math.isfinite(threshold)):
        raise InputError(f"threshold={threshold}: a finite number was expected")
    if not isinstance(files, list):
        return _evaluated(evaluate_scores.evaluate_file(files, settings, threshold=threshold, **reading))
    if threshold is not None:
        raise InputError(f"threshold={threshold} goes with one score file at a time")
    return _compared(*evaluate_scores.compare_files(_several(files, "scores"), settings, **reading))


def _fusion(config: Mapping[str, Any], settings: Settings) -> Outcome:
    reading = {key: config[key] for key in READING}
    fit_on = _several(config["fit"], "fit") if config["fit"] else []
    return _evaluated(evaluate_scores.fuse_files(_several(config["fuse"], "fuse"), fit_on, settings, **reading))


def _audit(config: Mapping[str, Any], settings: Settings) -> Outcome:
    from deepfake.commands import audit  # whose classifiers take longer to import than all else

    if "_target_" not in config["dataset"]:
        raise InputError("audit=true needs the corpus: say dataset=... dataset.root=DIR")
    if not settings.intervals.n:
        raise InputError("bootstrap.n=0: the verdicts of an audit rest on its intervals, which need some")
    partitions = [config["partition"]] if config["partition"] else None
    return audit.audit_corpus(Corpus.of(config["dataset"]), partitions, settings)


def _intervals(given: Mapping[str, Any]) -> Intervals:
    """How intervals are computed, checked before anything is scored."""
    for key in ("n", "seed"):
        if not isinstance(given[key], int) or given[key] < 0:
            raise InputError(f"bootstrap.{key}={given[key]}: a whole number from 0 was expected")
    if not isinstance(given["confidence"], float):
        raise InputError(f"bootstrap.confidence={given['confidence']}: a share between 0 and 1 was expected")
    if given["n"]:
        check(given["n"], given["confidence"])
    if given["method"] not in METHODS:
        raise InputError(f"bootstrap.method={given['method']}: {' or '.join(METHODS)} was expected")
    metrics = given["metrics"] or []
    if not isinstance(metrics, list) or not {*metrics} <= {*ON_REQUEST}:
        raise InputError(f"bootstrap.metrics={metrics}: a list of some of {', '.join(ON_REQUEST)} was expected")
    return Intervals(**{**given, "metrics": tuple(metrics)})


def _evaluated(done: Evaluation) -> Outcome:
    table = sasv.table if isinstance(done.scores, AsvScores) else report.table
    return Outcome(done.metrics, done.folder, table(done.metrics), done.skipped)


def _compared(found: comparison.Comparison, folder: Path, skipped: bool = False) -> Outcome:
    return Outcome(vars(found), folder, comparison.table(found), skipped)


def _several(given: Any, key: str) -> list[str]:
    paths = [str(path) for path in given] if isinstance(given, list) else [str(given)]
    if len(paths) < 2:
        raise InputError(f"{key}={given}: a list of two or more was expected, '{key}=[A,B]'")
    short_names(paths)  # refuses one that is given twice
    return paths
