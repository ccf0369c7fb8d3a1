"""Plan of a corpus: which files are made of which recording, a pure function of recordings and settings."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator, default_rng

from deepfake.datasets.folder import audio_below
from deepfake.datasets.librispeech import SUBSETS
from deepfake.datasets.utterance import PARTITIONS
from deepfake.errors import InputError
from deepfake.synthesis.systems import EVAL_ONLY

NONE = "-"  # the system of files that are bona fide or have no spoofed stretch
LIBRISPEECH = {"LibriSpeech", *(name for names in SUBSETS.values() for name in names)}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of a generated corpus.

    Args:
        bonafide: Folder of real speech in any format, one folder per speaker; LibriSpeech as it is.
        output: Folder of the corpus.
        seed: Random seed, from 0.
        workers: Number of processes; None is one per core.
        shares: Shares of the speakers in train, dev and eval.
        spoofs: Number of spoofs of each bona fide utterance, by different systems as far as possible.
        eval_only: Systems that occur in eval alone.
        splices: Share of the recordings that go into `partial`, two thirds of them with a spoofed stretch.
        min_seconds, max_seconds: Shorter recordings are skipped, of longer ones a part is used.
        per_speaker: Number of recordings of each speaker, drawn at random; None is all.
        texts: File of sentences for TTS, one per line; None is the openings of a dozen old novels.
        vocoders: Neural vocoders, each `FILE.onnx` or `FILE.onnx:settings.json`.
        piper: Piper voices, each `VOICE.onnx` with `VOICE.onnx.json` beside it.

    Raises:
        InputError: A number is out of range.
    """

    bonafide: Path
    output: Path
    seed: int = 0
    workers: int | None = None
    shares: Sequence[float] = (60, 20, 20)
    spoofs: int = 3
    eval_only: Sequence[str] = EVAL_ONLY
    splices: float = 0.15
    min_seconds: float = 1.0
    max_seconds: float = 6.0
    per_speaker: int | None = None
    texts: Path | None = None
    vocoders: Sequence[str] = ()
    piper: Sequence[str] = ()

    def __post_init__(self) -> None:
        low, high = self.min_seconds, self.max_seconds
        shares_ok = len(self.shares) == 3 and all(0 < share < float("inf") for share in self.shares)
        seconds_ok = 0.5 <= low <= high / 2 < float("inf")
        right = {
            f"--seed {self.seed}: a number from 0": self.seed >= 0,
            f"--workers {self.workers}: a number from 1": self.workers is None or self.workers >= 1,
            f"--shares {' '.join(f'{s:g}' for s in self.shares)}: three numbers above 0": shares_ok,
            f"--spoofs {self.spoofs}: a number from 1": self.spoofs >= 1,
            f"--splices {self.splices:g}: a share from 0 to 0.9": 0 <= self.splices <= 0.9,
            f"--min-seconds {low:g}: from 0.5, and at most half of --max-seconds {high:g},": seconds_ok,
            f"--per-speaker {self.per_speaker}: a number from 1": self.per_speaker is None or self.per_speaker >= 1,
        }
        for sentence, is_right in right.items():
            if not is_right:
                raise InputError(f"{sentence} was expected")


@dataclass(frozen=True, slots=True)
class File:
    """One file to be made.

    Args:
        id: Name without folder and suffix.
        system: Spoofing system, `-` for none.
    """

    id: str
    system: str


@dataclass(frozen=True, slots=True)
class Source:
    """One recording and the files that are made of it.

    Args:
        path: Path relative to the folder of bona fide speech.
        speaker: Speaker's name in the corpus.
        folder: Speaker's folder among the recordings.
        partition: `train`, `dev` or `eval`.
        files: The recording and its spoofs in the LA layout; or one partially spoofed file, or an unmodified one for
            comparison.
        partial: Whether it is the latter.
    """

    path: str
    speaker: str
    folder: str
    partition: str
    files: tuple[File, ...]
    partial: bool = False


def generator(seed: int, *key: str) -> Generator:
    """Random generator of a key, independent of all other keys."""
    return default_rng([seed, *np.frombuffer(hashlib.sha256("\0".join(key).encode()).digest(), dtype=np.uint32)])


