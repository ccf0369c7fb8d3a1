"""Protocols: text files that list a corpus's utterances and their keys, each read by a map of its columns."""

from __future__ import annotations

import csv
import gzip
import io
import logging
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from sys import intern

from deepfake.atomic import restored
from deepfake.datasets.folder import AUDIO
from deepfake.datasets.utterance import BONAFIDE, LABEL_WORDS, SPOOF, Utterance, label_of
from deepfake.errors import InputError

log = logging.getLogger(__name__)
_incomplete: set[str] = set()  # corpora that a warning was logged of

NO_VALUE = ("", "-")
MOST_BYTES = 256 << 20  # of a text that was compressed; published keys and scores have at most 100 MB
GZIP = b"\x1f\x8b"
QUOTING = (",", ";")  # separators that come with the quotes of CSV
UNNAMED = re.compile(r"(unnamed: \d+)?", re.IGNORECASE)  # headers of a column of row numbers, as pandas writes it
SAMPLE = 200
BLOCK = 1 << 20  # characters: enough to be quick, and little beside the columns


@dataclass(frozen=True)
class Columns:
    """Columns of a protocol: an index from 0, or a name where the file has a header.

    Args:
        utterance: The utterance's id, unchanged; corpora that list file names apply `utterance_key`.
        key: The key of the class, any that `label_of` reads; `-` or nothing means unknown.
        attack: The spoofing system.
        speaker: The speaker.
        conditions: Other columns, by the name of the condition (`codec`, `trim`, `language` ...).
        n_columns: Number of columns of every line; a header sets its own.
        separator: None = any white space, else `,` or `;` (with the quotes of CSV), `\\t` or `|` (without).
        header: Whether the first line names the columns.
    """

    utterance: int | str
    key: int | str | None = None
    attack: int | str | None = None
    speaker: int | str | None = None
    conditions: Mapping[str, int | str] = field(default_factory=dict)
    n_columns: int | None = None
    separator: str | None = None
    header: bool = False


_LA21 = {"codec": 2, "transmission": 3, "trim": 6, "subset": 7}
_DF21 = {"codec": 2, "source": 3, "trim": 6, "subset": 7, "vocoder": 8, "task": 9, "team": 10}
_PA21 = {"asv_room": 2, "asv_mic": 3, "dis_to_asv": 4, "att_room": 5, "att_mic": 6, "att_d": 7, "att_to_spk": 8}
_PA21 |= {"trim": 10, "subset": 11}
_V5 = {"gender": 2, "codec": 3, "codec_quality": 4, "attack_tag": 6}

LAYOUTS: dict[str, Columns] = {
    "asvspoof2019_la": Columns(1, 4, 3, 0, n_columns=5),
    "asvspoof2019_pa": Columns(1, 4, 3, 0, {"environment": 2}, n_columns=5),
    "partialspoof": Columns(1, 4, 3, 0, n_columns=5),
    "asvspoof2021_la": Columns(1, 5, 4, 0, _LA21, n_columns=8),
    "asvspoof2021_stage1": Columns(1, 5, conditions={"subset": 7}, n_columns=8),
    "asvspoof2021_df": Columns(1, 5, 4, 0, _DF21 | {"gender_pair": 11, "language": 12}, n_columns=13),
    "asvspoof2021_pa": Columns(1, 9, None, 0, _PA21, n_columns=12),
    "asvspoof5": Columns(1, 8, 7, 0, _V5, n_columns=10),
    "utt_key": Columns(0, 1, n_columns=2),
    "utt_attack_key": Columns(0, 2, 1, n_columns=3),
    "utt_key_attack": Columns(0, 1, 2, n_columns=3),
    "asvspoof5_key": Columns("filename", "cm-label", separator="\t", header=True),
    "asvspoof5_full": Columns("trial_anon", "cm-label", "attack_anon", conditions={"codec": "codec"}, header=True),
    "in_the_wild": Columns("file", "label", speaker="speaker", separator=",", header=True),
    "csv": Columns("utterance", "label", "attack", "speaker", separator=",", header=True),
}
"""Known layouts by name. `csv` is any other file with a header; `layout_of` finds the names in it."""

