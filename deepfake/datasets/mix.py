"""A mix of several corpora, drawn in training in proportion to their weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from deepfake.datasets.corpus import Answer, Corpus, Reader, Segments
from deepfake.datasets.layout import NoPartition
from deepfake.datasets.utterance import PARTITIONS, SPOOF, Utterance
from deepfake.errors import InputError

log = logging.getLogger(__name__)


def segments(partition: str, **settings: Any) -> Segments | None:
    """The spoofed stretches of the parts, None where no part has any.

    Beside a part that has them, the labels of one without are taken as they are: a bona fide utterance has no spoofed
    stretch, a spoofed one is spoofed from end to end.
    """
    known = _answers(Corpus.segments, partition, **settings)
    if all(stretches is None for stretches in known.values()):
        return None
    found = {}
    for name, listed in _answers(Corpus.read, partition, **settings).items():
        if (stretches := known[name]) is None:
            labelled = [u for u in listed if u.label is not None]
            stretches = {u.id: [(0.0, math.inf, u.attack)] * (u.label == SPOOF) for u in labelled}
        found |= {f"{name}-{own}": spoofed for own, spoofed in stretches.items()}
    return found


def asv_scores(partition: str, **settings: Any) -> Path | None:
    """The one ASV score file of the parts for a partition, None where they have none.

    The t-DCF is of a countermeasure before one ASV system. Parts without ASV scores are counted as if they stood before
    the same one, and a warning is logged. Where parts have different ones there is no t-DCF, with a warning too.
    """
    files = _answers(Corpus.asv_scores, partition, **settings)
    have = [name for name, file in files.items() if file is not None]
    lack = [name for name in files if name not in have]
    if len({files[name] for name in have}) > 1:
        log.warning("the mix has no t-DCF: its parts %s have ASV scores of their own", ", ".join(have))
        return None
    if have and lack:
        log.warning("the t-DCF of the mix takes the ASV scores of %s for %s too", ", ".join(have), ", ".join(lack))
    return files[have[0]] if have else None


@partial(Reader, segments=segments, asv_scores=asv_scores)
def utterances(
    partition: str,
    *,
    parts: Mapping[str, Corpus],
    weights: Mapping[str, float] | None = None,
    partitions: Mapping[str, Sequence[str]] | None = None,
) -> list[Utterance]:
    """Read one partition of every part, one part after the other.

    An id is `<part>-<id in the part>`, and condition `corpus` is the part. Attacks keep their names: `A07` of two parts
    counts as one attack.

    Training draws from a part in proportion to its weight, whatever its size, and within it each utterance equally
    often (or by the part's own weights): with weights 1 and 0.5, two of three utterances are of the first part. This
    holds for the whole partition; in a subset (`per_class`) the shares hold on average, and only as far as the parts
    have equally many of each class. Dev and eval hold each utterance once.

    Args:
        partition: `train`, `dev` or `eval`.
        parts: The corpora by name.
        weights: Weights of the parts, from 0; 1 where not given.
        partitions: The partitions that are taken of a part; all three where not given.

    Raises:
        NoPartition: The partition is taken of no part.
        InputError: There are no parts, a name or weight cannot be used, or a part does not have the partition.
    """
    found = _answers(Corpus.read, partition, parts, weights, partitions)
    weights = weights or {}
    n, total = sum(map(len, found.values())), sum(weights.get(name, 1.0) for name in found)
    out = []
    for name, listed in found.items():
        own = sum(u.weight for u in listed)
        scale = weights.get(name, 1.0) / total * (n / own) if own and total else 0.0
        out += [
            replace(u, id=f"{name}-{u.id}", weight=scale * u.weight, conditions={**u.conditions, "corpus": name})
            for u in listed
        ]
    return out


def _answers(
    question: Callable[[Corpus, str], Answer],
    partition: str,
    parts: Mapping[str, Corpus],
    weights: Mapping[str, float] | None = None,
    partitions: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Answer]:
    """The answer of each part that a partition is taken of; its errors name the part."""
    partitions = partitions or {}
    _check(parts, weights or {}, partitions)
    taken = {name: part for name, part in parts.items() if partition in partitions.get(name, PARTITIONS)}
    if not taken:
        raise NoPartition(f"the mix has no {partition} partition: dataset.partitions takes it of no part")
    found = {}
    for name, part in taken.items():
        try:
            found[name] = question(part, partition)
        except NoPartition as error:
            others = ", ".join(p for p in PARTITIONS if p != partition)
            raise InputError(
                f"part {name}: {error}; or leave it out of this partition: 'dataset.partitions={{{name}: [{others}]}}'"
            ) from error
        except InputError as error:
            raise InputError(f"part {name}: {error}") from error
    return found


def _check(parts: Mapping[str, object], weights: Mapping[str, float], partitions: Mapping[str, Sequence[str]]) -> None:
    if not parts:
        raise InputError("the mix has no parts: add some as +dataset@dataset.parts.NAME=CORPUS")
    for name in parts:
        if not name.isidentifier():  # no hyphen: it ends the name in an id, so that no two ids are the same
            raise InputError(f"dataset.parts.{name}: a name of letters, digits and _ was expected")
    for key, given in (("weights", weights), ("partitions", partitions)):
        if unknown := [name for name in given if name not in parts]:
            raise InputError(f"dataset.{key}.{unknown[0]}: there is no such part, the parts are {', '.join(parts)}")
    for name, weight in weights.items():
        if not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise InputError(f"dataset.weights.{name}={weight}: a number from 0 was expected")
    for name, some in partitions.items():
        if isinstance(some, str) or not set(some) <= set(PARTITIONS):
            raise InputError(f"dataset.partitions.{name}={some}: a list of {', '.join(PARTITIONS)} was expected")
