"""What a task is given to train with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning

from deepfake.loading.datamodule import DataModule
from deepfake.scores.table import Scores


@dataclass(frozen=True)
class Course:
    """The things around a task, the same for each kind: a task's `learn(course)` does the rest.

    Args:
        config: The run's, as plain data.
        run_dir: The run folder.
        datamodule: Prepared on rank 0.
        trainer: With the run's callbacks and logger.
        checkpoint: To resume from.
        segments: Known spoofed stretches of a partition by utterance, `(start, end, system)` in seconds; None where
            the corpus does not say.
        judged: Metrics of dev scores at a threshold.
    """

    config: Mapping[str, Any]
    run_dir: Path
    datamodule: DataModule
    trainer: lightning.Trainer
    checkpoint: str | None
    segments: Callable[[str], Mapping[str, list[tuple[float, float, str]]] | None]
    judged: Callable[[Scores, float], dict[str, Any]]