HEADER_NAMES = {
    "utterance": (
        *("utterance", "utterance_id", "utt", "utt_id", "id", "trial", "trial_id", "trial_anon"),
        *("filename", "file_name", "file", "path"),
    ),
    "key": ("label", "key", "cm-label", "cm_label", "cm-key", "cm_key", "class"),
    "attack": ("attack", "attack_id", "attack_label", "attack_anon", "attack_type", "system"),
    "speaker": ("speaker", "speaker_id", "spk", "spk_id"),
}
"""Names of the columns in headers, the likelier first."""


def utterance_key(name: str) -> str:
    """An id without folder and audio extension, by which ids are compared (`eval/LA_E_1.flac` -> `LA_E_1`)."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix}".lower() in AUDIO else name


def utterance_keys(names: Sequence[str]) -> list[str]:
    """`utterance_key` of each; quick where none of them has a folder or an extension."""
    together = "\n".join(names)
    return list(map(utterance_key, names)) if any(mark in together for mark in "/\\.") else list(names)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, gzipped or not.

    Raises:
        InputError: It cannot be read, its gzip is broken or unpacks to too much, or a line of it is not UTF-8 (names
            the line).
    """
    try:
        data = path.read_bytes()
        if data.startswith(GZIP):
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                data = file.read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                raise InputError(f"{path} unpacks to more than {MOST_BYTES >> 20} MB: unpack it if you trust it")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not text in UTF-8 ({error.reason}): save it as UTF-8") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def cells_of(text: str, separator: str | None, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not blank, cut into cells, each with its line number from 1.

    Raises:
        InputError: Its quotes are not CSV.
    """
    if separator in QUOTING:
        reader, marked = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), "'" in text
        try:
            for cells in reader:
                if any(cells):
                    cells = [cell.strip() for cell in cells]
                    yield reader.line_num, list(map(restored, cells)) if marked else cells
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: not CSV ({error})") from None
        return
    for number, line in enumerate(_lines(text), start=1):
        if line.strip():
            yield number, line.split() if separator is None else [cell.strip() for cell in line.split(separator)]


def _lines(text: str) -> Iterator[str]:
    """The lines of a text, cut as they are asked for: an `io.StringIO` first makes four bytes of every character."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def columns_of(text: str, separator: str | None) -> list[list[str]] | None:
    """The columns of a text that has a cell in every column of every line; None of any other, and of CSV.

    A faster `cells_of`: each block of lines is split at once, with a mark at each end of line, and every mark must be
    in the column of the first one. Of a column that says the same again and again, each text is held once.
    """
    if separator in QUOTING or "\0" in text:
        return None
    text, start = text.rstrip("\r\n"), 0
    columns: list[list[str]] = []
    while not columns or start < len(text):
        end = text.find("\n", start + BLOCK)
        end = len(text) if end < 0 else end
        block = _columns_of_block(text[start:end], separator)
        if not block or (columns and len(block) != len(columns)):
            return None
        columns = columns or [[] for _ in block]
        for column, more in zip(columns, block, strict=True):
            some = more[:SAMPLE]
            column += map(intern, more) if 2 * len({*some}) < len(some) else more
        start = end + 1
    return columns


def _columns_of_block(text: str, separator: str | None) -> list[list[str]] | None:
    gap = separator or " "
    marked = text.replace("\n", f"{gap}\0{gap}")
    n_lines = 1 + (len(marked) - len(text)) // 2
    cells = marked.split(separator)
    cells.append("\0")
    width = cells.index("\0")
    if len(cells) != n_lines * (width + 1) or cells[width :: width + 1].count("\0") != n_lines:
        return None
    columns = [cells[i :: width + 1] for i in range(width)]
    if separator is not None:
        columns = [list(map(str.strip, column)) for column in columns]
    return None if separator and any("" in column for column in columns) else columns


