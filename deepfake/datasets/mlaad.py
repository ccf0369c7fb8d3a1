"""MLAAD: text-to-speech systems in many languages (Müller et al., IJCNN 2024)."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

from deepfake.datasets.folder import audio_below, bona_fide_below
from deepfake.datasets.layout import base_of
from deepfake.datasets.protocol import warn_incomplete
from deepfake.datasets.split import split
from deepfake.datasets.utterance import SPOOF, Utterance

log = logging.getLogger(__name__)

CLIPS = 1000  # of each system in each language; how many of those depends on the version


def utterances(
    partition: str, *, root: str, real_root: str | None = None, train_share: float = 0.0, seed: int = 0
) -> list[Utterance]:
    """Read the corpus, or a part of it. It grows from version to version: a result should name the version.

    An attack is the name of a system's folder; the condition is `language`. The speakers of the systems are unknown.

    Args:
        partition: `eval`; `train` and `dev` too where `train_share` is above 0.
        root: The folder that holds `fake`, laid out as `fake/<language>/<system>/*.wav`.
        real_root: The bona fide speech that the corpus lacks, best the M-AILABS Speech Dataset that its texts are from,
            whose folders (`en_US/by_book/female/mary_ann/...`) name language and speaker; every audio file below it is
            read.
        train_share: Share that goes to train; half of the rest is dev, half eval. 0 = all of it is eval.
        seed: Of that split, which keeps the speakers of the bona fide speech apart.

    Raises:
        NoPartition: Train or dev without a split.
        InputError: A root is missing or holds no audio.
    """
    fake = base_of(root, ["fake/*/*"], unpacks="the folder that holds fake/<language>/<system> of MLAAD") / "fake"
    fakes = []
    for folder in sorted(d for d in fake.glob("*/*") if d.is_dir()):
        language, conditions = folder.parent.name, {"language": folder.parent.name}
        fakes += [
            Utterance(f"{language}-{folder.name}-{path.stem}", str(path), SPOOF, folder.name, conditions=conditions)
            for path in audio_below(folder)
        ]
    sizes = Counter((u.conditions["language"], u.attack) for u in fakes)
    log.info("mlaad: %d clips in %d folders", len(fakes), len(sizes))
    if short := [f"{language}/{system}" for (language, system), n in sizes.items() if n < CLIPS]:
        some = f"{len(short)} of {len(sizes)} folders ({short[0]} ...)"
        warn_incomplete(
            "mlaad", f"mlaad: {some} hold fewer than the {CLIPS:,} clips that were published of each: a part of it"
        )
    real = [_described(u) for u in bona_fide_below(real_root, "mlaad")]
    return split(fakes + real, partition, train_share=train_share, seed=seed, source="mlaad")


def _described(utterance: Utterance) -> Utterance:
    """With language and speaker from its path, where that is M-AILABS's; its `mix` is of several speakers."""
    parts = Path(utterance.path).parts
    at = parts.index("by_book") if "by_book" in parts else len(parts)
    if not 0 < at < len(parts) - 3:
        return utterance
    speaker = "" if parts[at + 1] == "mix" else parts[at + 2]
    return replace(utterance, speaker=speaker, conditions={"language": parts[at - 1].split("_")[0]})
