"""Scores of a speaker verifier that also has to refuse spoofed speech (SASV): trials of three kinds in one file."""

from __future__ import annotations

from pathlib import Path

from deepfake.datasets.protocol import read_text
from deepfake.errors import InputError
from deepfake.scores.formats import Table, column_index, table_of
from deepfake.scores.table import KINDS, AsvScores, by_kind, floats, is_number

EXPECTED = "lines that end in `score target|nontarget|spoof` (or the two in turn), or a header, were expected"


def read_sasv(
    path: str | Path,
    *,
    protocol: str | Path | None = None,
    score_column: int | str | None = None,
    polarity: int | None = None,
) -> tuple[AsvScores, list[str]] | None:
    """Read the scores of a verifier whose trials are `target`, `nontarget` and `spoof`.

    Args:
        path: Lines with a score and one of these words, as `speaker utterance score kind` (the package of the a-DCF) or
            `source kind score` (ASV scores of ASVspoof 2019); or with a header (`spk filename cm-score asv-score
            sasv-score` of ASVspoof 5).
        protocol: The kinds, where the score file has none: a file with a header that shares the columns which name a
            trial (`spk filename cm-label asv-label` of ASVspoof 5).
        score_column: Which column has the score, where that is ambiguous: its number from 1, or its header's name.
        polarity: -1 where larger means that the trial is refused: the scores are negated. None or 1: as they stand.

    Returns:
        The scores by kind, and sentences that say how the files were understood; None for files without such words,
        which are those of a countermeasure.

    Raises:
        InputError: The column of the score is ambiguous, a score is not finite, or there is none of a kind; the trials
            of the two files differ.
    """
    path, keys = Path(path), Path(protocol or path)
    if "target" not in (text := read_text(keys)) or (kind := _kinds(listed := table_of(text, keys))) is None:
        return None
    scored = table_of(read_text(path), path) if protocol else listed
    if protocol and not any("asv" in name for name in ([str(score_column)] if score_column else scored.header or [])):
        return None  # a countermeasure's scores, of which such keys know the classes too
    place = _score(scored, score_column)
    scores = floats(scored.columns[place], scored.numbers, path) * (polarity or 1)
    kinds = _joined(scored, listed, listed.columns[kind]) if protocol else listed.columns[kind]
    groups = by_kind(scores, kinds)
    counts = ", ".join(f"{len(group):,} {word}" for word, group in groups._asdict().items())
    if not all(map(len, groups)):
        raise InputError(f"{keys}: {counts}: trials of all three kinds are needed")
    return groups, [f"{path.name}: {len(scores):,} trials ({counts}), the score is column {place + 1}."]


def _kinds(table: Table) -> int | None:
    """Index of the column that holds the kinds of trials."""
    words = [{*column} for column in table.columns]
    return next((i for i, found in enumerate(words) if found <= {*KINDS} and found != {"spoof"}), None)


def _score(table: Table, score_column: int | str | None) -> int:
    """Index of the column that holds the score."""
    if score_column is not None:
        return column_index(score_column, table)
    names = [name.lower() for name in table.header or []]
    found = [i for i, name in enumerate(names) if name in ("sasv-score", "sasv_score")]
    found = found or [i for i, name in enumerate(names) if "score" in name]
    found = found or [i for i, column in enumerate(table.columns) if all(map(is_number, column))]
    if len(found) != 1:
        raise InputError(f"{table.path}: {len(found)} columns can be the score: {EXPECTED}; or give score_column=")
    return found[0]


def _joined(scored: Table, listed: Table, kinds: list[str]) -> list[str]:
    """The kinds of the scored trials, from a file that lists them."""
    shared = [name for name in scored.header or [] if name in (listed.header or [])]
    if not shared:
        raise InputError(f"{scored.path} and {listed.path}: headers that share the names of a trial were expected")
    trials, keys = (list(zip(*map(table.column, shared), strict=True)) for table in (scored, listed))
    kind_of = dict(zip(keys, kinds, strict=True))
    if len(kind_of) < len(keys) or len({*trials}) < len(trials):
        raise InputError(f"{scored.path} and {listed.path}: a trial is there twice, by {' and '.join(shared)}")
    if differing := {*trials} ^ {*keys}:
        first = " ".join(min(differing))
        raise InputError(f"{scored.path} and {listed.path}: {len(differing):,} trials are in one alone, as {first}")
    return [kind_of[trial] for trial in trials]
