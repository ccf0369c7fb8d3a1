"""A corpus listed in a CSV, or in a folder of them, as a run writes into `manifests/` and users write by hand."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

from deepfake.address import is_address, public, read
from deepfake.atomic import restored
from deepfake.datasets.protocol import NO_VALUE, named_columns, read_text, separator_of
from deepfake.datasets.utterance import (
    MANIFEST,
    PARTITION_WORDS,
    PARTITIONS,
    Utterance,
    disambiguated,
    label_of,
    number_of,
)
from deepfake.errors import InputError

COLUMNS = (*MANIFEST, "weight")


def utterances(partition: str, *, root: str) -> list[Utterance]:
    """Read the rows of one partition.

    Args:
        partition: `train`, `dev` or `eval`.
        root: A CSV with the columns `path,label[,attack,speaker,partition,id,weight]`, or a folder with one such file
            per partition (`train.csv` ...). Tabs, `;` and `|` may stand for commas, and a column without a name is left
            out. Rows without a partition belong to every one, `split` is another name for it, and `val` and `test` are
            dev and eval. Paths start at the CSV. Labels are 1/0, `bonafide`/`spoof`, `real`/`fake`; empty means
            unknown. Without an id it is the file's name, or its path where several files have that name
            (`real-001`, `fake-001`). Any other column is a condition, by which reports have a table. The CSV may have
            an address, and so may recordings in archives.

    Raises:
        InputError: No such file, a missing column, a bad label, weight or partition: names the file and the line.
    """
    path = root if is_address(root) else Path(root).expanduser()
    if isinstance(path, Path) and path.is_dir():
        files = [p for p in sorted(path.glob("*.csv")) if PARTITION_WORDS.get(p.stem.lower()) == partition]
        if len(files) > 1:
            raise InputError(f"{path} holds {files[0].name} and {files[1].name}: one file per partition was expected")
        path = files[0] if files else path / f"{partition}.csv"
    return disambiguated([u for u in rows(path) if u.partition in ("", partition)])


def rows(path: Path | str) -> list[Utterance]:
    """All rows of a manifest, a file or at an address, whatever their partition."""
    text = _text_at(path) if isinstance(path, str) else _text(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator_of(text) or ",")
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cells)]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not CSV ({error})") from None
    header = _header(lines[0][1] if lines else [], path)
    base = path.rpartition("/")[0] if isinstance(path, str) else path.parent
    found = []
    for number, cells in lines[1:]:
        where = f"{path}, line {number}"
        if len(cells) < len(header) or any(cells[len(header) :]):
            raise InputError(f"{where}: the number of columns differs from the header's")
        found.append(_utterance(dict(zip(header, cells, strict=False)), where, base))
    return found


def _text(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path}: no such manifest (a CSV with the columns path,label)")
    return read_text(path)


def _text_at(address: str) -> str:
    try:
        return read(address).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{address}: not text in UTF-8 ({error.reason}): save it as UTF-8") from None
    except FileNotFoundError:
        raise InputError(
            f"{address}: no such manifest: `deepfake make-shards` writes one beside the archives, and so does "
            "dataset=shards where they lie in a folder; copy it there"
        ) from None


def _header(names: list[str], path: Path | str) -> list[str]:
    """The columns, those of ours in small letters."""
    header = [name.lower() if name.lower() in COLUMNS else name for name in map(str.strip, names)]
    if "partition" not in header:
        header = ["partition" if name.lower() == "split" else name for name in header]
    named = named_columns(header)
    if not {"path", "label"} <= {*named} or len({*named}) < len(named):
        raise InputError(f"{path}: the columns are {header}; path and label were expected, each once")
    return header


def _utterance(cells: Mapping[str, str], where: str, base: Path | str) -> Utterance:
    cells = {name: restored(cell) for name, cell in cells.items()}
    row = {name: "" if cell.strip() in NO_VALUE else cell.strip() for name, cell in cells.items()}
    if not row["path"]:
        raise InputError(f"{where}: the path is empty: the name of a file was expected")
    word = row.get("partition", "")
    if word and word.lower() not in PARTITION_WORDS:
        raise InputError(f"{where}: partition {word!r} is not one of {', '.join(PARTITIONS)}")
    audio = _audio(cells["path"], base, where)
    label = label_of(row["label"], where) if row["label"] else None
    weight = number_of(row.get("weight") or "1", "weight", where)
    conditions = {name: row[name] for name in named_columns([*row]) if name not in COLUMNS and row[name]}
    partition = PARTITION_WORDS.get(word.lower(), "")
    name = row.get("id") or Path(audio).stem
    attack, speaker = row.get("attack", ""), row.get("speaker", "")
    return Utterance(name, audio, label, attack, speaker, partition, where, conditions, weight)


def _audio(cell: str, base: Path | str, where: str) -> str:
    """The file of a path; where there is none of just this name, without padding and with `/` for a backslash."""
    plain = cell.strip().replace("\\", "/")
    if is_address(plain) or isinstance(base, str):
        return public(plain if is_address(plain) else f"{base}/{plain}", f"{where}: path")
    given = base / cell
    if plain != cell and os.path.lexists(given):
        return str(given)
    return str(Path(plain).expanduser() if plain.startswith("~/") else base / plain)
