"""The audio files of a folder: noises, voices or room impulse responses that somebody recorded."""

from __future__ import annotations

import os
from pathlib import Path

from deepfake.errors import InputError

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aiff", ".aif"}


def audio_files(root: str | os.PathLike[str], key: str) -> list[Path]:
    """All audio files below a folder, in an order that does not depend on the disk.

    Args:
        root: The folder.
        key: What the user wrote it as, for the message.

    Raises:
        InputError: There is no such folder, or no audio in it.
    """
    files = sorted(path for path in Path(root).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise InputError(f"{key}={root}: a folder with audio files ({' '.join(sorted(SUFFIXES))}) was expected")
    return files
