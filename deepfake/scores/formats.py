"""Anyone's score file, in any of the layouts in use, and the protocol that has its keys."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deepfake.datasets.protocol import (
    HEADER_NAMES,
    LAYOUTS,
    NO_VALUE,
    Columns,
    cells_of,
    columns_of,
    columns_of_header,
    layout_of_lines,
    named_columns,
    read_text,
    separator_of,
)
from deepfake.datasets.utterance import BONAFIDE, LABEL_WORDS, SPOOF, label_of
from deepfake.errors import InputError
from deepfake.metrics.tdcf import Weights
from deepfake.scores.keys import keyed
from deepfake.scores.table import (
    COLUMNS,
    KINDS,
    UNKNOWN,
    Scores,
    checked,
    expected_number,
    floats,
    is_number,
    read_scores,
)

SCORE_NAMES = ("score", "scores", "cm-score", "cm_score", "cm-scores", "cm_scores")
KNOWN = (
    "`utt score`, `utt score key`, `utt key score`, `utt source key score`, the line of a protocol and a score, "
    "or a header with the names of an utterance column and a score column"
)
SAMPLE = 500


def read_any(
    path: str | Path,
    *,
    protocol: str | Path | None = None,
    score_column: int | str | None = None,
    polarity: int | None = None,
    subset: str | None = None,
) -> tuple[Scores, list[str]]:
    """Read a score file of ours or of others (text or gzip), recognised by its columns.

    Args:
        path: Our CSV; lines `utt score`, `utt score key`, `utt key score`, `utt source key score` (ASVspoof 2019,
            AASIST), a protocol's line and a score (the 2019 scripts' second version); CSV or TSV with a header that
            names the columns (ASVspoof 5's `filename cm-score`).
        protocol: File with the keys, in any of `deepfake.datasets.protocol.LAYOUTS`; needed where the score file has
            none. Scores and trials are joined by `utterance_key`, and each must have its other half.
        score_column: Which column has the score, where that is ambiguous: its number from 1, or its header's name.
        polarity: -1 where larger means spoof: the scores are negated. None or 1: as they stand.
        subset: Of an ASVspoof 2021 protocol: `progress`, `eval` (where None), `hidden` or `all`.

    Returns:
        The scores, in the file's order, and sentences that say how the files were understood.

    Raises:
        InputError: The layout is not known or could be two; a line has another number of columns, no finite score, an
            unknown key or an utterance that another has (names file and line); scores and trials do not match (counts
            them and lists the first); labels differ between the files.
    """
    path = Path(path)
    if polarity not in (None, 1, -1):
        raise InputError(f"polarity={polarity}: 1 (larger is more bona fide) or -1 (larger is more spoof) was expected")
    scores, said = _read(path, score_column)
    if polarity == -1:
        scores.scores = -scores.scores
        scores.extras.pop("llr", None)
        said.append(f"{path.name}: the scores were negated, as polarity=-1 asks.")
    if protocol is not None:
        scores, more = keyed(scores, path, Path(protocol), subset)
        said += more
    elif subset is not None:
        raise InputError(f"subset={subset} chooses trials of a protocol: give its file as protocol=")
    n = [int((scores.labels == label).sum()) for label in (BONAFIDE, SPOOF, UNKNOWN)]
    unknown = f", {n[2]:,} without a key (give a protocol=FILE that has them)" if n[2] else ""
    said.append(f"{path.name}: {len(scores):,} scores, {n[0]:,} bona fide and {n[1]:,} spoof{unknown}.")
    return scores, said


class Table(NamedTuple):
    """A file cut into columns.

    Attributes:
        path: The file.
        separator: What cells are parted by, None for white space.
        header: The names of the columns, None where the first line has a number.
        columns: The cells below the header, column by column.
        numbers: The lines they stand on.
    """

    path: Path
    separator: str | None
    header: list[str] | None
    columns: list[list[str]]
    numbers: Sequence[int]

    def column(self, name: str) -> list[str]:
        """Of the header's name."""
        return self.columns[(self.header or []).index(name)]


def table_of(text: str, path: Path) -> Table:
    """Cut the text of a file into columns, without those behind a separator at the end of every line.

    Raises:
        InputError: It is empty, a line has another number of columns, or its numbers have decimal commas.
    """
    separator, line = separator_of(text), text.lstrip().split("\n", 1)[0].strip()
    if why := expected_number(line):
        raise InputError(f"{path}: {line[:80]!r}: {why}")
    lines = cells_of(text, separator, path)
    number, first = next(lines, (0, []))
    if not (width := len(first)):
        raise InputError(f"{path}: there are no scores in it: {KNOWN} was expected")
    header = None if any(map(is_number, first)) else first
    if table := columns_of(text, separator):
        numbers: Sequence[int] = range(1, len(table[0]) + 1)
    else:
        numbers, flat = [number], list(first)
        for number, cells in lines:
            if len(cells) < width or any(cells[width:]):
                why = expected_number(" ".join(["", *cells]))
                why = f": {why}" if why else _of_commas(separator)
                raise InputError(f"{path}, line {number}: {len(cells)} columns, the first line has {width}{why}")
            numbers.append(number)
            flat += cells[:width]
        table = [flat[i::width] for i in range(width)]
    while not any(table[-1]):
        table.pop()
    if header:
        header = header[: len(table)]
        numbers, table = numbers[1:], [column[1:] for column in table]
    return Table(path, separator, header, table, numbers)


def _read(path: Path, score_column: int | str | None) -> tuple[Scores, list[str]]:
    text = read_text(path)
    _, first = next(cells_of(text, separator_of(text), path), (0, []))
    if {*COLUMNS} <= {*first} and separator_of(text) == "," and score_column in (None, "score"):
        return read_scores(path), [f"{path.name}: our own score file, columns {', '.join(named_columns(first))}."]
    table = table_of(text, path)
    header, width = table.header, len(table.columns)
    if header and not table.numbers:
        raise InputError(f"{path}: {' '.join(header)[:80]!r} is taken for a header, and below it are no scores")
    place = None if score_column is None else column_index(score_column, table)
    columns, place = _of_header(table, header, place) if header else _of_lines(table, place)
    if not header and table.separator == "," and score_column is None:
        _check_commas(table, columns.key, place)
    names = named_columns(header) if header else _names(columns, place, width)
    said = [f"{path.name}: {width} columns{' with a header' if header else ''}, {' '.join(names)}."]
    if header and "asv-score" in header:  # an utterance stands there once per claimed speaker, always with one CM score
        columns = replace(columns, speaker=None, conditions={})
        table, more = _once(table, columns, place)
        said += more
    return _scores(table, columns, place), said


def _check_commas(table: Table, key: int | str | None, place: int) -> None:
    """Refuse `a,0,803` as key 0 and score 803: it may be 0.803 with a decimal comma."""
    sides = (place - 1, place) if key == place - 1 else (place, place + 1)
    if key in sides and all("".join(pair).isdecimal() for pair in zip(*(table.columns[i] for i in sides), strict=True)):
        raise InputError(
            f"{table.path}: columns {sides[0] + 1} and {sides[1] + 1} are a key and a score, or one number with a "
            "decimal comma: give score_column=, or write a point"
        )


def _of_commas(separator: str | None) -> str:
    return " (numbers with a decimal point were expected, not a comma)" if separator == "," else ""


def _scores(table: Table, columns: Columns, place: int) -> Scores:
    numbers, path, blank = table.numbers, table.path, [""] * len(table.numbers)

    def at(column: int | str | None) -> list[str]:
        return blank if column is None else table.columns[int(column)]

    ids, words = at(columns.utterance), at(columns.key)
    labels_of = {word: UNKNOWN if word in NO_VALUE else LABEL_WORDS.get(word.lower()) for word in {*words}}
    if wrong := next((word for word, label in labels_of.items() if label is None), None):
        label_of(wrong, f"{path}, line {numbers[words.index(wrong)]}")
    labels = np.fromiter(map(labels_of.__getitem__, words), dtype=np.int64, count=len(words))
    attacks = _said(at(columns.attack))  # a list of its own
    for i in np.flatnonzero(labels == BONAFIDE).tolist():
        attacks[i] = ""
    values = floats(at(place), numbers, path)
    extras = {name: _said(at(i)) for name, i in {"speaker": columns.speaker, **columns.conditions}.items()}
    extras = {name: column for name, column in extras.items() if any(column)}
    return checked(ids, labels, attacks, values, extras, numbers=numbers, path=path)


def _said(column: Sequence[str]) -> list[str]:
    said = {cell: "" if cell in NO_VALUE else cell for cell in {*column}}
    return list(map(said.__getitem__, column))


def column_index(score_column: int | str, table: Table) -> int:
    """Index from 0 of the column that was asked for."""
    header, width = table.header, len(table.columns)
    if isinstance(score_column, str) and header and score_column in header:
        return header.index(score_column)
    if str(score_column).isdecimal() and 1 <= int(score_column) <= width:
        return int(score_column) - 1
    named = f", or one of the names {', '.join(header)}" if header else " (there is no header)"
    raise InputError(f"{table.path}: score_column={score_column}: a number from 1 to {width}{named} was expected")


def _of_header(table: Table, header: list[str], place: int | None) -> tuple[Columns, int]:
    path = table.path
    if (columns := columns_of_header(header, table.separator)) is None:
        wanted = ", ".join(HEADER_NAMES["utterance"])
        raise InputError(
            f"{path}: the first line is {header}, without a number and so a header: one of {wanted} was expected "
            "in it, and each name once"
        )
    if place is None:
        names = [name.lower() for name in header]
        found = [i for i, name in enumerate(names) if name in SCORE_NAMES]
        found = found or [i for i, n in enumerate(names) if "score" in n and not n.startswith(("asv", "sasv"))]
        if len(found) != 1:
            several = f"{len(found)} columns" if found else "no column"
            raise InputError(
                f"{path}: {several} of the header {header} can be the score: give score_column=NAME, the one that is"
            )
        place = found[0]
    return replace(columns, conditions={n: i for n, i in columns.conditions.items() if i != place}), place


def _of_lines(table: Table, place: int | None) -> tuple[Columns, int]:
    """What stands in which column of lines without a header, and where the score."""
    path, sample, width = table.path, [column[:SAMPLE] for column in table.columns], len(table.columns)
    rows = [list(cells) for cells in zip(*sample, strict=True)]
    keys = [i for i, column in enumerate(sample) if {cell.lower() for cell in column} <= LABEL_WORDS.keys()]
    numeric = [i for i, column in enumerate(sample) if all(map(is_number, column))]
    two_scores = width == 4 and 2 in numeric and 2 not in keys
    whole = width > 3 and place in (None, width - 1) and not two_scores
    if whole and (name := layout_of_lines([cells[:-1] for cells in rows])):
        return LAYOUTS[name], width - 1
    if place is not None:
        others = sorted((i for i in keys if i != place), key=lambda i: i in numeric)  # words before 1 and 0
        return Columns(int(place == 0), others[0] if others else None), place
    if width == 2 and 1 in numeric:
        return Columns(0), 1
    if width == 3:
        readings = [(Columns(0, key), score) for key, score in ((1, 2), (2, 1)) if key in keys and score in numeric]
        if len(readings) == 1:
            return readings[0]
        if readings:
            raise InputError(f"{path}: column 2 or 3 can be the score, the other the key: give score_column=2 or 3")
        if {*sample[1]} <= {*KINDS}:
            raise InputError(f"{path}: the lines are `source {'|'.join(KINDS)} score`: give it as asv_scores=FILE")
    raise InputError(
        f"{path}: {' '.join(rows[0])[:80]!r} begins no score file that is known: {KNOWN} was expected; "
        f"or give score_column={_of_commas(table.separator)}"
    )


def _names(columns: Columns, place: int, width: int) -> list[str]:
    """What the columns of lines without a header were taken for, in order."""
    named = {columns.utterance: "utterance", columns.key: "key", columns.attack: "source", columns.speaker: "speaker"}
    named |= {i: name for name, i in columns.conditions.items()} | {place: "score"}
    return [named.get(i, "-") for i in range(width)]


def _once(table: Table, columns: Columns, place: int) -> tuple[Table, list[str]]:
    """One row per utterance of a file of ASVspoof 5's track 2, which has one per utterance and claimed speaker."""
    ids, values, numbers = table.columns[int(columns.utterance)], table.columns[place], table.numbers
    first: dict[str, int] = {}
    for i, (name, value) in enumerate(zip(ids, values, strict=True)):
        if values[j := first.setdefault(name, i)] != value:
            raise InputError(
                f"{table.path}, line {numbers[i]}: utterance {name} has score {value}, and {values[j]} on line "
                f"{numbers[j]}: a score of the utterance alone was expected (score_column= says which)"
            )
    if len(first) == len(ids):
        return table, []
    rows = list(first.values())
    once = table._replace(columns=[[c[i] for i in rows] for c in table.columns], numbers=[numbers[i] for i in rows])
    counts = f"{len(ids):,} lines give {len(rows):,} utterances"
    return once, [f"{table.path.name}: {counts}, each once whatever speaker it claims to be."]


def read_c012(path: str | Path) -> dict[str, dict[str, Weights]]:
    """Read the t-DCF coefficients that ASVspoof 2021 published for its fixed ASV system.

    Args:
        path: JSON `{attack: {codec: {"C0": ..., "C1": ..., "C2": ...}}}`, each with a `Pooled` one. Cells without
            trials, null or NaN there, are left out.

    Returns:
        Weights by attack and codec.

    Raises:
        InputError: It is not of this form, or is the organisers' `.npy`: a pickle, which runs whatever its maker wrote
            in it and is therefore never loaded here.
    """
    path = Path(path)
    if path.suffix.lower() in (".npy", ".npz", ".pkl", ".pickle"):
        raise InputError(
            f"{path}: a pickle runs the code it holds, so none is loaded; where its source is trusted, convert it: "
            'python -c "import json, sys, numpy; json.dump(numpy.load(sys.argv[1], allow_pickle=True).item(), '
            f"open(sys.argv[2], 'w'), default=float)\" {path.name} {path.stem}.json"
        )
    text = read_text(path)
    try:
        found = json.loads(text)
        cells = {a: {c: [cell[k] for k in ("C0", "C1", "C2")] for c, cell in row.items()} for a, row in found.items()}
        return {a: {c: Weights(*map(float, w)) for c, w in row.items() if _there(w)} for a, row in cells.items()}
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        form = '{attack: {codec: {"C0": number, "C1": number, "C2": number}}}'
        raise InputError(f"{path}: JSON of the form {form} was expected ({type(error).__name__}: {error})") from None


def _there(weights: Sequence[float | None]) -> bool:
    return all(w is not None and math.isfinite(w) for w in weights)


def pooled_c012(coefficients: Mapping[str, Mapping[str, Weights]]) -> Weights:
    """The coefficients pooled over attacks and codecs, which the headline min t-DCF is made with.

    Raises:
        InputError: They have no such cell.
    """
    try:
        return coefficients["Pooled"]["Pooled"]
    except KeyError:
        raise InputError(f"the coefficients have no cell Pooled, Pooled; attacks: {', '.join(coefficients)}") from None
