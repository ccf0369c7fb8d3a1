"""A corpus listed in a CSV, or in a folder of them, as a run writes into `manifests/` and users write by hand."""

from __future__ import annotations

import csv
from pathlib import Path

from deepfake.atomic import restored
from deepfake.datasets.utterance import MANIFEST, PARTITIONS, Utterance, label_of, number_of
from deepfake.errors import InputError


def utterances(partition: str, *, root: str) -> list[Utterance]:
    """Read the rows of one partition.

    Args:
        partition: `train`, `dev` or `eval`.
        root: A CSV with the columns `path,label[,attack,speaker,partition,id,weight]`, or a folder with one such file
            per partition (`train.csv` ...). Rows without a partition belong to every one; paths start at the CSV.
            Labels are 1/0, `bonafide`/`spoof`, `real`/`fake`; empty means unknown. Any other column is a condition,
            by which reports have a table.

    Raises:
        InputError: No such file, a missing column, a bad label, weight or partition: names the file and the line.
    """
    path = Path(root)
    if path.is_dir():
        path = path / f"{partition}.csv"
    return [u for u in rows(path) if u.partition in ("", partition)]


def rows(path: Path) -> list[Utterance]:
    """All rows of a manifest, whatever their partition."""
    if not path.is_file():
        raise InputError(f"{path}: no such manifest (a CSV with the columns path,label)")
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            return _rows(csv.DictReader(file), path)
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path} is not a CSV file in UTF-8: {error}") from error


def _rows(reader: csv.DictReader[str], path: Path) -> list[Utterance]:
    columns = list(reader.fieldnames or ())
    if not {"path", "label"} <= set(columns) or len(set(columns)) < len(columns) or "" in columns:
        raise InputError(f"{path}: the columns are {columns}; path and label were expected, each once and with a name")
    return [_utterance(row, f"{path}, line {reader.line_num}", path.parent) for row in reader]


def _utterance(row: dict[str, str | None], where: str, base: Path) -> Utterance:
    if None in row or None in row.values():
        raise InputError(f"{where}: the number of columns differs from the header's")
    row = {name: restored(cell or "") for name, cell in row.items()}
    audio = base / (row["path"] or "")
    partition = row.get("partition") or ""
    if partition not in ("", *PARTITIONS):
        raise InputError(f"{where}: partition {partition!r} is not one of {', '.join(PARTITIONS)}")
    label = label_of(row["label"], where) if row["label"] else None
    attack, speaker = row.get("attack") or "", row.get("speaker") or ""
    weight = number_of(row.get("weight") or "1", "weight", where)
    conditions = {k: v for k, v in row.items() if k not in (*MANIFEST, "weight") and v}
    name = row.get("id") or audio.stem
    return Utterance(name, str(audio), label, attack, speaker, partition, where, conditions, weight)
