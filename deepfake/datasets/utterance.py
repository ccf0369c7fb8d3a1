"""Utterances, as every reader of a corpus gives them, and checks, subsets and lists of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from deepfake.address import incomplete, is_address
from deepfake.archive import member_of
from deepfake.atomic import write_csv
from deepfake.errors import InputError

BONAFIDE, SPOOF = 1, 0
MANIFEST = ("id", "path", "label", "attack", "speaker", "partition")
CLASS_WORDS = {"spoof": SPOOF, "fake": SPOOF} | dict.fromkeys(
    ("bonafide", "bona-fide", "bona_fide", "bona fide", "real", "genuine", "human"), BONAFIDE
)
LABEL_WORDS = CLASS_WORDS | {"0": SPOOF, "0.0": SPOOF, "false": SPOOF, "1": BONAFIDE, "1.0": BONAFIDE, "true": BONAFIDE}
_PARTITIONS = {
    "train": ("train", "training"),
    "dev": ("dev", "development", "val", "valid", "validation"),
    "eval": ("eval", "evaluation", "test", "testing"),
}
PARTITIONS = tuple(_PARTITIONS)
PARTITION_WORDS = {word: partition for partition, words in _PARTITIONS.items() for word in words}


@dataclass(frozen=True, slots=True)
class Utterance:
    """One audio file of a corpus and its metadata.

    Args:
        id: The corpus's own name for it (no folder, no extension), unique within a partition.
        path: Path of the audio, or its address.
        label: 1 = bona fide, 0 = spoof, None = unknown.
        attack: The spoofing system (`A07`), `""` for bona fide speech or where unknown.
        speaker: The speaker, `""` where unknown.
        partition: `train`, `dev` or `eval`.
        where: The file and line that list it, for messages.
        conditions: Other metadata by name (`codec`, `transmission`, `language` ...), without those unknown. Reports
            have a table for each.
        weight: Relative frequency with which it is drawn in training.
    """

    id: str
    path: str
    label: int | None
    attack: str = ""
    speaker: str = ""
    partition: str = ""
    where: str = ""
    conditions: Mapping[str, str] = field(default_factory=dict, hash=False)
    weight: float = 1.0


def label_of(word: str, where: str) -> int:
    """Label of a key: 1 bona fide, 0 spoof.

    Raises:
        InputError: The key is unknown; `where` names the file and line.
    """
    try:
        return LABEL_WORDS[word.strip().lower()]
    except KeyError:
        raise InputError(f"{where}: unknown key {word!r}; one of {sorted(LABEL_WORDS)} was expected") from None


def unique(utterances: Iterable[Utterance], source: str) -> list[Utterance]:
    """The same list, after checking that it is not empty and that no id is in it twice.

    Raises:
        InputError: Names the first such id and where it is listed.
    """
    by_id: dict[str, Utterance] = {}
    for u in (utterances := list(utterances)):
        if first := by_id.get(u.id):
            places = " and ".join(p for p in (first.where, u.where) if p) or f"{first.path} and {u.path}"
            raise InputError(f"{source}: utterance {u.id} is listed twice, in {places}")
        by_id[u.id] = u
    if not utterances:
        raise InputError(f"{source}: there are no utterances in it")
    return utterances


def present(utterances: list[Utterance], source: str) -> list[Utterance]:
    """The same list, after checking that every audio file is there.

    Raises:
        InputError: Names the first missing file and where it is listed.
    """
    if missing := missing_files(utterances):
        first = missing[0]
        raise InputError(
            f"{first.where or source}: {first.path} is missing ({len(missing)} of the {len(utterances)} files are): "
            "complete the corpus, or point dataset.root at a whole one"
        )
    return utterances


def missing_files(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Those whose audio is missing, or a link that leads nowhere.

    Each folder is listed once, which is faster than a look at each file. An archive at an address is asked for
    once; where it is shorter than its recordings say, all of them are missing.
    """
    listed = _complete_archives(utterances)
    missing = []
    for u in utterances:
        inside = member_of(u.path)
        folder, name = os.path.split(inside.archive if inside else u.path)
        if folder not in listed:
            entries = os.scandir(folder or ".") if Path(folder or ".").is_dir() else ()
            listed[folder] = {e.name for e in entries if not e.is_symlink() or Path(e).exists()}
        if name not in listed[folder]:
            missing.append(u)
    return missing


