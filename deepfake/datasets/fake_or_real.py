"""Fake-or-Real: speech of many corpora and of text-to-speech services (Reimao and Tzerpos, SpeD 2019)."""

from __future__ import annotations

from deepfake.datasets import folder
from deepfake.datasets.layout import base_of
from deepfake.datasets.protocol import complete
from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError

VARIANTS: dict[str, tuple[tuple[str, ...], dict[str, int]]] = {  # names of the folder; trials of each partition
    "for-original": (("for-original",), {}),
    "for-norm": (("for-norm",), {"train": 53868, "dev": 10798, "eval": 4634}),
    "for-2sec": (("for-2sec", "for-2seconds"), {"train": 13956, "dev": 2826, "eval": 1088}),
    "for-rerec": (("for-rerec", "for-rerecorded"), {"train": 10208, "dev": 2244, "eval": 816}),
}


def utterances(partition: str, *, root: str, variant: str = "for-norm") -> list[Utterance]:
    """Read one partition of a variant.

    Args:
        partition: `train`, `dev` or `eval`: the folders `training`, `validation` and `testing`.
        root: The folder that the archive was unpacked in: it holds `for-norm` or is that folder.
        variant: `for-original`; `for-norm`, balanced in gender and class, at one rate and loudness; `for-2sec`, that
            cut to 2 s; `for-rerec`, that played and recorded again.

    Raises:
        InputError: The variant is unknown, or not there.
    """
    if variant not in VARIANTS:
        raise InputError(f"dataset.variant={variant}: one of {', '.join(VARIANTS)} was expected")
    names, trials = VARIANTS[variant]
    inside = [*names, *(f"{outer}/{inner}" for outer in names for inner in names)]
    given = f"the folder {' or '.join(names)} or the one that holds it"
    base = base_of(root, ("training", "validation", "testing"), inside=inside, unpacks=given)
    if base.name not in names:
        raise InputError(
            f"{base} may be any variant, as its name is not {' or '.join(names)}: rename it or set variant"
        )
    found = folder.utterances(partition, root=str(base))
    return complete(found, trials.get(partition), "fake_or_real", f"{variant}, partition {partition}")
