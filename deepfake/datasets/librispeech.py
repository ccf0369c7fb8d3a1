"""LibriSpeech: read speech, bona fide only (Panayotov et al., ICASSP 2015)."""

from __future__ import annotations

from collections.abc import Sequence

from deepfake.datasets.folder import audio_below
from deepfake.datasets.layout import NoPartition, base_of
from deepfake.datasets.protocol import complete
from deepfake.datasets.utterance import BONAFIDE, Utterance
from deepfake.errors import InputError

SUBSETS = {
    "train": {"train-clean-100": 28539, "train-clean-360": 104014, "train-other-500": 148688},
    "dev": {"dev-clean": 2703, "dev-other": 2864},
    "eval": {"test-clean": 2620, "test-other": 2939},
}


def utterances(partition: str, *, root: str, subsets: Sequence[str] | None = None) -> list[Utterance]:
    """Read the subsets of one partition: `train-*`, `dev-*` or, as eval, `test-*`. No speaker is in two of them.

    All of it is bona fide, so it is for mixing with a corpus that has spoofed speech. The condition is `subset`.

    Args:
        partition: `train`, `dev` or `eval`.
        root: The folder `LibriSpeech`, or the one above it.
        subsets: Which to read; None = those that are there.

    Raises:
        NoPartition: None of `subsets` is of this partition.
        InputError: The root or a subset is missing, or a subset is unknown.
    """
    known = [name for names in SUBSETS.values() for name in names]
    if unknown := [name for name in subsets or () if name not in known]:
        raise InputError(f"dataset.subsets={unknown[0]}: some of {', '.join(known)} were expected")
    base = base_of(root, known, inside=["LibriSpeech"], unpacks="the folder LibriSpeech that its archives unpack to")
    wanted = [name for name in SUBSETS[partition] if subsets is None or name in subsets]
    if not wanted:
        raise NoPartition(f"librispeech has no {partition} partition: none of dataset.subsets is of it")
    there = [name for name in wanted if (base / name).is_dir()]
    if not there or (subsets is not None and there != wanted):
        missing = [name for name in wanted if name not in there]
        raise InputError(f"{base} lacks {', '.join(missing)}, which partition {partition} is read from")
    found = []
    for name in there:
        listed = [
            Utterance(path.stem, str(path), BONAFIDE, "", path.stem.split("-")[0], partition, "", {"subset": name})
            for path in audio_below(base / name)
        ]
        found += complete(listed, SUBSETS[partition][name], "librispeech", name)
    return found