def read_protocol(path: Path, columns: Columns) -> list[Utterance]:
    """The utterances of a protocol in its order, without paths; `where` is the file and the line.

    `-` means no value: no attack, or no such condition. Bona fide speech has no attack, whatever its cell holds.

    Raises:
        InputError: The file cannot be read, a line has another number of columns, a key is unknown, an id is missing or
            is on two lines, the header lacks a column: names the file and the line.
    """
    lines = cells_of(read_text(path), columns.separator, path)
    header = next(lines, (1, []))[1] if columns.header else []
    width = len(header) if columns.header else columns.n_columns
    utterance, key, attack, speaker, *others = _indices(columns, header, path)
    assert utterance is not None
    names = tuple(columns.conditions)
    known: dict[tuple[str, ...], dict[str, str]] = {}  # lines with the same conditions share one dictionary
    line_of: dict[str, int] = {}
    found: list[Utterance] = []
    for number, cells in lines:
        where = f"{path}, line {number}"
        if width is not None and len(cells) != width:
            raise InputError(f"{where}: {len(cells)} columns, {width} were expected: {' '.join(cells)[:80]!r}")
        try:
            name, word = cells[utterance], "" if key is None else cells[key]
            system, voice = "" if attack is None else cells[attack], "" if speaker is None else cells[speaker]
            values = tuple([cells[i] for i in others if i is not None])
        except IndexError:
            raise InputError(f"{where}: {len(cells)} columns are too few: {' '.join(cells)[:80]!r}") from None
        if name in NO_VALUE:
            raise InputError(f"{where}: the utterance has no id")
        if (first := line_of.setdefault(name, number)) != number:
            raise InputError(f"{where}: utterance {name} is listed already on line {first}: keep one of the two")
        if (label := LABEL_WORDS.get(word)) is None and word not in NO_VALUE:
            label = label_of(word, where)
        if (conditions := known.get(values)) is None:
            conditions = {n: value for n, value in zip(names, values, strict=True) if value not in NO_VALUE}
            known[values] = conditions
        system = "" if system in NO_VALUE or label == BONAFIDE else system
        voice = "" if voice in NO_VALUE else voice
        found.append(Utterance(name, "", label, system, voice, "", where, conditions))
    if not found:
        raise InputError(f"{path}: there are no utterances in it")
    return found


