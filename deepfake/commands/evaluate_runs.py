"""Runs evaluated: one on a corpus, several seeds on the same trials, and the calibration of one."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepfake.commandline import detector_file
from deepfake.commands.scoring import score_partition
from deepfake.commands.settings import Settings
from deepfake.datasets import manifest
from deepfake.datasets.corpus import Corpus
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.evaluation.comparison import Comparison, compare, write_comparison
from deepfake.evaluation.metrics import evaluate
from deepfake.evaluation.output import Evaluation, short_names, write_evaluation
from deepfake.evaluation.tandem import Tandem
from deepfake.metrics.calibration import calibrate, cross_validated
from deepfake.metrics.tdcf import Weights
from deepfake.processes import Process
from deepfake.runs.folder import RunFolder
from deepfake.runs.provenance import OWN_DEV, hash_of_file
from deepfake.runs.resume import config_of, refuse_unknown
from deepfake.scores.compute import device_of
from deepfake.scores.domain import learn_domain_of
from deepfake.scores.table import UNKNOWN, Scores, read_scores, write_scores

log = logging.getLogger(__name__)


def evaluate_run(run: str, config: Mapping[str, Any], settings: Settings) -> Evaluation | None:
    """Score one partition of a corpus with a run's detector and evaluate the scores.

    Args:
        run: Run folder or detector file.
        config: As `conf/evaluate.yaml` has it: `dataset`, `partition`, `trusted`.
        settings: Settings that all commands share.

    Returns:
        None in other processes than the first, which have scored their shares.

    Raises:
        InputError: See `_dataset` and `score_partition`.
    """
    dataset, trained = _dataset(run, config)
    corpus, own = Corpus.of(dataset), trained.get("dataset", {})
    partition, seed = config["partition"] or "eval", trained.get("seed", 0)
    detector, folder = Detector.load(run), RunFolder.of(run)
    output = settings.folder(folder.evaluation(corpus.name, partition).path)
    listed = folder.manifest("train")
    trained_on = manifest.rows(listed) if corpus.name == own.get("name") and listed.is_file() else []
    unchanged = bool(own) and all(own.get(key) == value for key, value in corpus.config.items())
    listed = folder.manifest(partition)
    tandem = settings.tandem(corpus.asv_scores(partition))  # before the hours of scoring
    output.path.mkdir(parents=True, exist_ok=True)
    found = score_partition(
        detector,
        corpus,
        partition,
        settings,
        output,
        seed=seed,
        trained_on=trained_on,
        manifest=listed if unchanged and not listed.exists() and os.access(folder.path, os.W_OK) else None,
    )
    if found is None:
        return None
    scores, rows = found
    metrics = evaluate(
        scores,
        threshold=detector.threshold,
        tandem=tandem,
        dataset=corpus.name,
        partition=partition,
        trained_on={u.attack for u in trained_on if u.attack},
        intervals=settings.intervals,
    )
    metrics["notes"] += _capped(detector, scores)
    provenance = {**_detector_rows(detector, run), **rows, **({"ASV": tandem.source} if tandem else {})}
    title = f"{corpus.name}: {partition}"
    write_evaluation(
        output.path, metrics, scores, title=title, provenance=provenance, device=device_of(settings.device), seed=seed
    )
    output.remove_shares()
    return Evaluation(metrics, scores, output.path, bool(rows["skipped"]))


def calibrate_run(run: str, config: Mapping[str, Any], settings: Settings) -> Evaluation | None:
    """Fit a run's calibration and store it with its detector; of a partition that is scored for it, the domain too.

    The report is cross-validated: each utterance's likelihood ratio comes from a map that was fitted without it and,
    where speakers are known, without its speaker.

    Args:
        run: Run folder or detector file.
        config: As `conf/evaluate.yaml` has it: without `dataset` and `partition` the dev scores of the training serve.
        settings: Settings that all commands share.

    Returns:
        None in other processes than the first.

    Raises:
        InputError: There are no dev scores, or they cannot be calibrated.
    """
    dataset, trained = _dataset(run, config) if config["dataset"] or config["partition"] else ({}, {})
    partition, seed = config["partition"] or "dev", trained.get("seed", 0)
    folder, detector, file = RunFolder.of(run), Detector.load(run), detector_file(run)
    output = settings.folder(folder.calibration.path)
    detector.config.pop("calibration", None)
    rows: dict[str, Any] = {}
    if dataset:
        corpus = Corpus.of(dataset)
        if (found := score_partition(detector, corpus, partition, settings, output, seed=seed)) is None:
            return None
        scores, rows = found
        name, source = corpus.name, f"{corpus.name}, partition {partition}"
        scored = {*scores.ids}
        utterances = [u for u in corpus.select(partition, seed) if u.id in scored]
        loading = {"batch_size": settings.batch_size, "num_workers": settings.num_workers}
        learn_domain_of(detector, source, utterances, device=device_of(settings.device), **loading)
    elif not Process.here().first:
        return None
    elif folder.dev_scores.is_file():
        scores, source = read_scores(folder.dev_scores), OWN_DEV
        name = _config(folder).get("dataset", {}).get("name", "")
    else:
        raise InputError(f"{folder.dev_scores} does not exist: say dataset=... to score a partition to calibrate on")
    scores = scores.at(np.flatnonzero(scores.labels != UNKNOWN))
    calibration = calibrate(scores.scores, scores.labels)
    llrs = cross_validated(scores.scores, scores.labels, groups=scores.speakers())
    scores.extras["llr"] = [repr(float(llr)) for llr in llrs]
    detector.set_calibration(calibration, source)
    detector.save(file)
    log.info(
        "%s: natural-log LLR = %.4g * score %+.4g, stated from 10^%.2f to 10^%.2f",
        file,
        calibration.weight,
        calibration.offset,
        calibration.low / np.log(10),
        calibration.high / np.log(10),
    )
    write_scores(output.scores, scores)
    metrics = evaluate(
        scores, threshold=detector.threshold, dataset=name, partition=partition, intervals=settings.intervals
    )
    metrics["calibration"] = detector.config["calibration"]
    metrics["notes"].append(
        "The likelihood ratios here are cross-validated, by speaker where speakers are known; the map that the "
        "detector carries was fitted on all of these utterances."
    )
    title, provenance = f"calibration on {source}", {**_detector_rows(detector, run), **rows}
    write_evaluation(
        output.path, metrics, scores, title=title, provenance=provenance, device=device_of(settings.device), seed=seed
    )
    output.remove_shares()
    return Evaluation(metrics, scores, output.path, bool(rows.get("skipped")))


def compare_runs(evaluated: Mapping[str, Evaluation], settings: Settings) -> tuple[Comparison, Path]:
    """Mean, standard deviation and intervals of runs (seeds) that were evaluated on the same trials.

    Raises:
        InputError: They were not.
    """
    names = dict(zip(short_names(list(evaluated)), evaluated.values(), strict=True))
    systems = {name: one.scores for name, one in names.items()}
    metrics = {name: one.metrics for name, one in names.items()}
    one = next(iter(metrics.values()))
    tandem = Tandem({name: Weights(*weights) for name, weights in one["tdcf_weights"].items()})
    found = compare(systems, metrics, tandem=tandem, intervals=settings.intervals, seeds=True)
    shared = Path(os.path.commonpath([RunFolder.of(run).path.absolute() for run in evaluated]))
    output = settings.folder(RunFolder(shared).comparison(one["dataset"], one["partition"]).path).path
    title = f"{len(systems)} runs: {one['dataset']}, {one['partition']}"
    write_comparison(output, found, systems, title=title, paths=list(evaluated))
    return found, output


def _dataset(run: str, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The dataset to evaluate on, and the config that the run was trained with (empty for an imported one).

    Raises:
        InputError: There is none, or the run's own names a class that `conf/` does not; see `refuse_unknown`.
    """
    folder = RunFolder.of(run)
    if not (file := detector_file(run)).is_file():
        raise InputError(f"{file} does not exist: give a run folder that holds a detector.pt, or such a file")
    trained, dataset = _config(folder), dict(config["dataset"])
    if "_target_" not in dataset:
        if "dataset" not in trained:
            raise InputError(f"run={run} was not trained here, so it has no corpus of its own: say dataset=...")
        own = trained["dataset"]
        refuse_unknown(own, config["trusted"], folder.config)
        if not isinstance(own, dict) or Path(str(own.get("name"))).name != own.get("name"):  # it names a folder
            raise InputError(f"{folder.config}: dataset.name: a name without / was expected")
        dataset = {**own, **dataset}
    return dataset, trained


