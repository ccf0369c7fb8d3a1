"""What stands before and after the epochs: statistics of the training data, and all that a run leaves behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml

from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.evaluation.board import show
from deepfake.evaluation.report import write_report
from deepfake.evaluation.runs import flat
from deepfake.evaluation.scores import Scores, write_scores
from deepfake.evaluation.scoring import scored, shown
from deepfake.loading.datamodule import DataModule
from deepfake.metrics.eer import carried_threshold
from deepfake.training.callbacks import SnapshotAveraging, board_of
from deepfake.training.detection import Detection


def fit_normalisation(detector: Detector, datamodule: DataModule) -> None:
    """One streaming pass over the training partition, where the front end asks for its statistics and has none yet."""
    front_end: Any = detector.features
    if front_end.normalise.mode != "train_stats" or front_end.normalise.fitted:
        return
    with torch.inference_mode():
        for batch in shown(datamodule.train_clips(), "normalisation statistics"):
            front_end.normalise.update(front_end.extract(datamodule.on_before_batch_transfer(batch, 0)["waveform"]))
    front_end.normalise.finish()


def finish(
    trainer: lightning.Trainer,
    task: Detection,
    datamodule: DataModule,
    config: Mapping[str, Any],
    judged: Callable[[Scores, float], dict[str, Any]],
) -> dict[str, Any]:
    """Best weights, dev scores, threshold, report, detector file.

    Args:
        trainer: After `fit`, on rank 0.
        task: What it trained.
        datamodule: With the dev partition.
        config: The run's, as plain data.
        judged: Metrics of dev scores at a threshold.

    Returns:
        What stands in `reports/metrics.json`.
    """
    detector = task.detector
    run_dir = Path(config["run_dir"])
    best = run_dir / "checkpoints" / "best.ckpt"
    averaging = [c for c in trainer.callbacks if isinstance(c, SnapshotAveraging)]  # type: ignore[attr-defined]
    if averaging:
        torch.manual_seed(config["seed"])
        averaging[0].apply(task, datamodule.train_clips())
    elif best.is_file():
        state = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
        prefix = "detector."
        detector.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    scores, errors, _ = scored(
        detector,
        datamodule.dev,
        batch_size=datamodule.score_batch_size,
        num_workers=datamodule.num_workers,
        device=trainer.strategy.root_device,
    )
    if errors:
        raise InputError(f"{len(errors)} dev files could not be scored: {next(iter(errors.values()))}")
    threshold = carried_threshold(scores.scores, scores.labels)
    detector.set_threshold(threshold, f"EER threshold of {datamodule.name}, partition dev")
    write_scores(run_dir / "scores" / "dev.csv", scores)
    metrics = judged(scores, threshold)
    provenance = {
        "run": run_dir,
        "model": config["model"]["_target_"],
        "features": config["features"]["_target_"],
        "seed": config["seed"],
    }
    write_report(run_dir / "reports", metrics, scores, title=f"{config['name']}: dev", provenance=provenance)
    detector.save(run_dir / "detector.pt")
    if (board := board_of(trainer)) is not None:
        show(board, metrics, scores, "dev_final")
        board.add_text("config", f"```yaml\n{yaml.safe_dump(dict(config), sort_keys=False)}```")
        final = {f"final/{key}": metrics[key] for key in ("eer", "auc", "accuracy", "f1")}
        trainer.loggers[0].log_hyperparams(flat(dict(config)), final)  # type: ignore[call-arg]
        trainer.loggers[0].finalize("success")
    return metrics


def objective(metrics: Mapping[str, Any], monitor: str) -> float:
    """The monitored dev metric of a finished run; what a sweep compares, so always finite."""
    key = monitor.removeprefix("dev/")
    value, worst = metrics[key], 1.0 if key == "eer" else 0.0
    return float(value) if value is not None and math.isfinite(value) else worst
