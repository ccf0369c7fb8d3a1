"""Folder layouts of published corpora."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError


class NoPartition(InputError):
    """The corpus has no such partition by design: nothing is missing, and `check=true` only states it."""


def base_of(root: str, marks: Iterable[str], *, inside: Iterable[str] = (), unpacks: str, key: str = "root") -> Path:
    """The folder that holds one of `marks`: the root, or one of the folders `inside` it that archives make.

    Args:
        root: As the user gave it.
        marks: Files or folders, `*` for any name; one of them is enough.
        inside: Folders below the root to look in as well.
        unpacks: Which folder to give, for the message.
        key: Config key of the root, for the message.

    Raises:
        InputError: The root is no folder, or none of the marks is there.
    """
    marks, place = list(marks), Path(root).expanduser()
    if not place.is_dir():
        raise InputError(f"dataset.{key}={root} is not a folder: give {unpacks}")
    for base in (place, *(place / name for name in inside)):
        if any(next(base.glob(mark), None) for mark in marks):
            return base
    raise InputError(f"dataset.{key}={root} holds no {' and no '.join(marks)}: give {unpacks}")


def with_paths(utterances: Iterable[Utterance], folder: Path, suffix: str, partition: str) -> list[Utterance]:
    """The same utterances with their audio at `folder/ID.suffix`."""
    start = f"{folder}{os.sep}"
    return [replace(u, path=f"{start}{u.id}{suffix}", partition=partition) for u in utterances]
