"""The steps before and after the epochs: statistics of the training data, and the files of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import yaml
from lightning.pytorch.loggers import TensorBoardLogger

from deepfake.detector import Detector, keep_single_precision
from deepfake.errors import InputError
from deepfake.evaluation.metrics import Intervals, evaluate
from deepfake.evaluation.report import write_report
from deepfake.evaluation.tandem import read_tandem
from deepfake.evaluation.tensorboard import summaries
from deepfake.loading.datamodule import DataModule
from deepfake.metrics.eer import carried_threshold
from deepfake.runs.compare import flat
from deepfake.scores.compute import score
from deepfake.scores.domain import learn_domain
from deepfake.scores.table import write_scores
from deepfake.terminal import progress
from deepfake.training.averaging import Averaging
from deepfake.training.callbacks import board_of
from deepfake.training.checkpoints import read_checkpoint
from deepfake.training.setup import Setup


def fit_normalisation(detector: Detector, datamodule: DataModule) -> None:
    """Fit the front end's statistics in one pass over the training partition, if it needs them and has none yet."""
    front_end: Any = detector.features
    if front_end.normalise.mode != "train_stats" or front_end.normalise.fitted:
        return
    with torch.inference_mode():
        for batch in progress(datamodule.train_clips(), "normalisation statistics"):
            front_end.normalise.update(front_end.extract(datamodule.on_before_batch_transfer(batch, 0)["waveform"]))
    front_end.normalise.finish()


def best_weights(setup: Setup, detector: Detector) -> None:
    """Give a trained detector the weights of its best epoch, or the mean of an `Averaging`."""
    best = setup.folder.best_checkpoint
    averaging = [c for c in setup.trainer.callbacks if isinstance(c, Averaging)]  # type: ignore[attr-defined]
    if averaging:
        torch.manual_seed(setup.config["seed"])
        averaging[0].apply(setup.trainer.lightning_module, setup.datamodule.train_clips())
    elif best.is_file():
        state = read_checkpoint(best)["state_dict"]
        prefix = "detector."
        detector.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})


def finish(setup: Setup, detector: Detector, more: Mapping[str, float]) -> dict[str, Any]:
    """Write dev scores, threshold, domain, report and detector.

    Args:
        setup: The setup after training, on rank 0.
        detector: Trained detector, with its final weights.
        more: Metrics beside those of the dev scores.

    Returns:
        The metrics of the report.
    """
    trainer, datamodule, config, folder = setup.trainer, setup.datamodule, setup.config, setup.folder
    keep_single_precision()
    loading = {
        "batch_size": datamodule.score_batch_size,
        "num_workers": datamodule.num_workers,
        "device": trainer.strategy.root_device,
    }
    scores, errors, _ = score(detector, datamodule.dev, **loading)
    if errors:
        raise InputError(f"{len(errors)} dev files could not be scored: {next(iter(errors.values()))}")
    threshold = carried_threshold(scores.scores, scores.labels)
    detector.set_threshold(threshold, f"EER threshold of {datamodule.corpus.name}, partition dev")
    name = f"{datamodule.corpus.name}, partitions train and dev"
    learn_domain(detector, name, datamodule.train, datamodule.dev, **loading)
    write_scores(folder.dev_scores, scores)
    asv = datamodule.corpus.asv_scores("dev")
    metrics = evaluate(
        scores,
        threshold=threshold,
        tandem=read_tandem(asv) if asv else None,
        dataset=datamodule.corpus.name,
        partition="dev",
        intervals=Intervals(),
    )
    metrics |= more
    targets = {part: config[part]["_target_"] for part in ("model", "features")}
    provenance = {"run": folder.path, **targets, "seed": config["seed"]}
    write_report(folder.report, metrics, scores, title=f"{config['name']}: dev", provenance=provenance)
    if (board := board_of(trainer)) is not None:
        board.add_text("config", f"```yaml\n{yaml.safe_dump(dict(config), sort_keys=False)}```")  # opens its file again
        for summary in summaries(metrics, scores, "dev_final", folder.report.figures):
            board.file_writer.add_summary(summary)
    final = {f"final/{key}": metrics[key] for key in ("eer", "auc", "accuracy", "f1")}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(flat(dict(config)), final)
        else:
            logger.log_hyperparams(flat(dict(config)))
            logger.log_metrics(final, trainer.global_step)
        logger.finalize("success")
    detector.save(folder.detector)  # last: with it the run counts as finished
    return metrics


def objective(metrics: Mapping[str, Any], monitor: str) -> float:
    """The monitored dev metric of a finished run, made finite, since a sweep compares it.

    A task without a detector has an `objective` among its metrics.
    """
    if "objective" in metrics:
        return float(metrics["objective"])
    key = monitor.removeprefix("dev/")
    value, worst = metrics[key], 1.0 if key.endswith("eer") else 0.0
    return float(value) if value is not None and math.isfinite(value) else worst
