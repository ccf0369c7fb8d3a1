"""Base of repeatable trainings."""

from __future__ import annotations

import logging
from typing import Any

import lightning
import numpy as np
import torch

from deepfake.detector import Detector
from deepfake.training.task import Task

log = logging.getLogger(__name__)


class Repeatable(Task, lightning.LightningModule):
    """Randomness from the seed and the position in the run alone, and the same statistics on all ranks.

    Args:
        detector: Detector that is trained; its front end may have statistics of the training data.
        seed: Seed of dropout, noise and so on; set in every step, so that a resumed run equals an uninterrupted one.
    """

    def __init__(self, detector: Detector, seed: int) -> None:
        super().__init__()
        self.detector = detector
        self._seed = seed

    def on_fit_start(self) -> None:
        """Broadcast the statistics of the training data from rank 0, and say so where nothing will be trained."""
        fast = self.trainer.fast_dev_run  # type: ignore[attr-defined]
        if self.trainer.is_global_zero and (fast or self.trainer.max_epochs == 0):
            setting = "+trainer.fast_dev_run" if fast else "trainer.max_epochs=0"
            log.warning("%s: the detector is not trained, all that is written of it is of no use", setting)
        normalise: Any = self.detector.features.normalise
        if normalise.mode == "train_stats":
            statistics = {name: value.cpu() for name, value in normalise.state_dict().items()}
            normalise.load_state_dict(self.trainer.strategy.broadcast(statistics))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # in each step, not in each epoch: a resumed trainer skips the start hooks of its first epoch
        state = np.random.SeedSequence([self._seed, self.current_epoch, batch_idx, self.global_rank])
        torch.manual_seed(int(state.generate_state(1)[0]))
