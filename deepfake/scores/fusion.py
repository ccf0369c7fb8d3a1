"""Linear fusion of the scores of several systems on the same trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfake.datasets.protocol import NO_VALUE, utterance_keys
from deepfake.errors import InputError
from deepfake.metrics.bounds import supported
from deepfake.metrics.calibration import cross_validated
from deepfake.metrics.logistic import fit
from deepfake.scores.table import UNKNOWN, Scores


def aligned(systems: Mapping[str, Scores]) -> dict[str, Scores]:
    """The labelled trials that all systems scored, in the order of the first one's rows.

    A label, an attack or a further column that one file has is known to all; `llr` is each system's own.

    Args:
        systems: Score files by name; the order of their rows does not matter.

    Returns:
        By name, row by row of the same trials; those that no file has a label for are left out.

    Raises:
        InputError: One lacks trials that another has, or they disagree on a label: names the first few.
    """
    name, first = next(iter(systems.items()))
    keys, extras = utterance_keys(first.ids), {}
    labels, attacks = np.full(len(keys), UNKNOWN), [""] * len(keys)
    found: dict[str, Scores] = {}
    for other, scores in systems.items():
        place = {key: row for row, key in enumerate(utterance_keys(scores.ids))}
        absent, extra = [k for k in keys if k not in place], sorted(place.keys() - {*keys})
        for who, missing, whose in ((other, absent, name), (name, extra, other)):
            if missing:
                some = ", ".join(missing[:5])
                raise InputError(f"{who} lacks {len(missing)} of the utterances that {whose} has: {some}")
        found[other] = same = scores.at([place[k] for k in keys])
        clash = np.flatnonzero((labels != UNKNOWN) & (same.labels != UNKNOWN) & (labels != same.labels))
        if len(clash):
            some = ", ".join(keys[i] for i in clash[:5])
            raise InputError(f"{other} has another label than those before it for {len(clash)} utterances: {some}")
        labels = np.where(labels == UNKNOWN, same.labels, labels)
        attacks = [b if a in NO_VALUE else a for a, b in zip(attacks, same.attacks, strict=True)]
        extras = {n: column for n, column in same.extras.items() if n != "llr"} | extras
    known = np.flatnonzero(labels != UNKNOWN)
    if not len(known):
        raise InputError(f"{', '.join(systems)}: no utterance has a label; give protocol=FILE")
    for other, same in found.items():
        own = {n: column for n, column in same.extras.items() if n == "llr"}
        found[other] = Scores(first.ids, labels, attacks, same.scores, extras | own).at(known)
    return found


def fused(systems: Mapping[str, Scores], held: Mapping[str, Scores] | None) -> tuple[Scores, dict[str, Any]]:
    """Fuse systems into one log-likelihood ratio by prior-weighted logistic regression (`deepfake.metrics.logistic`).

    Args:
        systems: To be fused, by name.
        held: The same systems on other trials (dev), in the same order, to fit the weights on. Without it the trials to
            be fused are cross-validated: each gets the weights fitted on folds without it (and without its speaker).

    Returns:
        The fused scores, with a column `llr` of the same within the bounds, and what was done: `weights` by system,
        `offset`, `bounds`, `how`.
    """
    trials, scores = _stacked(systems)
    others, theirs = (trials, scores) if held is None else _stacked(held)
    weights, offset = fit(theirs, others.labels)
    bounds = supported(theirs @ weights + offset, others.labels)
    if held is None:
        values, llrs = (
            cross_validated(scores, trials.labels, groups=trials.speakers(), capped=capped) for capped in (False, True)
        )
        how = "The fused scores are cross-validated over these trials; the weights stated are those of all of them."
    else:
        values = scores @ weights + offset
        llrs = np.clip(values, *bounds)
        how = f"The weights were fitted on {len(others)} other trials: {', '.join(held)}."
    if n := int(np.sum(values != llrs)):
        how += f" {n} of {len(llrs)} likelihood ratios were beyond what the fit can support, and are capped."
    if negative := [name for name, weight in zip(systems, weights, strict=True) if weight < 0]:
        how += f" {', '.join(negative)}: the weight is negative; it may say what another says, or be turned round."
    fusion = {
        "weights": {name: float(weight) for name, weight in zip(systems, weights, strict=True)},
        "offset": float(offset),
        "bounds": list(bounds),
        "how": how,
    }
    extras = {**trials.extras, "llr": [repr(float(llr)) for llr in llrs]}
    return Scores(trials.ids, trials.labels, trials.attacks, values, extras), fusion


def _stacked(systems: Mapping[str, Scores]) -> tuple[Scores, NDArray[np.float64]]:
    """The trials, and the scores `[N, K]` of all K systems."""
    found = list(aligned(systems).values())
    return found[0], np.column_stack([scores.scores for scores in found])
