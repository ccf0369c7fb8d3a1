"""A corpus of plain folders: `{train,dev,eval}/{real,fake}/**`."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepfake.datasets.utterance import BONAFIDE, PARTITIONS, Utterance, disambiguated, label_of
from deepfake.errors import InputError

log = logging.getLogger(__name__)

SUFFIXES = (  # of what `deepfake.audio` decodes
    ".wav .wave .bwf .rf64 .w64 .flac .aif .aiff .aifc .au .snd .caf .sph .nist .mp3 .mp2 .mpga .ogg .oga .opus .spx "
    ".m4a .m4b .mp4 .m4v .mov .3gp .3g2 .aac .adts .webm .weba .mkv .mka .wma .asf .wmv .avi .ts .mts .m2ts .flv .amr"
)
AUDIO = frozenset(SUFFIXES.split())
CLASSES = ("real", "fake", "bonafide", "bona-fide", "bona_fide", "spoof")
SYNONYMS = {
    "train": ("train", "training"),
    "dev": ("dev", "val", "valid", "validation"),
    "eval": ("eval", "test", "testing"),
}


def utterances(partition: str, *, root: str, seed: int = 0, train_share: float = 0.8) -> list[Utterance]:
    """Read one partition of a folder corpus, any decodable format, classes named `real`/`fake` or `bonafide`/`spoof`.

    Where the root holds the class folders directly, a seeded stratified split gives `train_share` of each class to
    train; dev and eval are both the rest. With `train_share=0` that is everything, for the evaluation of a detector
    trained elsewhere.

    Args:
        partition: `train`, `dev` or `eval`.
        root: The folder.
        seed: Seed of the split, where the corpus has none.
        train_share: Share of each class that goes to train, where the corpus has no split.

    Raises:
        InputError: No root, no such partition in it, or no class folders.
    """
    base = Path(root)
    if not base.is_dir():
        raise InputError(
            f"dataset.root={base} is not a folder: give the one that holds train, dev and eval, or real and fake"
        )
    split = {p: d for p in PARTITIONS for name in SYNONYMS[p] if (d := base / name).is_dir()}
    if split:
        if partition not in split:
            raise InputError(f"{base} holds {', '.join(d.name for d in split.values())} but no {partition} folder")
        return disambiguated(_read(split[partition], partition), base)
    everything = disambiguated(_read(base, ""), base)
    chosen = []
    for label in (0, 1):
        ids = sorted(u.id for u in everything if u.label == label)
        cut = min(round(train_share * len(ids)), len(ids) - 1)  # at least one file of each class is held out
        order = np.random.default_rng([seed, label]).permutation(ids).tolist()
        chosen += order[:cut] if partition == "train" else order[cut:]
    keep = set(chosen)
    return [replace(u, partition=partition) for u in everything if u.id in keep]


def _read(folder: Path, partition: str) -> list[Utterance]:
    directories = [d for d in sorted(folder.iterdir()) if d.is_dir() and d.name.lower() in CLASSES]
    classes = {d: label_of(d.name, str(d)) for d in directories}
    if not classes:
        raise InputError(f"{folder} holds no class folders: real and fake (or bonafide and spoof) were expected")
    found = []
    for directory, label in classes.items():
        for path in audio_below(directory):
            below = path.relative_to(directory).parts
            attack = below[0] if label == 0 and len(below) > 1 else ""
            found.append(Utterance(path.stem, str(path), label, attack, "", partition))
    return found


def audio_below(folder: Path, *, say: bool = False) -> list[Path]:
    """Every audio file in a folder and those below it, in order of name; links are followed, each folder taken once.

    Links that lead nowhere are listed, so that whoever reads them names them; `._` files of macOS are left out.

    Args:
        folder: The folder.
        say: Whether the log says how many files are no audio.

    Raises:
        InputError: A folder cannot be listed.
    """
    found, taken, n_other = [], set(), 0
    for root, folders, names in os.walk(folder, followlinks=True, onerror=_unlisted):
        stat = Path(root).stat()
        if (stat.st_dev, stat.st_ino) in taken:
            folders.clear()
            continue
        taken.add((stat.st_dev, stat.st_ino))
        folders.sort()
        audio = [name for name in names if Path(name).suffix.lower() in AUDIO and not name.startswith("._")]
        found += [Path(root, name) for name in audio]
        n_other += len(names) - len(audio)
    if say and n_other:
        log.info("%s: %d files that are no audio are skipped", folder, n_other)
    return sorted(found)


def _unlisted(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise InputError(f"{error.filename}: cannot be listed ({error.strerror}); make the folder readable") from error


def bona_fide_below(real_root: str | None, source: str) -> list[Utterance]:
    """All audio below a folder as bona fide speech, for a corpus that has none of its own; nothing without a folder.

    Raises:
        InputError: No such folder, or no audio in it.
    """
    if not real_root:
        log.info("%s has no bona fide speech of its own: dataset.real_root=DIR adds some", source)
        return []
    base = Path(real_root).expanduser()
    found = [Utterance(path.stem, str(path), BONAFIDE) for path in audio_below(base)]
    if not found:
        raise InputError(f"dataset.real_root={real_root} holds no audio: a folder of bona fide speech was expected")
    return disambiguated(found, base)
