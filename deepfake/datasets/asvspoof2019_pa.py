"""ASVspoof 2019 physical access: simulated replay attacks (Wang et al., Computer Speech and Language 2020)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from deepfake.datasets import asvspoof2019_la
from deepfake.datasets.corpus import Reader
from deepfake.datasets.protocol import complete
from deepfake.datasets.utterance import Utterance

TRIALS = {"train": (5400, 48600), "dev": (5400, 24300), "eval": (18090, 116640)}  # bona fide, spoof


def asv_scores(partition: str, *, root: str) -> Path | None:
    """The organisers' ASV score file of a partition, for t-DCF; None where there is none (as for train)."""
    return asvspoof2019_la.asv_scores(partition, root=root, track="PA")


@partial(Reader, asv_scores=asv_scores)
def utterances(partition: str, *, root: str) -> list[Utterance]:
    """Read one partition, driven by its protocol.

    An attack has two letters, for the attacker's distance and the quality of his loudspeaker (`AA` ... `CC`); condition
    `environment` has three, for room size, reverberation and the talker's distance (`aaa` ... `ccc`).

    Args:
        partition: `train`, `dev` or `eval`.
        root: The folder that `PA.zip` unpacks to, or the one or two above it.

    Raises:
        InputError: Root or protocol is missing, or a line is not `SPEAKER FILE ENVIRONMENT ATTACK KEY`.
    """
    listed = asvspoof2019_la.read("PA", partition, root)
    return complete(listed, TRIALS[partition], "asvspoof2019_pa", f"partition {partition}")
