"""Folders of audio files: recorded noise, speech or room impulse responses."""

from __future__ import annotations

import os
from pathlib import Path

from deepfake.datasets.folder import SUFFIXES, audio_below
from deepfake.errors import InputError


def audio_files(root: str | os.PathLike[str], key: str) -> list[Path]:
    """All audio files below a folder, in an order that does not depend on the file system.

    Args:
        root: The folder.
        key: Its config key, for the error message.

    Raises:
        InputError: There is no such folder, or no audio in it.
    """
    if not (files := audio_below(Path(root))):
        raise InputError(f"{key}={root}: a folder with audio files ({SUFFIXES}) was expected")
    return files
