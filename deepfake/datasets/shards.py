"""A corpus in tar archives, as WebDataset has them: for each recording `KEY.flac`, and `KEY.json` or `KEY.cls`.

A network file system or an object store is quick with a few large files and slow with millions of small ones. The
archives are read by index rather than in a stream: `index.csv` beside them is a manifest that names each recording by
archive, offset and size, so that it is read with one seek, and order, weighted draws, shards of ranks, exact resumption
and partitions are those of every other corpus. WebDataset and litdata, which stream, would bring an order of their own
for each (shards shuffled, then a buffer), and ranks with unequal numbers of recordings.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepfake.address import is_address
from deepfake.archive import member_of, member_path
from deepfake.atomic import csv_text, write_atomically, written_atomically
from deepfake.datasets import manifest
from deepfake.datasets.folder import AUDIO
from deepfake.datasets.utterance import MANIFEST, PARTITION_WORDS, PARTITIONS, Utterance
from deepfake.errors import InputError

log = logging.getLogger(__name__)

INDEX = "index.csv"
MOST_BYTES = 1 << 20  # of a JSON or a class

Row = dict[str, Any]


def utterances(partition: str, *, root: str) -> list[Utterance]:
    """Read the recordings of a partition.

    Args:
        partition: `train`, `dev` or `eval`.
        root: A folder of archives, `**/*.tar`, not compressed. The JSON of a recording may hold `label`, `attack`,
            `speaker`, `partition`, `id`, `weight` and conditions; a class is a label. Without a partition there, that
            of the archive's name or folder counts (`train-0.tar`, `train/0.tar`), else it belongs to all of them. Or
            the address of such a folder, with its `index.csv`.

    Raises:
        InputError: There are no archives, one is damaged, or a recording's metadata cannot be used.
    """
    if is_address(root):
        return manifest.utterances(partition, root=f"{root}/{INDEX}")
    base = Path(root).expanduser()
    archives = sorted(base.rglob("*.tar"))
    if not archives:
        raise InputError(f"dataset.root={base}: a folder of tar archives was expected; there is no *.tar in it")
    index = base / INDEX
    if not index.is_file() or max(a.stat().st_mtime_ns for a in archives) > index.stat().st_mtime_ns:
        log.info("reading the headers of %d archives below %s", len(archives), base)
        write_index(base, [row for archive in archives for row in _rows(archive, base)])
    return manifest.utterances(partition, root=str(index))


def write_index(base: Path, rows: Sequence[Row]) -> None:
    """Write the manifest of the recordings in the archives of a folder.

    Raises:
        InputError: The folder cannot be written.
    """
    columns = list(dict.fromkeys(["path", *MANIFEST, "weight", *(name for row in rows for name in row)]))
    try:
        write_atomically(base / INDEX, csv_text([columns, *([row.get(name) for name in columns] for row in rows)]))
    except PermissionError:
        raise InputError(
            f"{base / INDEX} is needed and cannot be written: make it once where the folder can be"
        ) from None


def write_shards(utterances: Iterable[Utterance], output: Path, *, megabytes: float) -> int:
    """Copy recordings into archives, in their order, and write the index.

    Args:
        utterances: The recordings; one inside an archive is copied as well.
        output: Folder for the archives, without any.
        megabytes: Size from which an archive is complete.

    Returns:
        The number of archives.

    Raises:
        InputError: There are archives already.
    """
    if any(output.rglob("*.tar")):
        raise InputError(f"{output} holds archives already: give another folder")
    rows: list[Row] = []
    n_archives = 0
    of_partition: dict[str, list[Utterance]] = {}
    for u in utterances:
        of_partition.setdefault(u.partition, []).append(u)
    for partition, some in sorted(of_partition.items()):
        rest, number = iter(enumerate(some)), 0
        while written := _archive(output / f"{partition or 'all'}-{number:06d}.tar", rest, megabytes * 1e6):
            rows += written
            number += 1
        n_archives += number
    write_index(output, rows)
    return n_archives


def _archive(path: Path, rest: Iterator[tuple[int, Utterance]], n_bytes: float) -> list[Row]:
    """Write one archive of the next recordings; nothing where there are none."""
    if (first := next(rest, None)) is None:
        return []
    rows = []
    with written_atomically(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        following: tuple[int, Utterance] | None = first
        while following is not None:
            number, u = following
            inside = member_of(u.path)
            name = f"{number:09d}{Path(u.path).suffix.partition('#')[0].lower()}"
            words = {"id": u.id, "label": u.label, "attack": u.attack, "speaker": u.speaker, "partition": u.partition}
            words |= ({"weight": u.weight} if u.weight != 1 else {}) | dict(u.conditions)
            words = {key: value for key, value in words.items() if value not in (None, "")}
            offset, size = _add(archive, name, inside.read() if inside else Path(u.path).read_bytes())
            _add(archive, f"{number:09d}.json", json.dumps(words).encode())
            rows.append({"path": member_path(path.name, name, offset, size), **words})
            following = next(rest, None) if archive.offset < n_bytes else None
    return rows


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> tuple[int, int]:
    """Append a file, and say where its bytes are."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
    return archive.offset - -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE, len(data)


def _rows(path: Path, base: Path) -> list[Row]:
    """The recordings of an archive, from its headers and what stands beside each recording."""
    audio: dict[str, str] = {}
    beside: dict[str, Row] = {}
    own = _partition(path, base)
    place = path.relative_to(base)
    try:
        with tarfile.open(path, mode="r:") as archive:
            for entry in archive:
                folder, name = os.path.split(entry.name)
                stem, _, suffix = name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if not entry.isreg() or entry.issparse() or name.startswith("."):
                    continue
                if f".{suffix.lower()}" in AUDIO:
                    if key in audio:
                        raise InputError(f"{path}: {entry.name}: one recording named {key} was expected")
                    audio[key] = member_path(place, entry.name, entry.offset_data, entry.size)
                elif suffix in ("json", "cls"):
                    beside.setdefault(key, {}).update(_words(archive, entry, path))
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{path} is not a whole tar archive without compression ({error}): pack it again") from error
    return [{"path": audio[key], "id": key.replace("/", "-"), "partition": own, **beside.get(key, {})} for key in audio]


def _words(archive: tarfile.TarFile, entry: tarfile.TarInfo, path: Path) -> Row:
    """The metadata in a JSON or a class."""
    where = f"{path}, {entry.name}"
    file = archive.extractfile(entry)
    if file is None or entry.size > MOST_BYTES:
        raise InputError(f"{where}: metadata of at most {MOST_BYTES >> 20} MB were expected")
    try:
        text = file.read().decode("utf-8")
        if entry.name.endswith(".cls"):
            return {"label": text.strip()}
        found = json.loads(text)
        if not isinstance(found, Mapping):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not metadata ({error}): a JSON object or a label was expected") from None
    plain = {str(key): value for key, value in found.items() if isinstance(value, str | int | float)}
    return {
        key: str(value).lower() if isinstance(value, bool) else value for key, value in plain.items() if key != "path"
    }


def _partition(path: Path, base: Path) -> str:
    """The partition that an archive's name begins with, or a folder on the way to it is named after; else none."""
    parts = path.relative_to(base).parts
    first = re.split(r"[-_.\d]", parts[-1], maxsplit=1)[0]
    words = [PARTITION_WORDS.get(word.lower(), "") for word in (first, *reversed(parts[:-1]))]
    return next((word for word in words if word in PARTITIONS), "")
