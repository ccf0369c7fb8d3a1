"""A new head on old layers learns alone at first."""

from __future__ import annotations

from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from torch import nn

from deepfake.models.blocks.head import Head


class WarmUp(Callback):
    """For its first epochs a training moves the head alone, so that its first, random gradients spoil nothing.

    The gradients of the rest are thrown away before the optimiser sees them, and its batch-norm statistics stay. They
    are computed all the same: data-parallel training waits for them, and a resumed run finds the optimiser as it was.

    Args:
        epochs: Their number, from the start of the run; 0 for none.
    """

    def __init__(self, epochs: int = 0) -> None:
        self.epochs = epochs

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch < self.epochs:
            for module in pl_module.detector.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        elif trainer.current_epoch == self.epochs and batch_idx == 0:
            pl_module.train()

    def on_before_optimizer_step(self, trainer: lightning.Trainer, pl_module: Any, optimizer: Any) -> None:
        if trainer.current_epoch < self.epochs:
            head = {p for m in pl_module.detector.modules() if isinstance(m, Head) for p in m.parameters()}
            for parameter in pl_module.detector.parameters():
                if parameter not in head:
                    parameter.grad = None
