"""How the rows of `deepfake predict` are written: each as it comes into a file or on stdout, or all as a table."""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import json
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from deepfake.atomic import csv_text, restored, write_atomically
from deepfake.detector import Detector
from deepfake.errors import InputError, printable
from deepfake.terminal import shortened, show, table, with_notes, write

COLUMNS = ["file", "score", "p_fake", "verdict", "calibrated", "log10_lr_spoof", "capped"]
COLUMNS += ["seconds", "scored_seconds", "domain", "domain_percentile", "domain_misjudged", "domain_n"]
COLUMNS += ["cautions", "error"]
ANOTHER = "give another --output"
END = "\n  }"  # of an object in a list of JSON: lines within it are indented further, and no string has several

Row = dict[str, Any]


class Rows(ABC):
    """Rows that are written as they come.

    Args:
        out: The stream.
        n: Number of rows that it has already.
    """

    def __init__(self, out: TextIO, n: int = 0) -> None:
        self.out, self.n = out, n

    def add(self, row: Row) -> None:
        """Write a row, to be read at once."""
        write(self._text(row), self.out)
        self.n += 1

    @abstractmethod
    def close(self) -> None:
        """Write what comes after the last row, however the work ends."""

    @abstractmethod
    def _text(self, row: Row) -> str:
        """The text of the next row, with what comes before it."""

    @staticmethod
    @abstractmethod
    def begun(text: str) -> tuple[str, list[Row]]:
        """What was written before, as far as the last whole row, and its rows.

        Raises:
            ValueError: It is of another form.
        """


class CsvRows(Rows):
    """Rows below a header."""

    def _text(self, row: Row) -> str:
        plain = {key: str(value).lower() if isinstance(value, bool) else value for key, value in row.items()}
        plain["cautions"] = " ".join(row.get("cautions", []))
        return csv_text([*([] if self.n else [COLUMNS]), [plain.get(name) for name in COLUMNS]], "\n")

    def close(self) -> None:
        pass

    @staticmethod
    def begun(text: str) -> tuple[str, list[Row]]:
        lines, rows, n_lines = [*io.StringIO(text, newline="\n")], [], 0
        reader = csv.reader(lines, strict=True)
        try:
            for cells in reader:
                if len(cells) != len(COLUMNS) or not lines[reader.line_num - 1].endswith("\n"):
                    break
                rows.append(dict(zip(COLUMNS, map(restored, cells), strict=True)))
                n_lines = reader.line_num
        except csv.Error:  # it ends within quotes
            pass
        if text and (not rows or [*rows[0].values()] != COLUMNS):
            raise ValueError("another header")
        return ("".join(lines[:n_lines]), rows[1:]) if len(rows) > 1 else ("", [])


class JsonRows(Rows):
    """A list of objects, as `json.dumps(rows, indent=2)` has it; it is JSON once it is closed."""

    def _text(self, row: Row) -> str:
        text = json.dumps(row, indent=2, ensure_ascii=False)
        try:
            text.encode(self.out.encoding or "utf-8")
        except UnicodeEncodeError:  # of a name that is not Unicode, or not in this encoding
            text = json.dumps(row, indent=2)
        return ("," if self.n else "[") + f"\n{text}".replace("\n", "\n  ")

    def close(self) -> None:
        write("\n]\n" if self.n else "[]\n", self.out)

    @staticmethod
    def begun(text: str) -> tuple[str, list[Row]]:
        if END not in text:
            if text and text[0] != "[":
                raise ValueError("no list of objects")
            return "", []
        text = text[: text.rindex(END) + len(END)]
        return text, json.loads(f"{text}\n]")


