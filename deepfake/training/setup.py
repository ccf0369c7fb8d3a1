"""The setup of a training: config, data and trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning

from deepfake.loading.datamodule import DataModule
from deepfake.runs.folder import RunFolder


@dataclass(frozen=True)
class Setup:
    """The setup that a task trains in, by its `fit(setup)`.

    Args:
        config: Config of the run, as plain data.
        datamodule: Data of the corpus; prepared on rank 0.
        trainer: Trainer with the callbacks and the logger of the run.
        auto_batch: Whether `batch_size` may be lowered to what fits into memory, see `deepfake.training.memory`.
    """

    config: dict[str, Any]
    datamodule: DataModule
    trainer: lightning.Trainer
    auto_batch: bool = False

    @property
    def folder(self) -> RunFolder:
        """The folder of the run."""
        return folder_of(self.config)


def folder_of(config: Mapping[str, Any]) -> RunFolder:
    """The folder of a run."""
    return RunFolder(Path(config["run_dir"]))


def checkpoint_of(config: Mapping[str, Any]) -> str | None:
    """The checkpoint that a run is resumed from, None where it begins."""
    last = folder_of(config).last_checkpoint
    return str(last) if config["resume"] and last.is_file() else None
