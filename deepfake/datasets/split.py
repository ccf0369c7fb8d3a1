"""Seeded splits of corpora that were published without one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from deepfake.datasets.layout import NoPartition
from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError


def split(
    utterances: Sequence[Utterance],
    partition: str,
    *,
    train_share: float,
    seed: int,
    source: str,
    group: Callable[[Utterance], str] = lambda u: u.speaker or u.id,
) -> list[Utterance]:
    """One partition: `train_share` of the corpus, or half of what that leaves (dev, eval).

    A group is in one partition only, so that no speaker is in two. Groups are drawn by their names and the seed alone,
    stratified by their classes, so that each partition has its share of every class as far as the sizes of the groups
    allow.

    Args:
        utterances: The whole corpus.
        partition: `train`, `dev` or `eval`.
        train_share: Share of train, from 0 (all is eval) to below 1.
        seed: Seed of the split, from 0.
        source: The corpus, for messages.
        group: Group of an utterance: by default its speaker, or its own id where the speaker is unknown.

    Raises:
        NoPartition: Train or dev of a corpus that is not split.
        InputError: Share or seed is out of range.
    """
    if not 0 <= train_share < 1 or seed < 0:
        raise InputError(
            f"dataset.train_share={train_share} dataset.seed={seed}: a share from 0 to below 1 and a seed from 0 are "
            "wanted"
        )
    if train_share == 0:
        if partition != "eval":
            raise NoPartition(
                f"{source} was published without a split, all of it is eval: dataset.train_share=0.8 makes a seeded one"
            )
        return [replace(u, partition=partition) for u in utterances]
    names = [group(u) for u in utterances]
    classes: dict[str, set[str]] = defaultdict(set)
    for name, u in zip(names, utterances, strict=True):
        classes[name].add(str(u.label))
    strata: dict[str, list[str]] = defaultdict(list)
    for name in sorted(classes):
        strata[" ".join(sorted(classes[name]))].append(name)
    sizes, chosen = Counter(names), {}
    for number, stratum in enumerate(sorted(strata)):
        total, before = sum(sizes[name] for name in strata[stratum]), 0
        for i in np.random.default_rng([seed, number]).permutation(len(strata[stratum])):
            name = strata[stratum][i]
            middle = (before + sizes[name] / 2) / total
            chosen[name] = "train" if middle < train_share else "dev" if middle < (1 + train_share) / 2 else "eval"
            before += sizes[name]
    return [
        replace(u, partition=partition) for name, u in zip(names, utterances, strict=True) if chosen[name] == partition
    ]
