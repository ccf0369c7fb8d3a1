"""A column of the score table as numbers, and the hash by which evaluations of the same trials know each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepfake.datasets.protocol import utterance_keys
from deepfake.metrics.trials import Bools
from deepfake.scores.table import Scores


class Column(NamedTuple):
    """A column of texts as numbers, so that a group of rows is found without comparing texts.

    Attributes:
        names: The texts there are, sorted.
        codes: Of every row `[N]`, which of them it has.
    """

    names: list[str]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, values: Sequence[str], *, blank: str = "") -> Column:
        """The column of these texts, with `blank` for empty ones."""
        names = sorted({text or blank for text in set(values)})
        number = {name: i for i, name in enumerate(names)}
        number |= {"": number[blank]} if blank in number else {}
        return cls(names, np.fromiter(map(number.__getitem__, values), dtype=np.int64, count=len(values)))

    def at(self, rows: NDArray[np.intp]) -> Column:
        """Of these rows, in this order."""
        return Column(self.names, self.codes[rows])

    def groups(self, among: Bools) -> dict[str, Bools]:
        """Some of the rows by value, in order of value; those without one are in no group."""
        counts = np.bincount(self.codes[among], minlength=len(self.names))
        return {name: among & (self.codes == i) for i, name in enumerate(self.names) if counts[i] and name}


def trials_hash(scores: Scores, attacks: Column) -> str:
    """SHA-256 of the trials: two evaluations with the same one are of the same trials, in whatever order.

    Over the number of trials and the names of the attacks, in JSON; then three columns in the order of the ids' bytes:
    the ids without folder and extension (UTF-8, filled up with zeros to the longest), the labels, and which of the
    names each attack is (int32, little end first).
    """
    ids = np.array(list(map(str.encode, utterance_keys(scores.ids))))
    letters = ids.view(np.uint8).reshape(len(ids), -1)
    letters = letters[:, (letters != letters[0]).any(axis=0)]  # those that tell ids apart, often no more than 8
    words = np.zeros((len(ids), 1 + letters.shape[1] // 8), dtype=">u8")
    words.view(np.uint8)[:, : letters.shape[1]] = letters
    first, *others = words.astype(np.uint64).T  # numbers in the order of the bytes
    order = np.lexsort((*reversed(others), first)) if others else np.argsort(first)
    digest = hashlib.sha256(json.dumps([len(ids), *attacks.names]).encode())
    for column in (ids, scores.labels.astype("<i4"), attacks.codes.astype("<i4")):
        digest.update(column[order].tobytes())
    return digest.hexdigest()
