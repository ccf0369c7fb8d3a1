"""Which of its commands `evaluate.py` was asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deepfake.commands import audit as audited
from deepfake.commands import evaluate_runs as runs_judged
from deepfake.commands import evaluate_scores as files_judged
from deepfake.commands.scoring import Settings
from deepfake.datasets.corpus import Corpus
from deepfake.detector import detector_file
from deepfake.errors import InputError
from deepfake.evaluation import comparison, report, sasv
from deepfake.evaluation.metrics import ON_REQUEST, Intervals
from deepfake.evaluation.output import Evaluation, short_names
from deepfake.metrics.resampling import check
from deepfake.runs.resume import refuse_unknown
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


class Done(NamedTuple):
    """What a command did.

    Attributes:
        content: Of the JSON file that it wrote.
        folder: What it wrote into.
        table: For the terminal.
        passed_over: Whether some inputs were.
    """

    content: dict[str, Any]
    folder: Path
    table: Any
    passed_over: bool = False


def evaluate(config: Mapping[str, Any]) -> Done:
    """Do what the config of `conf/evaluate.yaml` asks for.

    Args:
        config: As plain data.

    Raises:
        InputError: It asks for nothing, for two things at once, or for what does not go together.
    """
    asked = [key for key in ("run", "scores", "fuse", "audit") if config[key]]
    if len(asked) != 1:
        got = " and ".join(asked) or "nothing"
        raise InputError(f"got {got}: one of run=RUN, scores=FILE, 'fuse=[A,B]' and audit=true was expected")
    for key, needed in NEEDS.items():
        given = config[key] is not None and config[key] is not False and config[key] != DEFAULTS.get(key, {})
        if given and asked[0] not in needed:
            said = key if key == "dataset" else f"{key}={config[key]}"
            raise InputError(f"{said} says nothing beside {asked[0]}: it goes with {' or '.join(needed)}")
    settings = Settings(
        output=config["output"],
        asv_scores=config["asv_scores"],
        intervals=_intervals(config["bootstrap"]),
        device=config["device"],
        batch_size=config["batch_size"],
        num_workers=config["num_workers"],
        clips=config["clips"],
    )
    if settings.clips not in CLIPS:
        raise InputError(f"clips={settings.clips}: {' or '.join(CLIPS)} was expected")
    reading = {key: config[key] for key in READING}
    what = config[asked[0]]
    if asked == ["audit"]:
        return _audited(config, settings)
    if asked == ["fuse"]:
        fit_on = _several(config["fit"], "fit") if config["fit"] else []
        return _done(files_judged.fuse_files(_several(what, "fuse"), fit_on, settings, **reading))
    if asked == ["scores"]:
        threshold = config["threshold"]
        if threshold is not None and not (isinstance(threshold, int | float) and math.isfinite(threshold)):
            raise InputError(f"threshold={threshold}: a finite number was expected")
        if not isinstance(what, list):
            return _done(files_judged.judge_file(what, settings, threshold=threshold, **reading))
        if threshold is not None:
            raise InputError(f"threshold={threshold} goes with one score file at a time")
        return _compared(*files_judged.compare_files(_several(what, "scores"), settings, **reading))
    if not isinstance(what, list):
        one = _calibrated if config["calibrate"] else _judged_run
        return _done(one(what, config, settings))
    if config["calibrate"]:
        raise InputError("calibrate=true takes one run at a time")
    apart = Settings(
        **{**vars(settings), "output": None}
    )  # each run has its own folder, `output` is for the comparison
    runs = {run: _judged_run(run, config, apart) for run in _several(what, "run")}
    found, folder = runs_judged.compare_runs(runs, settings)
    return _compared(found, folder, any(one.skipped for one in runs.values()))


def _intervals(given: Mapping[str, Any]) -> Intervals:
    """How intervals are made, checked before anything is scored."""
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


def _done(found: Evaluation) -> Done:
    table = sasv.table if isinstance(found.scores, AsvScores) else report.table
    return Done(found.metrics, found.folder, table(found.metrics), found.skipped)


def _compared(found: comparison.Comparison, folder: Path, passed_over: bool = False) -> Done:
    return Done(vars(found), folder, comparison.table(found), passed_over)


def _several(given: Any, key: str) -> list[str]:
    paths = [str(path) for path in given] if isinstance(given, list) else [str(given)]
    if len(paths) < 2:
        raise InputError(f"{key}={given}: a list of two or more was expected, '{key}=[A,B]'")
    short_names(paths)  # refuses one that is given twice
    return paths


def _judged_run(run: str, config: Mapping[str, Any], settings: Settings) -> Evaluation:
    from deepfake.datasets import manifest

    dataset, trained = _dataset(run, config)
    corpus, own = Corpus.of(dataset), trained.get("dataset", {})
    listed = runs_judged.folder_of(run) / "manifests" / "train.csv"
    heard = manifest.rows(listed) if corpus.name == own.get("name") and listed.is_file() else []
    same = bool(own) and all(own.get(key) == value for key, value in corpus.config.items())
    partition, seed = config["partition"] or "eval", trained.get("seed", 0)
    return runs_judged.judge_run(run, corpus, partition, settings, heard=heard, own=same, seed=seed)


def _calibrated(run: str, config: Mapping[str, Any], settings: Settings) -> Evaluation:
    dataset, trained = _dataset(run, config) if config["dataset"] or config["partition"] else (None, {})
    corpus = Corpus.of(dataset) if dataset else None
    partition, seed = config["partition"] or "dev", trained.get("seed", 0)
    return runs_judged.calibrate_run(run, corpus, partition, settings, seed=seed)


def _audited(config: Mapping[str, Any], settings: Settings) -> Done:
    if "_target_" not in config["dataset"]:
        raise InputError("audit=true needs the corpus: say dataset=... dataset.root=DIR")
    if not settings.intervals.n:
        raise InputError("bootstrap.n=0: the verdicts of an audit rest on its intervals, which need some")
    partitions = [config["partition"]] if config["partition"] else None
    return Done(*audited.audit_corpus(Corpus.of(config["dataset"]), partitions, settings))


def _dataset(run: str, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The dataset to judge on, and the config that the run was trained with (empty for an imported one).

    Raises:
        InputError: There is none, or the run's own names a class that `conf/` does not; see `refuse_unknown`.
    """
    if not (file := detector_file(run)).is_file():
        raise InputError(f"{file} does not exist: give a run folder that holds a detector.pt, or such a file")
    trained = runs_judged.config_of_run(run)
    dataset = dict(config["dataset"])
    if "_target_" not in dataset:
        if "dataset" not in trained:
            raise InputError(f"run={run} was not trained here, so it has no corpus of its own: say dataset=...")
        own, source = trained["dataset"], file.with_name("config.yaml")
        refuse_unknown(own, config["trusted"], source)
        if not isinstance(own, dict) or Path(str(own.get("name"))).name != own.get("name"):  # it names a folder
            raise InputError(f"{source}: dataset.name: a name without / was expected")
        dataset = {**own, **dataset}
    return dataset, trained
