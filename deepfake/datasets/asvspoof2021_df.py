"""ASVspoof 2021 deepfake: speech of three corpora, compressed as on social media (Liu et al., IEEE/ACM TASLP 2023)."""

from __future__ import annotations

from deepfake.datasets import asvspoof2021_la
from deepfake.datasets.utterance import Utterance

TRIALS = {"eval": (14869, 519059), "progress": (5768, 53558), "hidden": 18575, "all": 611829}


def utterances(partition: str, *, root: str, keys: str | None = None, subset: str = "eval") -> list[Utterance]:
    """Read the evaluation set, which is all there is: training is on ASVspoof 2019.

    Conditions are `codec`, `source` (corpus), `trim`, `subset`, `vocoder`, and of the voice conversion challenges
    `task`, `team`, `gender_pair` and `language`.

    Args:
        partition: `eval`.
        root: The folder that the four archives unpack to, or the one above it; with the keys in it, beside it or in
            `keys`.
        keys: `trial_metadata.txt` of the archive `DF-keys-full`, or a folder that holds it.
        subset: `eval`, that of the published results; `progress`; `hidden`; or `all`.

    Raises:
        NoPartition: Train or dev.
        InputError: Root or keys are missing, the subset is unknown, a line of the keys is not theirs.
    """
    return asvspoof2021_la.read("DF", partition, root, keys, subset, TRIALS)
