"""The keys of a score file, taken from a protocol: trials and scores joined by utterance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from deepfake.datasets.protocol import layout_of, read_protocol, utterance_keys
from deepfake.datasets.utterance import BONAFIDE, SPOOF, Utterance
from deepfake.errors import InputError
from deepfake.scores.table import COLUMNS, UNKNOWN, Scores, first_repeat

SUBSETS = {"progress": ("progress",), "eval": ("eval",), "hidden": ("hidden", "hidden_track")}


def keyed(scores: Scores, path: Path, protocol: Path, subset: str | None = None) -> tuple[Scores, list[str]]:
    """The scores of a protocol's trials, with its keys, attacks, speakers and conditions, in the scores' order.

    Args:
        scores: One for each trial of the subset, and none that is of no trial at all.
        path: Where they were read from, for messages.
        protocol: A file in any of `deepfake.datasets.protocol.LAYOUTS`.
        subset: `progress`, `eval`, `hidden` or `all`; None = `eval` for ASVspoof 2021, else all.

    Returns:
        The scores, and sentences that say which trials were selected.

    Raises:
        InputError: The protocol cannot be read, has no such subset, trials have no scores, scores have no trial, or
            both have a key for an utterance and not the same.
    """
    name, columns = layout_of(protocol)
    trials = read_protocol(protocol, columns)
    if twice := first_repeat(keys := utterance_keys([u.id for u in trials])):
        one, other = (trials[i] for i in twice)
        raise InputError(f"{other.where}: {other.id!r} is, but for folder and extension, {one.id!r} of {one.where}")
    everything = selected = dict(zip(keys, trials, strict=True))
    said = [f"{protocol.name}: {name}, {len(trials):,} trials."]
    if subset is not None or name.startswith("asvspoof2021"):
        selected, sentence = _subset(everything, subset or "eval", protocol)
        said.append(sentence)
    scored = {key: i for i, key in enumerate(utterance_keys(scores.ids))}
    _check_joined(selected, everything, scored, f"{path} and {protocol}")
    scores = scores.at([i for key, i in scored.items() if key in selected])
    listed = [selected[key] for key in scored if key in selected]
    theirs, own = np.array([UNKNOWN if u.label is None else u.label for u in listed]), scores.labels
    if len(wrong := np.flatnonzero((own != UNKNOWN) & (theirs != UNKNOWN) & (own != theirs))):
        first = _first([listed[i].id for i in wrong])
        raise InputError(f"{path} and {protocol}: {len(wrong):,} keys differ ({first}): one of the two files is wrong")
    labels = np.where(theirs == UNKNOWN, own, theirs).tolist()
    attacks = [
        "" if label == BONAFIDE else u.attack or attack
        for label, u, attack in zip(labels, listed, scores.attacks, strict=True)
    ]
    return Scores(scores.ids, labels, attacks, scores.scores, scores.extras | extras_of(listed)), said


def _subset(trials: dict[str, Utterance], subset: str, protocol: Path) -> tuple[dict[str, Utterance], str]:
    words = SUBSETS.get(subset, (subset,))
    selected = trials if subset == "all" else {k: u for k, u in trials.items() if u.conditions.get("subset") in words}
    if not selected:
        there = _subsets(trials.values())
        raise InputError(f"{protocol}: no trial is in subset {subset}; there are {there}: give one as subset=, or all")
    labels = Counter(u.label for u in selected.values())
    return selected, (
        f"{protocol.name}: subset {subset}, {len(selected):,} of the {len(trials):,} trials "
        f"({labels[BONAFIDE]:,} bona fide, {labels[SPOOF]:,} spoof)."
    )


def _check_joined(
    selected: Mapping[str, Utterance], everything: Mapping[str, Utterance], scored: Mapping[str, int], files: str
) -> None:
    missing, extra = [k for k in selected if k not in scored], [k for k in scored if k not in everything]
    problems = []
    if missing:
        problems.append(f"{len(missing):,} of {len(selected):,} trials have no score ({_first(missing)})")
    if extra:
        problems.append(f"{len(extra):,} of {len(scored):,} scores are of no trial ({_first(extra)})")
    if problems:
        other = f"; the scores are of the subsets {_subsets(everything[k] for k in scored if k in everything)}"
        other = other if len(selected) < len(everything) and len(extra) < len(scored) else ""
        raise InputError(f"{files}: {' and '.join(problems)}: the two must list the same utterances{other}")


def _first(ids: Sequence[str]) -> str:
    return ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")


def _subsets(trials: Iterable[Utterance]) -> str:
    counts = Counter(u.conditions.get("subset", "without a name") for u in trials)
    return ", ".join(f"{word} ({n:,})" for word, n in sorted(counts.items()))


def extras_of(trials: Sequence[Utterance]) -> dict[str, list[str]]:
    """A column for the speaker and each condition that any of them has."""
    names = dict.fromkeys(name for u in trials for name in u.conditions if name not in COLUMNS)
    extras = {"speaker": [u.speaker for u in trials]} | {n: [u.conditions.get(n, "") for u in trials] for n in names}
    return {name: column for name, column in extras.items() if any(column)}