def show_table(rows: Sequence[Row], detector: Detector) -> None:
    """Print a table of rows, and below it cautions and errors; in a terminal, long names of files are shortened."""
    caption = f"threshold {detector.threshold:.4g} ({detector.config['threshold']['source']})"
    if (n := detector.calibration) is None:
        caption = f"calibrated: false; {caption}"
    else:
        caption = (
            f"calibrated: true; {caption}. p_fake is the probability at even prior odds; log10 LR that of spoof "
            f"against bona fide, fitted on {detector.config['calibration']['source']} ({n.n_bonafide} bona fide, "
            f"{n.n_spoof} spoof). An asterisk: capped to what these support."
        )
    longest = max(20, shutil.get_terminal_size().columns - 60) if sys.stdout.isatty() else None
    lines, notes = [], []
    for row in rows:
        name = printable(row["file"])
        name = shortened(name, longest) if longest else name
        if "error" in row:
            lines.append([name, "", "", "", "error", ""])
            notes.append(f"error: {row['error']}")
            continue
        ratio = f"{row['log10_lr_spoof']:.2f}{'*' if row['capped'] else ''}" if "log10_lr_spoof" in row else ""
        scored = f"{row['scored_seconds']:.1f} of " if row["scored_seconds"] < row["seconds"] else ""
        numbers = (f"{row['score']:.4f}", f"{row['p_fake']:.4f}", ratio)
        lines.append([name, *numbers, row["verdict"], f"{scored}{row['seconds']:.1f}"])
        if cautions := [caution for caution in row["cautions"] if caution != "not_calibrated"]:  # the caption says that
            notes.append(f"{name}: {', '.join(cautions)}")
    headings = ["file", "score", "p_fake", "log10 LR", "verdict", "seconds"]
    if detector.calibration is None:
        for line in (headings, *lines):
            del line[3]
    view = table(headings, lines, left=(0, len(headings) - 2))
    show(with_notes([view], [*notes, caption]), stdout=True)


FORMS: dict[str, type[CsvRows | JsonRows]] = {"csv": CsvRows, "json": JsonRows}


@contextmanager
def rows_on_stdout(form: str, detector: Detector) -> Iterator[Callable[[Row], None]]:
    """Takes rows for stdout in one of `FORMS`, or for a `table` at the end, of what there is then however it ends."""
    rows: list[Row] = []
    written = None if form == "table" else FORMS[form](sys.stdout)
    try:
        yield written.add if written else rows.append
    finally:
        if written:
            written.close()
        elif rows:
            show_table(rows, detector)


@contextmanager
def rows_in_file(
    path: Path, form: str, settings: Mapping[str, Any]
) -> Iterator[tuple[Callable[[Row], None], list[Row]]]:
    """Takes rows for a file, after those that the same command wrote before it was interrupted.

    `FILE.settings.json` beside it says what they were made with.

    Args:
        path: Path of the file.
        form: One of `FORMS`.
        settings: What the rows depend on, and where the detector is.

    Yields:
        What takes a row, and the rows that are there.

    Raises:
        InputError: The file was written by others, with other settings, or is being written.
    """
    _agree(path, path.with_name(f"{path.name}.settings.json"), {"format": form, **settings})
    with path.open("a+", encoding="utf-8", errors="backslashreplace", newline="") as file:
        _lock(file, path)
        file.seek(0)
        try:
            text, before = FORMS[form].begun(file.read())
        except ValueError as error:
            raise InputError(f"{path} holds no rows of predict as {form} ({error}): {ANOTHER}") from None
        file.truncate(len(text.encode()))
        rows = FORMS[form](file, len(before))
        try:
            yield rows.add, before
        finally:
            rows.close()


def _agree(path: Path, beside: Path, settings: Mapping[str, Any]) -> None:
    """Write what rows are made with beside their file, or compare it with what is there."""
    if not path.exists():
        write_atomically(beside, json.dumps(settings, indent=2) + "\n")
        return
    try:
        there = dict(json.loads(beside.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        raise InputError(f"{path} exists, and was not begun by this command: {ANOTHER}") from None
    for name, value in settings.items():
        if name != "detector" and there.get(name) != value:
            begun = f"{path} was begun with {name}={there.get(name)}, this is {value}"
            raise InputError(f"{begun}: use the same again, or {ANOTHER}")


def _lock(file: TextIO, path: Path) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise InputError(f"{path} is being written by another process: wait for it, or {ANOTHER}") from None
