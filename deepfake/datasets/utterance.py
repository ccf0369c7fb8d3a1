"""The record that every corpus yields, and what is done with lists of them."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from deepfake.atomic import write_atomically
from deepfake.errors import InputError

BONAFIDE, SPOOF = 1, 0
PARTITIONS = ("train", "dev", "eval")
MANIFEST = ("id", "path", "label", "attack", "speaker", "partition")
LABEL_WORDS = {"spoof": SPOOF, "fake": SPOOF, "0": SPOOF} | dict.fromkeys(
    ("bonafide", "bona-fide", "bona_fide", "real", "genuine", "1"), BONAFIDE
)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One audio file of a corpus and what is known of it.

    Args:
        id: The corpus's own name for it (no folder, no extension), unique within a partition.
        path: Where the audio is.
        label: 1 = bona fide, 0 = spoof, None = unknown.
        attack: The spoofing system (`A07`), `""` for bona fide speech or where unknown.
        speaker: `""` where the corpus does not say.
        partition: `train`, `dev` or `eval`.
        where: The file and line that list it, for messages.
        conditions: What else the corpus says of it, by name (`codec`, `transmission`, `language` ...); what it does not
            say is left out. Reports have a table for each.
        weight: How often it is drawn in training, beside the others.
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
    """Label that a key word stands for: 1 bona fide, 0 spoof.

    Raises:
        InputError: The word is none of the known keys; `where` says the file and line.
    """
    try:
        return LABEL_WORDS[word.strip().lower()]
    except KeyError:
        raise InputError(f"{where}: unknown key {word!r}; one of {sorted(LABEL_WORDS)} was expected") from None


def unique(utterances: Iterable[Utterance], source: str) -> list[Utterance]:
    """The same list, after checking that it is not empty and no id stands in it twice.

    Raises:
        InputError: Names the first such id and where it is listed.
    """
    seen: dict[str, Utterance] = {}
    for u in (utterances := list(utterances)):
        if u.id in seen:
            places = " and ".join(p for p in (seen[u.id].where, u.where) if p) or f"{seen[u.id].path} and {u.path}"
            raise InputError(f"{source}: utterance {u.id} is listed twice, in {places}")
        seen[u.id] = u
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
    """Those whose audio is not there; a folder is listed once rather than a file asked for once per utterance."""
    listed: dict[str, set[str]] = {}
    missing = []
    for u in utterances:
        folder, name = os.path.split(u.path)
        if folder not in listed:
            listed[folder] = {e.name for e in os.scandir(folder or ".")} if Path(folder or ".").is_dir() else set()
        if name not in listed[folder]:
            missing.append(u)
    return missing


def subset(utterances: Sequence[Utterance], per_class: int, seed: int) -> list[Utterance]:
    """Balanced subset: `per_class` utterances of each label, drawn without replacement, kept in corpus order.

    The draw depends on the seed and the ids alone, so that the same subset comes out whatever order the corpus was
    read in.

    Raises:
        InputError: A class has fewer utterances than asked for.
    """
    if per_class < 1:
        raise InputError(
            f"dataset.per_class asks for {per_class} utterances of each class: a number from 1 was expected"
        )
    chosen: set[str] = set()
    for label, word in ((BONAFIDE, "bona fide"), (SPOOF, "spoof")):
        ids = sorted(u.id for u in utterances if u.label == label)
        if len(ids) < per_class:
            raise InputError(
                f"dataset.per_class asks for {per_class} {word} utterances, the partition has {len(ids)}: ask for fewer"
            )
        chosen.update(np.random.default_rng([seed, label]).permutation(ids)[:per_class].tolist())
    return [u for u in utterances if u.id in chosen]


def speaker_overlap(partitions: Mapping[str, Sequence[Utterance]]) -> dict[tuple[str, str], list[str]]:
    """Speakers that stand in two partitions, by pair of partitions: a detector may then have learnt the voice."""
    speakers = {name: {u.speaker for u in us if u.speaker} for name, us in partitions.items()}
    names = list(speakers)
    pairs = ((a, b) for i, a in enumerate(names) for b in names[i + 1 :])
    return {(a, b): sorted(both) for a, b in pairs if (both := speakers[a] & speakers[b])}


def by_attack(utterances: Iterable[Utterance]) -> dict[str, int]:
    """Number of spoofed utterances per attack, in order of name."""
    return dict(sorted(Counter(u.attack or "?" for u in utterances if u.label == SPOOF).items()))


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write a CSV that `dataset=manifest` reads back, a column per condition; paths are made absolute."""
    utterances = list(utterances)
    conditions = list(dict.fromkeys(name for u in utterances for name in u.conditions))
    weighted = ["weight"] if any(u.weight != 1 for u in utterances) else []
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*MANIFEST, *weighted, *conditions])
    for u in utterances:
        label = "" if u.label is None else u.label
        own = [u.id, str(Path(u.path).absolute()), label, u.attack, u.speaker, u.partition]
        writer.writerow([*own, *(u.weight for _ in weighted), *(u.conditions.get(name, "") for name in conditions)])
    write_atomically(path, text.getvalue())


def write_skipped(path: Path, skipped: Iterable[tuple[Utterance, str]]) -> None:
    """List the files that were passed over and why, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("utterance", "partition", "path", "error"))
    writer.writerows((u.id, u.partition, u.path, error) for u, error in skipped)
    write_atomically(path, text.getvalue())


def disambiguated(utterances: list[Utterance], root: Path) -> list[Utterance]:
    """Give the utterances whose file names collide (`real/1.wav`, `fake/1.wav`) ids made of their path below `root`."""
    groups: dict[str, list[Utterance]] = defaultdict(list)
    for u in utterances:
        groups[u.id].append(u)
    out = []
    for u in utterances:
        if len(groups[u.id]) > 1:
            below = Path(u.path).relative_to(root)
            u = replace(u, id="-".join(below.with_suffix("").parts))
        out.append(u)
    return out
