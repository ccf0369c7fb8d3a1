"""In-the-Wild: speech of public persons and deepfakes of them, from the web (Müller et al., Interspeech 2022)."""

from __future__ import annotations

from dataclasses import replace

from deepfake.datasets.layout import base_of
from deepfake.datasets.protocol import LAYOUTS, complete, read_protocol, utterance_key
from deepfake.datasets.split import split
from deepfake.datasets.utterance import Utterance

TRIALS = (19963, 11816)  # bona fide, spoof


def utterances(partition: str, *, root: str, train_share: float = 0.0, seed: int = 0) -> list[Utterance]:
    """Read the corpus, or a part of it in which no speaker is that is in another.

    Args:
        partition: `eval`; `train` and `dev` too where `train_share` is above 0.
        root: The folder `release_in_the_wild`, with `meta.csv` and the audio in it, or the one above it.
        train_share: Share that goes to train; half of the rest is dev, half eval. 0 = all of it is eval.
        seed: Of that split.

    Raises:
        NoPartition: Train or dev without a split.
        InputError: Root or `meta.csv` is missing, or a line of it is not `file,speaker,label`.
    """
    inside, archive = ["release_in_the_wild"], "the folder that release_in_the_wild.zip unpacked to"
    base = base_of(root, ["meta.csv"], inside=inside, unpacks=archive)
    listed = complete(read_protocol(base / "meta.csv", LAYOUTS["in_the_wild"]), TRIALS, "in_the_wild")
    found = [replace(u, id=utterance_key(u.id), path=str(base / u.id)) for u in listed]
    return split(found, partition, train_share=train_share, seed=seed, source="in_the_wild")
