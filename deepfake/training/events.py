"""What loggers wrote, as far as a checkpoint goes, so that a resumed run repeats no step and lacks none."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from deepfake.atomic import write_atomically
from deepfake.runs.folder import RunFolder
from deepfake.training.checkpoints import read_checkpoint

KEPT = 2  # checkpoints whose sizes are kept: the last one, and the one that is about to be written


class CSVLog(CSVLogger):
    """Lightning's table of logged values, `csv/metrics.csv`; its own deletes the table of the run that it resumes."""

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        if self._experiment is None:
            self._experiment = _Continued(self.log_dir)
        return self._experiment  # type: ignore[return-value]


def mlflow(save_dir: str, **settings: Any) -> MLFlowLogger:
    """MLflow's logger on a database in a folder: its newer versions refuse plain files, which is Lightning's default.

    Args:
        save_dir: The folder. Where `MLFLOW_TRACKING_URI` names a server nothing is written into it.
        **settings: See `MLFlowLogger`.
    """
    folder = Path(save_dir).absolute()
    if "MLFLOW_TRACKING_URI" not in os.environ:
        settings = {
            "tracking_uri": f"sqlite:///{folder}/mlflow.db",
            "artifact_location": f"{folder}/mlflow",
            **settings,
        }
    return MLFlowLogger(**settings)


class _Continued(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        with suppress(FileNotFoundError), Path(self.metrics_file_path).open(newline="", encoding="utf-8") as file:
            self.metrics_keys = next(csv.reader(file))


def note(folder: RunFolder, step: int) -> None:
    """Store how far the logs go at a step, before its checkpoint is written; what is in memory has to be saved before.

    They stand beside the checkpoint, since names of event files differ between two runs that are otherwise equal.
    """
    found = {file.name: file.stat().st_size for file in _event_files(folder)}
    if folder.csv_log.is_file():
        found[folder.csv_log.name] = len(_lines(folder.csv_log))
    steps = {**_noted(folder), str(step): found}
    write_atomically(folder.logged, json.dumps({name: steps[name] for name in sorted(steps, key=int)[-KEPT:]}))


def rewind(folder: RunFolder) -> None:
    """Cut what a run logged to what it was when its last checkpoint was written; without one, delete it.

    What a run logged whose sizes are not known, as of an earlier version, stays as it is.
    """
    known: Mapping[str, Any] = {}
    if folder.last_checkpoint.is_file():
        step = str(read_checkpoint(folder.last_checkpoint)["global_step"])
        if (noted := _noted(folder).get(step)) is None:
            return
        known = noted
    for file in _event_files(folder):
        if isinstance(size := known.get(file.name), int):
            os.truncate(file, min(size, file.stat().st_size))
        else:
            file.unlink()
    if folder.csv_log.is_file():
        if isinstance(n_lines := known.get(folder.csv_log.name), int):
            write_atomically(folder.csv_log, b"".join(_lines(folder.csv_log)[:n_lines]))
        else:
            folder.csv_log.unlink()


def _noted(folder: RunFolder) -> dict[str, Any]:
    """The sizes by step, as text."""
    try:
        found = json.loads(folder.logged.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    steps = found.items() if isinstance(found, dict) else ()
    return {step: noted for step, noted in steps if step.isdecimal() and isinstance(noted, dict)}


def _event_files(folder: RunFolder) -> list[Path]:
    return sorted(folder.tensorboard.glob("events.out.tfevents.*"))


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)