def layout_of(path: Path) -> tuple[str, Columns]:
    """Which of `LAYOUTS` a protocol has, from its first lines; for `csv` with the names that its header has.

    Raises:
        InputError: It is none of them (lists those), or cannot be read.
    """
    text = "\n".join(read_text(path).split("\n", SAMPLE)[:SAMPLE])
    separator = separator_of(text)
    rows = [cells for _, cells in islice(cells_of(text, separator, path), SAMPLE // 2)]
    if rows and (found := _layout_with_header(rows[0], separator)):
        return found
    if name := layout_of_lines(rows):
        return name, replace(LAYOUTS[name], separator=separator)
    known = ", ".join(f"{n} ({c.n_columns} columns)" if c.n_columns else n for n, c in LAYOUTS.items())
    begin = text.lstrip().split("\n", 1)[0][:80]
    raise InputError(f"{path}: {begin!r} begins no protocol that is known: {known}; write it as one of these")


def layout_of_lines(rows: list[list[str]]) -> str | None:
    """Which of the `LAYOUTS` without a header lines have, by their number of columns and the column of their keys."""
    if not rows:
        return None
    width, fitting = len(rows[0]), dict[str, int]()
    same = [cells for cells in rows if len(cells) == width]
    for name, columns in LAYOUTS.items():
        if not columns.header and columns.n_columns == width and isinstance(key := columns.key, int):
            words = sum(cells[key].lower() in LABEL_WORDS for cells in same)
            if 2 * (words + sum(cells[key] in NO_VALUE for cells in same)) > len(rows):
                fitting[name] = words
    if "asvspoof2019_pa" in fitting and any(cells[2] != "-" for cells in same):
        return "asvspoof2019_pa"
    if "partialspoof" in fitting and any(cells[1].startswith("CON_") for cells in same):
        return "partialspoof"
    if "asvspoof2021_stage1" in fitting and all(cells[2] == "-" for cells in same):
        return "asvspoof2021_stage1"
    return max(fitting, key=fitting.__getitem__) if fitting else None


def separator_of(text: str) -> str | None:
    """The first of tab, semicolon, comma and bar that the first line has; None where it has only spaces."""
    first = text.lstrip().split("\n", 1)[0].rstrip()
    return next((mark for mark in ("\t", ";", ",", "|") if mark in first), None)


def complete(
    utterances: list[Utterance], expected: tuple[int, int] | int | None, corpus: str, part: str = ""
) -> list[Utterance]:
    """The same list, after a warning where the number of trials is not the published one.

    Args:
        utterances: The utterances of a partition or another part of a corpus.
        expected: Published number of bona fide and of spoofed trials, or of all; None where unpublished.
        corpus: Name of the corpus.
        part: Name of the part.
    """
    labels, words = [u.label for u in utterances], "{0:,}"
    got: tuple[int, int] | int = len(labels)
    if isinstance(expected, tuple):
        got, words = (labels.count(BONAFIDE), labels.count(SPOOF)), "{0[0]:,} bona fide and {0[1]:,} spoof"
    if expected not in (None, got):
        message = f"{words.format(got)} trials, {words.format(expected)} were published"
        where = f"{corpus}, {part}" if part else corpus
        warn_incomplete(corpus, f"{where}: {message}: a part of it, or another corpus in its layout")
    return utterances


def warn_incomplete(corpus: str, message: str) -> None:
    """Warn once of a corpus, however many of its partitions are incomplete and however often they are read."""
    if corpus not in _incomplete:
        _incomplete.add(corpus)
        log.warning(message)


def named_columns(header: Sequence[str]) -> list[str]:
    """The names in a header, without columns that have none: of row numbers, or behind a separator at the end."""
    return [name for name in header if not UNNAMED.fullmatch(name)]


def columns_of_header(header: list[str], separator: str | None) -> Columns | None:
    """The columns by the names in a header, any of `HEADER_NAMES`; a column of another name is a condition.

    None where it names no utterance, or a name twice.
    """
    names = [name.lower() for name in header]
    named = named_columns(header)
    at = {what: next((names.index(n) for n in known if n in names), None) for what, known in HEADER_NAMES.items()}
    if (utterance := at["utterance"]) is None or len({*named}) < len(named):
        return None
    aside = {*at.values()} | {i for i, n in enumerate(names) if n in HEADER_NAMES["utterance"] or "score" in n}
    conditions = {name: i for i, name in enumerate(header) if i not in aside and name in named}
    return Columns(utterance, at["key"], at["attack"], at["speaker"], conditions, None, separator, True)


def _layout_with_header(header: list[str], separator: str | None) -> tuple[str, Columns] | None:
    for name, columns in LAYOUTS.items():
        fits = columns.header and columns.separator == separator and {*_wanted(columns)} <= {*header, None}
        if fits and name != "csv":
            return name, columns
    found = columns_of_header(header, separator)
    return ("csv", found) if found and found.key is not None else None


def _wanted(columns: Columns) -> list[int | str | None]:
    return [columns.utterance, columns.key, columns.attack, columns.speaker, *columns.conditions.values()]


def _indices(columns: Columns, header: list[str], path: Path) -> list[int | None]:
    """Index of utterance, key, attack, speaker and each condition; names are looked up in the header."""
    found: list[int | None] = []
    for name in _wanted(columns):
        if isinstance(name, str) and name not in header:
            raise InputError(f"{path}: the first line is {header[:20]}: a header with {name!r} in it was expected")
        found.append(header.index(name) if isinstance(name, str) else name)
    return found
