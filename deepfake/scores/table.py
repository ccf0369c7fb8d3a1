"""The score file: the joint between computing scores and evaluating them, and the organisers' ASV score files."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfake.atomic import restored, write_csv
from deepfake.datasets.protocol import cells_of, columns_of, named_columns, read_text, utterance_keys
from deepfake.errors import InputError
from deepfake.metrics.trials import Trials

COLUMNS = ("utterance", "label", "attack", "score")
UNKNOWN = -1
LABELS = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "": UNKNOWN}
DECIMAL_COMMA = re.compile(r"[\s;|][-+]?\d*,\d+(e[-+]?\d+)?(?=[\s;|]|$)", re.IGNORECASE)
PRINTED = re.compile(r"[\s,;|](\[+[-+.\de]*[\],]|tensor\(|array\()")


class Scores:
    """Scored utterances of one partition, row by row as they stand in the file.

    Args:
        ids: Utterance ids, N of them; to `utterance_key` none may be empty and no two the same.
        labels: `[N]`, 1 = bona fide, 0 = spoof; `None` or -1 where unknown.
        attacks: N names of spoofing systems, `""` or `-` for bona fide speech or where unknown.
        scores: `[N]`, larger = more bona fide.
        extras: Further columns by name (`speaker`, `codec` ...), N texts each.

    Raises:
        InputError: Lengths differ, nothing is there, an id is empty or there twice, a score is not finite, a label is
            not a label.
    """

    def __init__(
        self,
        ids: Iterable[str],
        labels: Iterable[int | None] | NDArray[np.int64],
        attacks: Iterable[str],
        scores: ArrayLike,
        extras: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self.ids, self.attacks = list(ids), list(attacks)
        if not isinstance(labels, np.ndarray):
            labels = np.array([UNKNOWN if label is None else label for label in labels], dtype=object)
        self.scores = np.asarray(scores, dtype=np.float64).reshape(-1)
        self.extras = {name: list(column) for name, column in (extras or {}).items()}
        columns = {"labels": labels, "attacks": self.attacks, "scores": self.scores, **self.extras}
        if not self.ids:
            raise InputError("there are no scores: not one utterance")
        if wrong := {name: len(column) for name, column in columns.items() if len(column) != len(self)}:
            raise InputError(f"got {len(self)} ids and {wrong}: every column must be as long")
        if reserved := set(COLUMNS) & set(self.extras):
            raise InputError(f"{sorted(reserved)} cannot be extra columns: they are the score file's own")
        distinct = {*(keys := utterance_keys(self.ids))}
        if "" in distinct:
            raise InputError(f"utterance {keys.index('') + 1} of {len(self)} has no id: {self.ids[keys.index('')]!r}")
        if len(distinct) < len(keys) and (twice := first_repeat(keys)):
            one, other = (self.ids[i] for i in twice)
            raise InputError(f"utterances {one!r} and {other!r} have the same id without folder and extension")
        if not (known := (labels == 1) | (labels == 0) | (labels == UNKNOWN)).all():
            i = int(np.argmin(known))
            raise InputError(
                f"utterance {self.ids[i]!r} has label {labels[i]}: 1 (bona fide), 0 (spoof) or None was expected"
            )
        if not (finite := np.isfinite(self.scores)).all():
            i = int(np.argmin(finite))
            raise InputError(f"utterance {self.ids[i]!r} has score {self.scores[i]}: a finite number was expected")
        self.labels = labels.astype(np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def ranked(self) -> NDArray[np.intp]:
        """The rows that have a label, in order of rising score: found once, since what sorts sorted scores is quick."""
        known = np.flatnonzero(self.labels >= 0)
        return known[np.argsort(self.scores[known], kind="stable")]

    @cached_property
    def trials(self) -> Trials:
        """The trials of these rows."""
        return Trials.unchecked(self.scores[self.ranked], self.labels[self.ranked] == 1)

    def at(self, rows: Sequence[int] | NDArray[np.integer]) -> Scores:
        """These rows, in this order."""
        ids, attacks = ([column[i] for i in rows] for column in (self.ids, self.attacks))
        extras = {name: [column[i] for i in rows] for name, column in self.extras.items()}
        return Scores(ids, self.labels[rows], attacks, self.scores[rows], extras)

    def speakers(self) -> list[str] | None:
        """N names to keep trials of a speaker together by; who is not named is alone.

        None where nobody is named, or a class has but one speaker, so that there is nothing to keep apart.
        """
        names = self.extras.get("speaker", [])
        column = [name or f"\0{i}" for i, name in enumerate(names)]
        of_class = ({column[i] for i in np.flatnonzero(self.labels == label)} for label in (0, 1))
        return column if any(names) and all(len(speakers) != 1 for speakers in of_class) else None


class AsvScores(NamedTuple):
    """Scores of a speaker verifier (larger = more like the claimed speaker), in the order of `asv_operating_point`."""

    target: NDArray[np.float64]
    nontarget: NDArray[np.float64]
    spoof: NDArray[np.float64]


KINDS = {kind: code for code, kind in enumerate(AsvScores._fields)}


def by_kind(scores: NDArray[np.float64], kinds: Sequence[str]) -> AsvScores:
    """The scores `[N]` of trials of these kinds, N of them, apart."""
    codes = np.fromiter(map(KINDS.__getitem__, kinds), dtype=np.int8, count=len(kinds))
    return AsvScores(*(scores[codes == code] for code in KINDS.values()))


def write_scores(path: str | Path, scores: Scores) -> None:
    """Write a score file that `read_scores` gives back unchanged, to the last bit of every score."""
    columns = {
        "utterance": scores.ids,
        "label": ["" if label == UNKNOWN else int(label) for label in scores.labels],
        "attack": scores.attacks,
        "score": [repr(float(score)) for score in scores.scores],
        **scores.extras,
    }
    write_csv(Path(path), [[*columns], *zip(*columns.values(), strict=True)], "\n")


def read_scores(path: str | Path) -> Scores:
    """Read a score file: CSV with a header that names `utterance` and `score`, and `label` and `attack` where known.

    Raises:
        InputError: No such file, no such columns, or a line with a missing or non-finite score, an unknown label, no
            id, an id that stands on another line, a missing cell; names file and line.
    """
    path = Path(path)
    text = read_text(path)
    reader = csv.reader(io.StringIO(text, newline=""))
    numbers: list[int] = []
    cells: list[str] = []  # one flat list: a list per line costs more than all the rest, in the garbage collector
    try:
        header = [name.strip() for name in next(reader, [])]
        named = named_columns(header)
        if not {"utterance", "score"} <= set(named) or len(set(named)) < len(named):
            raise InputError(f"{path}: the header is {header}: the columns {','.join(COLUMNS)} were expected, once")
        for row in filter(None, reader):
            if len(row) < len(header) or any(row[len(header) :]):
                raise InputError(f"{path}, line {reader.line_num}: {len(row)} cells, the header has {len(header)}")
            numbers.append(reader.line_num)
            cells += row[: len(header)]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num + 1}: not a CSV file ({error})") from None
    if not cells:
        raise InputError(f"{path}: there is a header but no scores below it")
    if "'" in text:
        cells = list(map(restored, cells))
    columns = {name: cells[i :: len(header)] for i, name in enumerate(header) if name in named}
    ids, blank = columns.pop("utterance"), [""] * len(numbers)
    words = [word.strip() for word in columns.pop("label", blank)]
    if unknown := {*words} - {*LABELS}:
        i = next(i for i, word in enumerate(words) if word in unknown)
        where = f"{path}, line {numbers[i]}"
        raise InputError(f"{where}: label {words[i]!r}: 1 (bona fide), 0 (spoof) or nothing was expected")
    labels = np.fromiter(map(LABELS.__getitem__, words), dtype=np.int64, count=len(words))
    attacks, scores = columns.pop("attack", blank), floats(columns.pop("score"), numbers, path)
    return checked(ids, labels, attacks, scores, columns, numbers=numbers, path=path)


def first_repeat(keys: Sequence[str]) -> tuple[int, int] | None:
    """Where the first key that stands there twice stands: first and again."""
    if len(set(keys)) == len(keys):
        return None
    seen: dict[str, int] = {}
    return next((first, i) for i, key in enumerate(keys) if (first := seen.setdefault(key, i)) != i)


def checked(ids: Sequence[str], *columns: Any, numbers: Sequence[int], path: Path) -> Scores:
    """The `Scores` of these columns of a file; `numbers` are their lines.

    Raises:
        InputError: See `Scores`; where a line has no id, or that of another, it names file and line.
    """
    try:
        return Scores(ids, *columns)
    except InputError:
        keys = utterance_keys(ids)
        if "" in keys:
            raise InputError(f"{path}, line {numbers[keys.index('')]}: the utterance has no id") from None
        if twice := first_repeat(keys):
            first, again = (numbers[i] for i in twice)
            where = f"{path}, line {again}: utterance {keys[twice[0]]!r}"
            raise InputError(f"{where} stands already on line {first}: keep one of the two") from None
        raise


def floats(cells: Sequence[str], numbers: Sequence[int], path: Path) -> NDArray[np.float64]:
    """The scores that cells hold; `numbers` are their lines.

    Raises:
        InputError: One is no finite number; names file and line.
    """
    try:
        values = np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))
    except ValueError:
        values = np.array([float(cell) if is_number(cell) else math.nan for cell in cells])
    if not (finite := np.isfinite(values)).all():
        i = int(np.argmin(finite))
        why = expected_number(f" {cells[i]}") or "a finite number was expected"
        raise InputError(f"{path}, line {numbers[i]}: the score is {cells[i]!r}: {why}")
    return values


def expected_number(line: str) -> str | None:
    """How a number of a line, behind its first cell, should be written; None where none is written in these ways."""
    if DECIMAL_COMMA.search(line):
        return "numbers with a decimal point were expected, not a comma"
    if PRINTED.search(line):
        return "plain numbers were expected, as float(score) gives them; a printed tensor may lack digits"
    return None


def read_asv_scores(path: str | Path) -> AsvScores:
    """Read the organisers' ASV scores: three columns `source key score`, or the older six that end in `key score`.

    The key is `target`, `nontarget` or `spoof`. What stands before it (source, attack or speaker) is not used.

    Raises:
        InputError: No such file, a line that is not of this form (names file and line), or a kind without any score.
    """
    path = Path(path)
    text = read_text(path)
    columns = columns_of(text, None)
    if columns and len(columns) >= 3 and {*columns[-2]} <= {*KINDS}:
        kinds, values = columns[-2:]
        numbers = range(1, len(values) + 1)
    else:
        numbers, kinds, values = [], [], []
        for number, cells in cells_of(text, None, path):
            if len(cells) < 3 or cells[-2] not in KINDS:
                got = " ".join(cells)[:80]
                raise InputError(f"{path}, line {number}: {got!r}: `... target|nontarget|spoof SCORE` was expected")
            numbers.append(number)
            kinds.append(cells[-2])
            values.append(cells[-1])
    groups = by_kind(floats(values, numbers, path), kinds)
    if missing := [kind for kind, group in groups._asdict().items() if not len(group)]:
        raise InputError(f"{path}: no ASV scores of {' and '.join(missing)} trials: a t-DCF needs all three kinds")
    return groups


def is_number(cell: str) -> bool:
    """Whether a cell holds one."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