def recordings(folder: Path) -> dict[str, list[str]]:
    """The audio files of each speaker, relative to a folder with one folder per speaker.

    The folders of LibriSpeech's subsets are not taken for speakers.

    Raises:
        InputError: No such folder, no audio, audio outside of speakers' folders, or fewer speakers than partitions.
    """
    if not folder.is_dir():
        raise InputError(
            f"--bonafide {folder}: is not a folder: one with a folder of recordings per speaker was expected"
        )
    found: dict[str, list[str]] = defaultdict(list)
    for path in audio_below(folder):
        below = path.relative_to(folder)
        speaker = next((name for name in below.parts[:-1] if name not in LIBRISPEECH), None)
        if speaker is None:
            raise InputError(f"{path}: lies in no folder of a speaker: DIR/SPEAKER/FILE was expected")
        found[speaker].append(below.as_posix())
    if not found:
        raise InputError(f"--bonafide {folder}: holds no audio: a folder of recordings per speaker was expected")
    if len(found) < len(PARTITIONS):
        raise InputError(
            f"--bonafide {folder}: holds {len(found)} speaker{'s' * (len(found) > 1)} ({', '.join(sorted(found))}): at "
            f"least {len(PARTITIONS)} are needed, since no speaker is in two of {', '.join(PARTITIONS)}"
        )
    return dict(sorted(found.items()))


def partitioned(speakers: Sequence[str], shares: Sequence[float], seed: int) -> dict[str, str]:
    """The partition of each speaker, by shares of train, dev and eval; at least one in each."""
    n = len(speakers)
    dev, held_out = (min(max(1, round(n * share / sum(shares))), n - 2) for share in shares[1:])
    while dev + held_out > n - 1:
        dev, held_out = (dev - 1, held_out) if dev >= held_out else (dev, held_out - 1)
    shuffled = generator(seed, "speakers").permutation(np.array(sorted(speakers), dtype=object)).tolist()
    parts = ["dev"] * dev + ["eval"] * held_out + ["train"] * (n - dev - held_out)
    return dict(zip(shuffled, parts, strict=True))


def plan(
    found: Mapping[str, Sequence[str]],
    systems: Mapping[str, Sequence[str]],
    copies: Sequence[str],
    recipe: Recipe,
) -> list[Source]:
    """Plan the files of a corpus, in order of partition and path.

    Args:
        found: Recordings of each speaker, see `recordings`.
        systems: Spoofing systems of each partition.
        copies: Systems of which a stretch fits into the original, in time.
        recipe: Settings of the corpus.
    """
    seed, spoofs = recipe.seed, recipe.spoofs
    part_of = partitioned(list(found), recipe.shares, seed)
    number = {speaker: i for i, speaker in enumerate(found, start=1)}
    planned: list[Source] = []
    for partition in PARTITIONS:
        rng = generator(seed, "plan", partition)
        paths: list[tuple[str, str]] = []
        for speaker in (s for s in found if part_of[s] == partition):
            own = generator(seed, "recordings", speaker).permutation(np.array(found[speaker], dtype=object)).tolist()
            paths += [(speaker, path) for path in sorted(own[: recipe.per_speaker])]
        order = rng.permutation(len(paths)).tolist()
        n_spliced = min(round(recipe.splices * len(paths)), len(paths) - 1)
        all_of, fitting = list(systems[partition]), [s for s in systems[partition] if s in copies]
        names = rng.permutation((len(paths) - n_spliced) * (1 + spoofs)).tolist()
        made: list[Source] = []
        for place, index in enumerate(order):
            speaker, path = paths[index]
            voice = f"LA_{number[speaker]:04d}"
            if place < n_spliced:
                system = NONE if place % 3 == 2 else fitting[(place - place // 3) % len(fitting)]
                file = File(f"PS_{partition[0].upper()}_{place + 1:07d}", system)
                made.append(Source(path, voice, speaker, partition, (file,), partial=True))
                continue
            first = (place - n_spliced) * spoofs
            own = [NONE, *(all_of[(first + j) % len(all_of)] for j in range(spoofs))]
            files = tuple(File(f"LA_{partition[0].upper()}_{1000001 + names.pop()}", system) for system in own)
            made.append(Source(path, voice, speaker, partition, files))
        planned += sorted(made, key=lambda source: source.path)
    return planned
