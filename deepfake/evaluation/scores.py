"""The score file: the joint between computing scores and judging them, and the organisers' ASV score files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfake.atomic import write_atomically
from deepfake.datasets.folder import AUDIO
from deepfake.errors import InputError

COLUMNS = ("utterance", "label", "attack", "score")
UNKNOWN = -1
LABELS = {"1": 1, "0": 0, "": UNKNOWN}


def utterance_key(name: str) -> str:
    """What two ids are compared by: no folder, no audio extension (`eval/LA_E_1.flac` -> `LA_E_1`)."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix}".lower() in AUDIO else name


@dataclass(init=False, eq=False)
class Scores:
    """Scored utterances of one partition, row by row as they stand in the file.

    Args:
        ids: Utterance ids, N of them; no two may be the same to `utterance_key`.
        labels: `[N]`, 1 = bona fide, 0 = spoof; `None` or -1 where unknown.
        attacks: N names of spoofing systems, `""` or `-` for bona fide speech or where unknown.
        scores: `[N]`, larger = more bona fide.
        extras: Further columns by name (`speaker`, `codec` ...), N texts each.

    Raises:
        InputError: Lengths differ, nothing is there, ids collide, a score is not finite, a label is not a label.
    """

    ids: list[str]
    labels: NDArray[np.int64]
    attacks: list[str]
    scores: NDArray[np.float64]
    extras: dict[str, list[str]]

    def __init__(
        self,
        ids: Iterable[str],
        labels: Iterable[int | None],
        attacks: Iterable[str],
        scores: ArrayLike,
        extras: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self.ids, self.attacks = list(ids), list(attacks)
        given = [UNKNOWN if label is None else label for label in labels]
        self.scores = np.asarray(scores, dtype=np.float64).reshape(-1)
        self.extras = {name: list(column) for name, column in (extras or {}).items()}
        columns = {"labels": given, "attacks": self.attacks, "scores": self.scores, **self.extras}
        if not self.ids:
            raise InputError("there are no scores: not one utterance")
        if wrong := {name: len(column) for name, column in columns.items() if len(column) != len(self)}:
            raise InputError(f"got {len(self)} ids and {wrong}: every column must be as long")
        if reserved := set(COLUMNS) & set(self.extras):
            raise InputError(f"{sorted(reserved)} cannot be extra columns: they are the score file's own")
        seen: dict[str, str] = {}
        for name, label, score in zip(self.ids, given, self.scores, strict=True):
            if (other := seen.get(key := utterance_key(name))) is not None:
                raise InputError(f"utterances {other!r} and {name!r} have the same id without folder and extension")
            seen[key] = name
            if label not in LABELS.values():
                raise InputError(f"utterance {name!r} has label {label}: 1 (bona fide), 0 (spoof) or None was expected")
            if not math.isfinite(score):
                raise InputError(f"utterance {name!r} has score {score}: a finite number was expected")
        self.labels = np.array(given, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.ids)


class AsvScores(NamedTuple):
    """Scores of a speaker verifier (larger = more like the claimed speaker), in the order of `asv_operating_point`."""

    target: NDArray[np.float64]
    nontarget: NDArray[np.float64]
    spoof: NDArray[np.float64]


def write_scores(path: str | Path, scores: Scores) -> None:
    """Write a score file that `read_scores` gives back unchanged, to the last bit of every score."""
    columns = {
        "utterance": scores.ids,
        "label": ["" if label == UNKNOWN else int(label) for label in scores.labels],
        "attack": scores.attacks,
        "score": [repr(float(score)) for score in scores.scores],
        **scores.extras,
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_atomically(Path(path), text.getvalue())


def read_scores(path: str | Path) -> Scores:
    """Read a score file: CSV with a header that names `utterance` and `score`, and `label` and `attack` where known.

    Raises:
        InputError: No such file, no such columns, or a line with a missing or non-finite score, an unknown label, no
            id, an id that stands on another line, a missing cell; names file and line.
    """
    path = Path(path)
    with _opened(path) as file:
        reader = csv.reader(file)
        try:
            header = [name.strip() for name in next(reader, [])]
            if not {"utterance", "score"} <= set(header) or len(set(header)) < len(header):
                raise InputError(f"{path}: the header is {header}: the columns {','.join(COLUMNS)} were expected, once")
            rows = list(_checked_rows(path, reader, header))
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path}, line {reader.line_num + 1}: not a CSV file in UTF-8 ({error})") from None
    if not rows:
        raise InputError(f"{path}: there is a header but no scores below it")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    blank = [""] * len(rows)
    return Scores(
        ids=columns.pop("utterance"),
        labels=[LABELS[label.strip()] for label in columns.pop("label", blank)],
        attacks=columns.pop("attack", blank),
        scores=[float(score) for score in columns.pop("score")],
        extras=columns,
    )


def _checked_rows(path: Path, reader, header: list[str]) -> Iterator[list[str]]:
    """The rows below the header, each one checked while its line number is known."""
    utterance, score = header.index("utterance"), header.index("score")
    label = header.index("label") if "label" in header else None
    first_line: dict[str, int] = {}
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        if not row:
            continue
        if len(row) != len(header):
            raise InputError(f"{where}: {len(row)} cells, the header has {len(header)}")
        if not (key := utterance_key(row[utterance])):
            raise InputError(f"{where}: the utterance has no id")
        if (other := first_line.setdefault(key, reader.line_num)) != reader.line_num:
            raise InputError(f"{where}: utterance {key!r} stands already on line {other}: keep one of the two")
        if label is not None and row[label].strip() not in LABELS:
            raise InputError(f"{where}: label {row[label]!r}: 1 (bona fide), 0 (spoof) or nothing was expected")
        _finite(row[score], where)
        yield row


def read_asv_scores(path: str | Path) -> AsvScores:
    """Read the organisers' ASV scores: three columns `source key score`, or the older six that end in `key score`.

    The key is `target`, `nontarget` or `spoof`. What stands before it (source, attack or speaker) is not used.

    Raises:
        InputError: No such file, a line that is not of this form (names file and line), or a kind without any score.
    """
    path = Path(path)
    scores: dict[str, list[float]] = {kind: [] for kind in AsvScores._fields}
    number = 0
    with _opened(path) as file:
        try:
            for number, line in enumerate(file, start=1):
                if not (cells := line.split()):
                    continue
                where = f"{path}, line {number}"
                if len(cells) < 3 or cells[-2] not in scores:
                    raise InputError(f"{where}: {line.strip()!r}: `... target|nontarget|spoof SCORE` was expected")
                scores[cells[-2]].append(_finite(cells[-1], where))
        except UnicodeDecodeError as error:
            raise InputError(f"{path}, line {number + 1}: not text in UTF-8 ({error})") from None
    if missing := [kind for kind, values in scores.items() if not values]:
        raise InputError(f"{path}: no ASV scores of {' and '.join(missing)} trials: a t-DCF needs all three kinds")
    return AsvScores(**{kind: np.array(values) for kind, values in scores.items()})


def _opened(path: Path) -> IO[str]:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _finite(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: the score is {text!r}: a finite number was expected")
    return value
