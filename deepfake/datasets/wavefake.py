"""WaveFake: LJSpeech and JSUT through neural vocoders (Frank and Schönherr, NeurIPS Datasets and Benchmarks 2021)."""

from __future__ import annotations

import re
from pathlib import Path

from deepfake.datasets.folder import audio_below, bona_fide_below
from deepfake.datasets.layout import base_of
from deepfake.datasets.protocol import complete
from deepfake.datasets.split import split
from deepfake.datasets.utterance import SPOOF, Utterance

FOLDERS = ("ljspeech_*", "jsut_*", "common_voices_*")
TRIALS = (0, 117985)  # bona fide, spoof


def utterances(
    partition: str, *, root: str, real_root: str | None = None, train_share: float = 0.0, seed: int = 0
) -> list[Utterance]:
    """Read the corpus, or a part of it.

    An attack is the name of a folder (`ljspeech_melgan`). A sentence is in one partition with all its copies, by the
    file names; the two speakers are in every partition, so that the speaker is left empty.

    Args:
        partition: `eval`; `train` and `dev` too where `train_share` is above 0.
        root: The folder `generated_audio`, or the one above it.
        real_root: The bona fide speech that the corpus lacks: LJSpeech, JSUT, or a folder above both; every audio file
            below it is read.
        train_share: Share that goes to train; half of the rest is dev, half eval. 0 = all of it is eval.
        seed: Of that split.

    Raises:
        NoPartition: Train or dev without a split.
        InputError: A root is missing or holds no audio.
    """
    base = base_of(root, FOLDERS, inside=["generated_audio"], unpacks="the folder generated_audio of WaveFake")
    fakes = [
        Utterance(f"{folder.name}-{path.stem}", str(path), SPOOF, folder.name)
        for folder in sorted(d for pattern in FOLDERS for d in base.glob(pattern) if d.is_dir())
        for path in audio_below(folder)
    ]
    found = complete(fakes, TRIALS, "wavefake") + bona_fide_below(real_root, "wavefake")
    return split(found, partition, train_share=train_share, seed=seed, source="wavefake", group=_sentence)


def _sentence(utterance: Utterance) -> str:
    """`LJ001-0001` of `LJ001-0001.wav`, `LJ001-0001_gen.wav` and `LJ001-0001_generated.wav`."""
    return re.sub(r"_gen(erated)?$", "", Path(utterance.path).stem)
