"""Warm-up of a new head on pre-trained layers."""

from __future__ import annotations

from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from torch import nn

from deepfake.models.blocks.head import Head


class WarmUp(Callback):
    """Trains the head alone in the first epochs, so that its initial, random gradients do not damage the other layers.

    The gradients of the other layers are dropped before the optimiser's step, and their batch-norm statistics frozen.
    They are still computed: data-parallel training waits for them, and the state of the optimiser keeps its shape.

    Args:
        epochs: Number of such epochs at the start of the run; 0 for none.
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
