"""Linear fusion of the scores of several systems on the same trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfake.errors import InputError
from deepfake.evaluation.scores import Scores, utterance_key
from deepfake.metrics.bounds import supported
from deepfake.metrics.calibration import cross_validated
from deepfake.metrics.logistic import fit


def aligned(systems: Mapping[str, Scores]) -> tuple[Scores, NDArray[np.float64]]:
    """The labelled trials that all systems scored, and their scores.

    Args:
        systems: Score files by name; the order of their rows does not matter.

    Returns:
        The first system's rows, without those that no file has a label for, and the scores `[N, K]` of all K systems.

    Raises:
        InputError: One lacks trials that another has, or they disagree on a label: names the first few.
    """
    name, first = next(iter(systems.items()))
    keys = [utterance_key(i) for i in first.ids]
    labels = first.labels.copy()
    columns = [first.scores]
    for other, scores in list(systems.items())[1:]:
        place = {utterance_key(i): row for row, i in enumerate(scores.ids)}
        for who, missing in ((other, [k for k in keys if k not in place]), (name, sorted(place.keys() - set(keys)))):
            if missing:
                raise InputError(f"{who} lacks {len(missing)} utterances that the other has: {', '.join(missing[:5])}")
        rows = np.array([place[k] for k in keys])
        theirs = scores.labels[rows]
        clash = np.flatnonzero((labels >= 0) & (theirs >= 0) & (labels != theirs))
        if len(clash):
            first_few = ", ".join(keys[i] for i in clash[:5])
            raise InputError(f"{name} and {other} disagree on the label of {len(clash)} utterances: {first_few}")
        labels = np.where(labels >= 0, labels, theirs)
        columns.append(scores.scores[rows])
    known = np.flatnonzero(labels >= 0)
    if not len(known):
        raise InputError(f"{', '.join(systems)}: no utterance has a label; give protocol=FILE")
    extras = {k: [v[i] for i in known] for k, v in first.extras.items() if k != "llr"}
    rows = [first.ids[i] for i in known], labels[known].tolist(), [first.attacks[i] for i in known]
    return Scores(*rows, first.scores[known], extras), np.column_stack(columns)[known]


def fused(systems: Mapping[str, Scores], held: Mapping[str, Scores] | None) -> tuple[Scores, dict[str, Any]]:
    """Fuse systems into one log-likelihood ratio by prior-weighted logistic regression (`deepfake.metrics.logistic`).

    Args:
        systems: To be fused, by name.
        held: The same systems on other trials (dev), in the same order, to fit the weights on. Without it the trials to
            be fused are cross-validated: each gets the weights fitted on folds without it (and without its speaker).

    Returns:
        The fused scores, with a column `llr`, and what was done: `weights` by system, `offset`, `bounds`, `how`.
    """
    trials, scores = aligned(systems)
    if held is None:
        weights, offset = fit(scores, trials.labels)
        low, high = supported(scores @ weights + offset, trials.labels)
        llrs = cross_validated(scores, trials.labels, groups=trials.speakers())
        how = "The fused scores are cross-validated over these trials; the weights stated are those of all of them."
    else:
        others, theirs = aligned(held)
        weights, offset = fit(theirs, others.labels)
        low, high = supported(theirs @ weights + offset, others.labels)
        llrs = np.clip(scores @ weights + offset, low, high)
        how = f"The weights were fitted on {len(others)} other trials: {', '.join(held)}."
    if negative := [name for name, weight in zip(systems, weights, strict=True) if weight < 0]:
        how += f" {', '.join(negative)} has a negative weight: it may say what another one says, or be turned round."
    extras = {**trials.extras, "llr": [repr(float(llr)) for llr in llrs]}
    fusion = {
        "weights": {name: float(weight) for name, weight in zip(systems, weights, strict=True)},
        "offset": float(offset),
        "bounds": [float(low), float(high)],
        "how": how,
    }
    return Scores(trials.ids, trials.labels.tolist(), trials.attacks, llrs, extras), fusion
