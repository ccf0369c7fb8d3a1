"""Checkpoints of critic and generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from deepfake.detector_format import write_detector_file


class Networks(Callback):
    """Writes critic and generator every few epochs, after the tenth as `critic-0010.pt` and `generator-0010.pt`.

    Args:
        folder: Folder of the files.
        every_epochs: Number of epochs between two checkpoints.
    """

    def __init__(self, folder: str, every_epochs: int = 10) -> None:
        self.folder = Path(folder)
        self.every_epochs = every_epochs

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        n_epochs = trainer.current_epoch + 1
        if trainer.is_global_zero and n_epochs % self.every_epochs == 0:
            write_networks(self.folder, pl_module, f"-{n_epochs:04d}")


def write_networks(folder: Path, task: Any, suffix: str = "") -> None:
    """Write `generator.pt`, with settings and weights, and `critic.pt`, in the format of a detector.

    Args:
        folder: Folder of the files.
        task: The `WGANGP` with both networks.
        suffix: Suffix of the files' names.
    """
    write_detector_file(folder / f"generator{suffix}.pt", task.generator.config, task.generator)
    task.detector.save(folder / f"critic{suffix}.pt")
