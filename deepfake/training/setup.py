"""What a task is given to train with."""

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
    """The things around a task, the same for each kind: a task's `fit(setup)` does the rest.

    Args:
        config: The run's, as plain data.
        datamodule: With the corpus; prepared on rank 0.
        trainer: With the run's callbacks and logger.
    """

    config: Mapping[str, Any]
    datamodule: DataModule
    trainer: lightning.Trainer

    @property
    def folder(self) -> RunFolder:
        """The run's."""
        return folder_of(self.config)

    @property
    def checkpoint(self) -> str | None:
        """What the run goes on from."""
        return checkpoint_of(self.config)


def folder_of(config: Mapping[str, Any]) -> RunFolder:
    """The folder of a run."""
    return RunFolder(Path(config["run_dir"]))


def checkpoint_of(config: Mapping[str, Any]) -> str | None:
    """The checkpoint that a run is resumed from, None where it begins."""
    last = folder_of(config).last_checkpoint
    return str(last) if config["resume"] and last.is_file() else None
