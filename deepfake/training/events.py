"""TensorBoard's event files as far as a checkpoint goes, so that a resumed run repeats no step and lacks none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepfake.runs.folder import RunFolder
from deepfake.training.checkpoints import read_checkpoint

KEY = "event_files"  # of a checkpoint


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of each event file of a folder; what is in memory has to be flushed before."""
    return {file.name: file.stat().st_size for file in _files(folder)}


def rewind(folder: RunFolder) -> None:
    """Cut the event files of a run to what they held when its last checkpoint was written, or delete them."""
    known: Mapping[str, Any] = {}
    if folder.last_checkpoint.is_file():
        known = read_checkpoint(folder.last_checkpoint).get(KEY, {})
    for file in _files(folder.tensorboard):
        if isinstance(size := known.get(file.name), int):
            os.truncate(file, min(size, file.stat().st_size))
        else:
            file.unlink()


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("events.out.tfevents.*"))