def _complete_archives(utterances: Sequence[Utterance]) -> dict[str, set[str]]:
    """By the address of their folder, the names of the archives that are as long as their recordings say."""
    ends: dict[str, int] = {}
    for inside in (member_of(u.path) for u in utterances if is_address(u.path)):
        if inside and isinstance(archive := inside.archive, str):
            ends[archive] = max(inside.offset + inside.size, ends.get(archive, 0))
    lacking, found = incomplete(ends), {}
    for archive in ends:
        folder, name = os.path.split(archive)
        found.setdefault(folder, set()).update(() if archive in lacking else (name,))
    return found


def subset(utterances: Sequence[Utterance], per_class: int, seed: int) -> list[Utterance]:
    """Balanced subset: `per_class` utterances of each label, drawn without replacement, kept in corpus order.

    The draw depends on the seed and the ids alone, so that the same subset comes out whatever order the corpus was
    read in.

    Raises:
        InputError: `per_class` is below 1, or a class has fewer utterances.
    """
    if per_class < 1:
        raise InputError(
            f"dataset.per_class asks for {per_class} utterances of each class: a number from 1 was expected"
        )
    drawn: set[str] = set()
    for label, word in ((BONAFIDE, "bona fide"), (SPOOF, "spoof")):
        ids = sorted(u.id for u in utterances if u.label == label)
        if len(ids) < per_class:
            raise InputError(
                f"dataset.per_class asks for {per_class} {word} utterances, the partition has {len(ids)}: ask for fewer"
            )
        drawn.update(np.random.default_rng([seed, label]).permutation(ids)[:per_class].tolist())
    return [u for u in utterances if u.id in drawn]


def speaker_overlap(partitions: Mapping[str, Sequence[Utterance]]) -> dict[tuple[str, str], list[str]]:
    """Speakers that are in two partitions, by pair of partitions: their voices may be a cue to a detector."""
    speakers = {name: {u.speaker for u in us if u.speaker} for name, us in partitions.items()}
    return {(a, b): sorted(both) for a, b in combinations(speakers, 2) if (both := speakers[a] & speakers[b])}


def by_attack(utterances: Iterable[Utterance]) -> dict[str, int]:
    """Number of spoofed utterances per attack, in order of name."""
    return dict(sorted(Counter(u.attack or "?" for u in utterances if u.label == SPOOF).items()))


def write_manifest(path: Path, utterances: Sequence[Utterance]) -> None:
    """Write a CSV that `dataset=manifest` reads back, a column per condition; paths are made absolute."""
    conditions = list(dict.fromkeys(name for u in utterances for name in u.conditions))
    weighted = ["weight"] if any(u.weight != 1 for u in utterances) else []
    rows: list[Sequence[Any]] = [[*MANIFEST, *weighted, *conditions]]
    for u in utterances:
        place = u.path if is_address(u.path) else str(Path(u.path).absolute())
        own = [u.id, place, u.label, u.attack, u.speaker, u.partition]
        rows.append([*own, *(u.weight for _ in weighted), *(u.conditions.get(name, "") for name in conditions)])
    write_csv(path, rows)


def write_skipped(path: Path, skipped: Iterable[tuple[Utterance, str]]) -> None:
    """List the files that were skipped and why, as CSV."""
    header = ("utterance", "partition", "path", "error")
    write_csv(path, [header, *((u.id, u.partition, u.path, error) for u, error in skipped)])


def disambiguated(utterances: list[Utterance], root: Path | None = None) -> list[Utterance]:
    """Give the utterances whose file names collide (`real/1.wav`, `fake/1.wav`) ids made of their path below `root`.

    An id that is not that of the file name was given by somebody, and stays.

    Args:
        utterances: The utterances of a partition.
        root: None = the deepest folder that holds all those files.
    """
    times = Counter(u.id for u in utterances)
    colliding = [u for u in utterances if times[u.id] > 1 and u.id == Path(u.path).stem]
    if not colliding:
        return utterances
    base = root or os.path.commonpath([os.path.normpath(Path(u.path).absolute().parent) for u in colliding])
    new = {u: "-".join(Path(os.path.relpath(u.path, base)).with_suffix("").parts) for u in colliding}
    return [replace(u, id=new.get(u, u.id)) for u in utterances]


def number_of(text: str, what: str, where: str) -> float:
    """A finite number from 0 in a list.

    Raises:
        InputError: It is none; `where` names the file and line.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise InputError(f"{where}: {what} {text!r}: a number from 0 was expected")
    return value
