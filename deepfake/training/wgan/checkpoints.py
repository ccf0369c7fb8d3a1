"""The two networks of a game as files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from deepfake.atomic import write_atomically
from deepfake.detector import FORMAT


class Networks(Callback):
    """Writes critic and generator every so many epochs, as `critic-0010.pt` and `generator-0010.pt` after the tenth.

    Args:
        folder: Where.
        every_epochs: How often.
    """

    def __init__(self, folder: str, every_epochs: int = 10) -> None:
        self.folder = Path(folder)
        self.every_epochs = every_epochs

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        n_epochs = trainer.current_epoch + 1
        if trainer.is_global_zero and n_epochs % self.every_epochs == 0:
            write_networks(self.folder, pl_module, f"-{n_epochs:04d}")


def write_networks(folder: Path, game: Any, suffix: str = "") -> None:
    """`generator.pt`, plain settings and weights, and `critic.pt`, which is a detector's file.

    Args:
        folder: Where.
        game: A `WGANGP`.
        suffix: Of the names.
    """
    generator = io.BytesIO()
    content = {"format": FORMAT, "config": game.generator.config, "state_dict": game.generator.state_dict()}
    torch.save(content, generator)
    write_atomically(folder / f"generator{suffix}.pt", generator.getvalue())
    game.detector.save(folder / f"critic{suffix}.pt")
