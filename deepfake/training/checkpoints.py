"""How a run's checkpoints are written and read."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from deepfake.atomic import save_atomically
from deepfake.errors import InputError

REMEDY = "copy best.ckpt over it to go on from the best epoch, or delete it to begin anew"
PARTS = {"callbacks", "config", "epoch", "loops", "lr_schedulers", "optimizer_states", "state_dict"}


class CheckpointIO(TorchCheckpointIO):
    """Checkpoints written whole or not at all, and read with their checksums; the one before is there until then.

    Lightning's own writes to the folder for temporary files and moves, which is no one step where that is another file
    system, and leaves the data in the memory of the system.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save_atomically(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """The content of a checkpoint, on the CPU.

        Raises:
            InputError: It is damaged, or was not written in training.
        """
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint of training, on the CPU; nothing in it is executed.

    Raises:
        InputError: It is damaged, or was not written in training.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"the checksum of {damaged} does not fit")
        content = torch.load(path, map_location="cpu", weights_only=True)
        if missing := PARTS - {*content}:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError) as error:
        reason = str(error).split("\n")[0].strip(". ") or type(error).__name__
        raise InputError(f"{path} is not a whole checkpoint ({reason}): {REMEDY}") from error
    return content
