"""The contract of the tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from deepfake.detector import Detector
from deepfake.training.setup import Setup


class Task:
    """Base of the tasks. A task is made with the detector, the `parts` that it names and the settings of its yaml.

    Attributes:
        parts: Parts of the run's config that the task is made with, after the detector: `loss`, `optimizer`,
            `scheduler`.
        shardable: Whether its weights may be split over processes, see `deepfake.training.sharding`.
        can_be_tried: Whether it has a `trial_step`.
        supervised: Whether it needs both classes and a dev partition.
        monitored: Dev metrics by which checkpoints, early stopping and a sweep can select; none for a task without.
        detector: Detector to be trained.
        progress_metrics: Metrics displayed during training, by their displayed name.
    """

    parts: ClassVar[tuple[str, ...]] = ()
    shardable: ClassVar[bool] = False
    can_be_tried: ClassVar[bool] = False
    supervised: ClassVar[bool] = True
    monitored: ClassVar[tuple[str, ...]] = ("dev/eer", "dev/auc", "dev/accuracy")
    detector: Detector
    progress_metrics: ClassVar[Mapping[str, str]] = {}

    def fit(self, setup: Setup) -> dict[str, Any] | None:
        """Train, and write the files of the run.

        Returns:
            The metrics of the report; None on other ranks than 0.
        """
        raise NotImplementedError

    def trial_step(self, batch: dict[str, Any]) -> None:
        """One step of a batch in a copy of the task, without a trainer: how much memory does it take?

        Args:
            batch: `waveform` `[B, T]` of noise, `label` `[B]` and `spoofed` `[B, U]`.
        """
        raise NotImplementedError
