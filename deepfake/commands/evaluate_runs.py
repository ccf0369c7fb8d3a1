"""Runs judged: one on a corpus, several seeds on the same trials, and the calibration of one."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepfake.commands.scoring import Settings, score_partition
from deepfake.datasets.corpus import Corpus
from deepfake.datasets.utterance import Utterance
from deepfake.detector import Detector, detector_file
from deepfake.errors import InputError
from deepfake.evaluation.comparison import Comparison, compare, write_comparison
from deepfake.evaluation.metrics import evaluate
from deepfake.evaluation.output import Evaluation, short_names, write_evaluation
from deepfake.evaluation.tandem import Tandem, read_tandem
from deepfake.metrics.calibration import calibrate, cross_validated
from deepfake.metrics.tdcf import Weights
from deepfake.runs.resume import config_of
from deepfake.scores.table import Scores, read_scores, write_scores

log = logging.getLogger(__name__)


def judge_run(
    run: str,
    corpus: Corpus,
    partition: str,
    settings: Settings,
    *,
    heard: Sequence[Utterance] = (),
    own: bool = False,
    seed: int = 0,
) -> Evaluation:
    """Score one partition of a corpus with a run's detector and judge the scores.

    Args:
        run: Run folder or detector file.
        corpus: The corpus.
        partition: Of it.
        settings: What all commands share.
        heard: What the run was trained on, as far as it is known and of this corpus.
        own: Whether the corpus is the run's own as its config has it, whose manifest then goes to the others.
        seed: Of the run.

    Raises:
        InputError: See `score_partition`.
    """
    detector, run_dir = Detector.load(run), folder_of(run)
    output = Path(settings.output) if settings.output else run_dir / "evaluations" / f"{corpus.name}-{partition}"
    listed = run_dir / "manifests" / f"{partition}.csv"
    asv = settings.asv_scores or corpus.asv_scores(partition)
    tandem = read_tandem(asv) if asv else None  # before the hours of scoring
    found = score_partition(
        detector,
        corpus,
        partition,
        settings,
        output,
        seed=seed,
        heard=heard,
        manifest=listed if own and not listed.exists() else None,
    )
    metrics = evaluate(
        found.scores,
        threshold=detector.threshold,
        tandem=tandem,
        dataset=corpus.name,
        partition=partition,
        trained_on={u.attack for u in heard if u.attack},
        intervals=settings.intervals,
    )
    metrics["notes"] += _capped(detector, found.scores)
    provenance = {**_told(detector, run), **found.told, **({"ASV": asv} if asv else {})}
    title = f"{corpus.name}: {partition}"
    write_evaluation(
        output, metrics, found.scores, title=title, provenance=provenance, device=settings.device, seed=seed
    )
    return Evaluation(metrics, found.scores, output, bool(found.passed_over))


def calibrate_run(run: str, corpus: Corpus | None, partition: str, settings: Settings, *, seed: int = 0) -> Evaluation:
    """Fit a run's calibration and store it with its detector.

    What is reported is cross-validated: each utterance's likelihood ratio comes from a map that was fitted without it
    and, where speakers are known, without its speaker.

    Args:
        run: Run folder or detector file.
        corpus: To calibrate on; None for the dev scores of the training.
        partition: Of the corpus.
        settings: What all commands share.
        seed: Of the run.

    Raises:
        InputError: There are no dev scores, or they cannot be calibrated.
    """
    run_dir = folder_of(run)
    detector, file = Detector.load(run), detector_file(run)
    output = Path(settings.output) if settings.output else run_dir / "calibration"
    detector.config.pop("calibration", None)
    told: dict[str, Any] = {}
    passed_over = False
    if corpus is None:
        if not (own := run_dir / "scores" / "dev.csv").is_file():
            raise InputError(f"{own} does not exist: say dataset=... to score a partition to calibrate on")
        scores, source = read_scores(own), "the dev scores of its training"
    else:
        found = score_partition(detector, corpus, partition, settings, output, seed=seed)
        scores, told, source = found.scores, found.told, f"{corpus.name}, partition {partition}"
        passed_over = bool(found.passed_over)
    apart = _labelled(scores)
    calibration = calibrate(apart.scores, apart.labels)
    apart.extras["llr"] = [repr(float(v)) for v in cross_validated(apart.scores, apart.labels, groups=apart.speakers())]
    detector.set_calibration(calibration, source)
    detector.save(file)
    low, high = calibration.low / np.log(10), calibration.high / np.log(10)
    log.info(
        "%s: natural-log LLR = %.4g * score %+.4g, stated from 10^%.2f to 10^%.2f",
        file,
        calibration.weight,
        calibration.offset,
        low,
        high,
    )
    output.mkdir(parents=True, exist_ok=True)
    write_scores(output / "scores.csv", apart)
    title = f"calibration on {source}"
    name = corpus.name if corpus else config_of_run(run).get("dataset", {}).get("name", "")
    metrics = evaluate(
        apart, threshold=detector.threshold, dataset=name, partition=partition, intervals=settings.intervals
    )
    metrics["calibration"] = detector.config["calibration"]
    metrics["notes"].append(
        "The likelihood ratios here are cross-validated, by speaker where speakers are known; the map that the "
        "detector carries was fitted on all of these utterances."
    )
    write_evaluation(
        output,
        metrics,
        apart,
        title=title,
        provenance={**_told(detector, run), **told},
        device=settings.device,
        seed=seed,
    )
    return Evaluation(metrics, apart, output, passed_over)


def compare_runs(judged: Mapping[str, Evaluation], settings: Settings) -> tuple[Comparison, Path]:
    """Mean, standard deviation and intervals of runs (seeds) that were judged on the same trials.

    Raises:
        InputError: They were not.
    """
    names = dict(zip(judged, short_names(list(judged)), strict=True))
    systems = {names[run]: one.scores for run, one in judged.items()}
    metrics = {names[run]: one.metrics for run, one in judged.items()}
    one = next(iter(metrics.values()))
    tandem = Tandem({name: Weights(*weights) for name, weights in one["tdcf_weights"].items()})
    found = compare(systems, metrics, tandem=tandem, intervals=settings.intervals, seeds=True)
    shared = Path(os.path.commonpath([folder_of(run).absolute() for run in judged]))
    what = f"{one['dataset']}-{one['partition']}"
    output = Path(settings.output) if settings.output else shared / "comparisons" / what
    title = f"{len(systems)} runs: {one['dataset']}, {one['partition']}"
    write_comparison(output, found, systems, title=title, paths=list(judged))
    return found, output


def folder_of(run: str) -> Path:
    """The folder of a run that is given as such, or by its detector file."""
    return detector_file(run).parent


def config_of_run(run: str) -> dict[str, Any]:
    """What a run was trained with; empty for a detector file alone."""
    path = folder_of(run) / "config.yaml"
    return config_of(path) if path.is_file() else {}


def _labelled(scores: Scores) -> Scores:
    """Those of the scores whose label is known."""
    rows = np.flatnonzero(scores.labels >= 0)
    extras = {name: [column[i] for i in rows] for name, column in scores.extras.items()}
    ids, attacks = [scores.ids[i] for i in rows], [scores.attacks[i] for i in rows]
    return Scores(ids, scores.labels[rows].tolist(), attacks, scores.scores[rows], extras)


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


def _told(detector: Detector, run: str) -> dict[str, Any]:
    calibration = detector.config.get("calibration")
    return {
        "detector": Path(run).absolute(),
        "SHA-256 of the detector": hashlib.sha256(detector_file(run).read_bytes()).hexdigest(),
        "model": detector.config["model"]["_target_"],
        "features": detector.config["features"]["_target_"],
        "threshold from": detector.config["threshold"]["source"],
        "calibrated on": calibration["source"] if calibration else "nothing: not calibrated",
    }