def _config(folder: RunFolder) -> dict[str, Any]:
    """The config that a run was trained with; empty for a detector file alone."""
    return config_of(folder.config) if folder.config.is_file() else {}


def _capped(detector: Detector, scores: Scores) -> list[str]:
    """A sentence on the likelihood ratios that the calibration set could not support."""
    if (calibration := detector.calibration) is None:
        return []
    llrs = calibration.uncapped(scores.scores)
    if not (n := int(np.sum((llrs > calibration.high) | (llrs < calibration.low)))):
        return []
    low, high = calibration.low / np.log(10), calibration.high / np.log(10)
    return [
        f"{n} of {len(llrs)} likelihood ratios were beyond what the {calibration.n_bonafide} bona fide and "
        f"{calibration.n_spoof} spoofed utterances of the calibration can support: they are capped to 10^{low:.2f} "
        f"and 10^{high:.2f}."
    ]


def _detector_rows(detector: Detector, run: str) -> dict[str, Any]:
    """The rows of a report that say which detector it is."""
    calibration = detector.config.get("calibration")
    return {
        "detector": Path(run).absolute(),
        "SHA-256 of the detector": hash_of_file(detector_file(run)),
        "model": detector.config["model"]["_target_"],
        "features": detector.config["features"]["_target_"],
        "threshold from": detector.config["threshold"]["source"],
        "calibrated on": calibration["source"] if calibration else "nothing: not calibrated",
    }
