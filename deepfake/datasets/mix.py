"""Several corpora as one, each drawn as often in training as its weight says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from deepfake.datasets.layout import NoPartition, check_partition
from deepfake.datasets.utterance import PARTITIONS, Utterance
from deepfake.errors import InputError


def utterances(
    partition: str,
    *,
    parts: Mapping[str, Callable[[str], Iterable[Utterance]]],
    weights: Mapping[str, float] | None = None,
    partitions: Mapping[str, Sequence[str]] | None = None,
) -> list[Utterance]:
    """Read one partition of every part, one part after the other.

    An id is `<part>-<id in the part>`, and condition `corpus` is the part. Attacks keep their names: what two parts
    call `A07` counts as one.

    Training draws a part in proportion to its weight, whatever its size, and within it each utterance as often as the
    others (or as the part's own weights say): with weights 1 and 0.5, two of three utterances are of the first part.
    That is of the whole partition: where `per_class` takes a subset, the shares are those only on average, and only as
    far as the parts have as much of each class. Dev and eval are everything there is, once.

    Args:
        partition: `train`, `dev` or `eval`.
        parts: The corpora by name, each `corpus(partition)`.
        weights: Of the parts, from 0; 1 where not given.
        partitions: For a part, which partitions are taken of it; all three where not given.

    Raises:
        NoPartition: It is taken of no part.
        InputError: There are no parts, a name or weight cannot be used, or a part does not have the partition.
    """
    check_partition(partition)
    weights, partitions = weights or {}, partitions or {}
    _check(parts, weights, partitions)
    taken = {name: part for name, part in parts.items() if partition in partitions.get(name, PARTITIONS)}
    if not taken:
        raise NoPartition(f"the mix has no {partition} partition: dataset.partitions takes it of no part")
    found = {name: _read(name, part, partition) for name, part in taken.items()}
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


def _read(name: str, part: Callable[[str], Iterable[Utterance]], partition: str) -> list[Utterance]:
    try:
        return list(part(partition))
    except NoPartition as error:
        others = ", ".join(p for p in PARTITIONS if p != partition)
        raise InputError(
            f"part {name}: {error}; or leave it out of this partition: 'dataset.partitions={{{name}: [{others}]}}'"
        ) from error
    except InputError as error:
        raise InputError(f"part {name}: {error}") from error
