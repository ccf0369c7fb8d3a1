"""Decoded audio in one file: the samples of many recordings at one rate, 16 bits each, and an index behind them."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepfake.address import is_address, state
from deepfake.archive import member_of
from deepfake.atomic import written_atomically

FULL_SCALE = 32768
SCALE = np.float32(1 / FULL_SCALE)
N_LENGTH = 8  # bytes at the end: the length of the index


class PCM:
    """Samples that are mapped into memory, of which a crop reads its own pages.

    A recording of 16 bits at this rate comes back bit for bit. Others are rounded to 16 bits (an error of up to 1.5e-5)
    and cut at full scale.

    Args:
        path: Path of a file that `write` wrote.

    Raises:
        OSError: There is none.
        ValueError: It is not whole, or none of these.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            n_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(0, n_bytes - N_LENGTH))
            n_index = int.from_bytes(file.read(), "little")
            if not 0 < n_index <= n_bytes - N_LENGTH:
                raise ValueError(f"{path}: an index at its end was expected")
            n_samples = (n_bytes - N_LENGTH - n_index) // 2
            file.seek(2 * n_samples)
            index = dict(json.loads(file.read(n_index)))
        self.sample_rate: int = index["sample_rate"]
        self.files: dict[str, list[Any]] = index["files"]  # size, time or version, first sample, their number
        mapped = np.memmap(path, "<i2", "r", shape=(n_samples,)) if n_samples else np.empty(0, "<i2")
        self._samples = np.asarray(mapped)  # a plain array, of which a slice costs a tenth of a memmap's

    def __reduce__(self) -> tuple[Any, ...]:
        return PCM, (self.path,)  # a loader process maps the file itself

    def get(self, path: str) -> tuple[np.ndarray, int] | None:
        """Samples `[T]` and rate of a recording, for `deepfake.audio.load`; None where it could not be decoded."""
        *_, start, n_samples = self.files.get(path, [0, 0])
        return (self._samples[start : start + n_samples], self.sample_rate) if n_samples else None

    def clip(self, path: str, n_samples: int, seed: int | None) -> Tensor | None:
        """The clip of `deepfake.audio.load_clip` at this rate, bit for bit; None where there is no such recording.

        Samples that were decoded once are not checked again, which would take as long as everything else here.

        Args:
            path: Path of the recording.
            n_samples: Length of the clip.
            seed: Of the generator that draws its start; None takes the beginning.

        Shape:
            `[n_samples]`
        """
        *_, first, n = self.files.get(path, [0, 0])
        if n == 0:
            return None
        last = n - n_samples
        start = int(np.random.default_rng(seed).integers(0, last + 1)) if seed is not None and last > 0 else 0
        found = self._samples[first + start : first + min(n, start + n_samples)]
        clip = torch.empty(n_samples)
        filled, values = len(found), clip.numpy()
        np.multiply(found, SCALE, out=values[:filled])
        while filled < n_samples:  # what is there is repeated, twice as much each time
            more = min(filled, n_samples - filled)
            values[filled : filled + more] = values[:more]
            filled += more
        return clip


def pcm(path: Path, files: Sequence[str], sample_rate: int, decoded: Callable[[], Iterable[Tensor | None]]) -> PCM:
    """The file of these recordings, written where there is none or where one of them has changed.

    Where another process writes it, its end is waited for.

    Args:
        path: Path of the file.
        files: Paths of the recordings.
        sample_rate: In hertz.
        decoded: Decodes them in this order; None for one that cannot be.

    Raises:
        InputError: A store does not say whether its archive is still the same.
        OSError: The disk is full, say.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("a") as lock:
        with suppress(OSError):  # a file system without locks: the file is written twice, each time whole
            fcntl.lockf(lock, fcntl.LOCK_EX)
        of = cache(_state)
        known = {file: _known(file, of) for file in files}
        with suppress(OSError, ValueError, KeyError):
            found = PCM(path)
            if {file: entry[:2] for file, entry in found.files.items()} == known and found.sample_rate == sample_rate:
                return found
        for left in path.parent.glob(f".{path.name}.*.part"):  # of a process that was killed
            left.unlink()
        _write(path, known, sample_rate, decoded())
        return PCM(path)


def _state(file: str) -> list[Any]:
    """Size and time of change, or a version, which are those of no file where there is none."""
    if is_address(file):
        return state(file)
    try:
        found = Path(file).stat()
    except OSError:
        return [0, 0]
    return [found.st_size, found.st_mtime_ns]


def _known(file: str, of: Callable[[str], list[Any]] = _state) -> list[Any]:
    """What `of` says of a recording's file, or of the archive that it is in."""
    inside = member_of(file)
    return of(str(inside.archive) if inside else file)


def _write(path: Path, known: dict[str, list[Any]], sample_rate: int, decoded: Iterable[Tensor | None]) -> None:
    """Write a file, whole or not at all."""
    entries, n_written = {}, 0
    with written_atomically(path) as out:
        for (file, facts), waveform in zip(known.items(), decoded, strict=True):
            values = np.zeros(0) if waveform is None else waveform.numpy() * FULL_SCALE
            out.write(np.rint(values).clip(-FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes())
            entries[file] = [*facts, n_written, len(values)]
            n_written += len(values)
        index = json.dumps({"sample_rate": sample_rate, "files": entries}).encode()
        out.write(index + len(index).to_bytes(N_LENGTH, "little"))
