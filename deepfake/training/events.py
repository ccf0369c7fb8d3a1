"""What loggers wrote, as far as a checkpoint goes, so that a resumed run repeats no step and lacks none."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from deepfake.atomic import write_atomically
from deepfake.runs.folder import RunFolder
from deepfake.training.checkpoints import read_checkpoint

KEY = "event_files"  # of a checkpoint


class CSVLog(CSVLogger):
    """Lightning's table of logged values, `csv/metrics.csv`; its own deletes the table of the run that it resumes."""

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        if self._experiment is None:
            self._experiment = _Continued(self.log_dir)
        return self._experiment  # type: ignore[return-value]


class _Continued(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        with suppress(FileNotFoundError), Path(self.metrics_file_path).open(newline="", encoding="utf-8") as file:
            self.metrics_keys = next(csv.reader(file))


def sizes(folder: RunFolder) -> dict[str, int]:
    """Bytes of each event file of a run, and lines of its CSV log; what is in memory has to be saved before."""
    found = {file.name: file.stat().st_size for file in _event_files(folder)}
    if folder.csv_log.is_file():
        found[folder.csv_log.name] = len(_lines(folder.csv_log))
    return found


def rewind(folder: RunFolder) -> None:
    """Cut what a run logged to what it was when its last checkpoint was written, or delete it."""
    known: Mapping[str, Any] = {}
    if folder.last_checkpoint.is_file():
        known = read_checkpoint(folder.last_checkpoint).get(KEY, {})
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


def _event_files(folder: RunFolder) -> list[Path]:
    return sorted(folder.tensorboard.glob("events.out.tfevents.*"))


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)
