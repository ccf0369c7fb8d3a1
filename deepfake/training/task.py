"""What every task says of itself, and what it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from deepfake.detector import Detector
from deepfake.training.setup import Setup


class Task:
    """The base of the tasks. One is made with the detector, the `parts` it names and the settings of its yaml.

    Attributes:
        parts: Of the run's config, built and handed to the task after the detector: `loss`, `optimizer`, `scheduler`.
        supervised: Whether it needs both classes and a dev partition.
        monitored: The dev metrics by which checkpoints, early stopping and a sweep can select; none where there is
            nothing to select by.
        detector: What is trained.
        progress_metrics: What is shown while it trains, by the name that it is shown with.
    """

    parts: ClassVar[tuple[str, ...]] = ()
    supervised: ClassVar[bool] = True
    monitored: ClassVar[tuple[str, ...]] = ("dev/eer", "dev/auc", "dev/accuracy")
    detector: Detector
    progress_metrics: ClassVar[Mapping[str, str]] = {}

    def fit(self, setup: Setup) -> dict[str, Any] | None:
        """Train to the end, and write what a run leaves behind.

        Returns:
            What stands in `reports/metrics.json`; None on other ranks than 0.
        """
        raise NotImplementedError
