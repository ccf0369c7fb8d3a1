"""Check of a corpus before training."""

from __future__ import annotations

import sys
from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deepfake.address import is_address
from deepfake.audio.mono import MIN_SECONDS
from deepfake.audio.waveform import info
from deepfake.datasets.corpus import Corpus
from deepfake.datasets.layout import NoPartition
from deepfake.datasets.utterance import (
    BONAFIDE,
    PARTITIONS,
    SPOOF,
    Utterance,
    by_attack,
    missing_files,
    speaker_overlap,
)
from deepfake.errors import InputError, printable
from deepfake.loading.datamodule import require_both_classes
from deepfake.terminal import progress


def check(corpus: Corpus) -> int:
    """Print counts, hours, speakers, attacks, missing and unreadable files of each partition, and what overlaps.

    A partition that the corpus does not have by design is stated, and is no problem. Only the headers of the audio are
    read, at addresses none. All of it goes to stdout.

    Args:
        corpus: The corpus.

    Returns:
        Number of problems.
    """
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title=corpus.name)
    for heading in ("partition", "bona fide", "spoof", "hours", "speakers", "missing", "unreadable", "attacks"):
        table.add_column(heading, justify="left" if heading in ("partition", "attacks") else "right")
    found: dict[str, list[Utterance]] = {}
    notes: list[str] = []
    problems: list[str] = []
    for partition in PARTITIONS:
        try:
            utterances = found[partition] = corpus.read(partition)
        except NoPartition as error:
            notes.append(str(error))
            continue
        except InputError as error:
            problems += [str(error)] if str(error) not in problems else []
            continue
        if not utterances:
            notes.append(f"{corpus.name}, partition {partition}: there are no utterances in it")
        missing = missing_files(utterances)
        absent = {u.path for u in missing}
        seconds, unreadable = _headers([u for u in utterances if u.path not in absent], partition)
        if missing:
            problems.append(f"{missing[0].where or partition}: {missing[0].path} is missing ({len(missing)} are)")
        problems += unreadable
        if partition != "eval" and utterances:
            try:
                require_both_classes(utterances, f"{corpus.name}, partition {partition}")
            except InputError as error:
                problems.append(str(error))
        if twice := [i for i, n in Counter(u.id for u in utterances).items() if n > 1]:
            problems.append(f"{partition}: {len(twice)} utterances are listed more than once, as {twice[0]}")
        labels = Counter(u.label for u in utterances)
        attacks = " ".join(f"{attack}:{n}" for attack, n in by_attack(utterances).items())
        n_speakers = len({u.speaker for u in utterances if u.speaker})
        hours = "-" if seconds is None else f"{seconds / 3600:.2f}"
        cells = (labels[BONAFIDE], labels[SPOOF], hours, n_speakers, len(missing), len(unreadable))
        table.add_row(partition, *map(str, cells), escape(printable(attacks)))
    for (a, b), speakers in speaker_overlap(found).items():
        problems.append(f"{len(speakers)} speakers are in both {a} and {b}: {', '.join(speakers[:5])}")
    if not any(found.values()) and not problems:
        problems.append(f"{corpus.name}: there are no utterances in any partition")
    console.print(table)
    for line in [*notes, *(f"- {problem}" for problem in problems)]:
        console.print(escape(printable(line)), soft_wrap=True, highlight=False)
    return len(problems)


def _headers(utterances: list[Utterance], partition: str) -> tuple[float | None, list[str]]:
    """Total duration by the headers in seconds, None at addresses, and an error for each file that cannot be used."""
    seconds, errors = 0.0, []
    if any(is_address(u.path) for u in utterances):  # a request each
        return None, []
    for u in progress(utterances, f"reading headers of {partition}"):
        try:
            claimed = info(u.path).seconds
            seconds += claimed or 0.0
            if claimed is not None and claimed < MIN_SECONDS:
                errors.append(f"{u.path} lasts {claimed:g} s: at least {MIN_SECONDS:g} s are needed")
        except InputError as error:
            errors.append(str(error))
    return seconds, errors
