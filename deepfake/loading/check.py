"""A look at a corpus before anything is trained on it."""

from __future__ import annotations

import sys
from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deepfake.audio.waveform import MIN_SECONDS, info
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
from deepfake.errors import InputError
from deepfake.loading.datamodule import require_both_classes
from deepfake.terminal import progress


def check(corpus: Corpus) -> int:
    """Print, per partition, counts, hours, speakers, attacks, missing and unreadable files, and what overlaps.

    A partition that the corpus does not have by design is stated, and is no problem. Only the headers of the audio are
    read. All of it goes to stdout.

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
    stated: list[str] = []
    problems: list[str] = []
    for partition in PARTITIONS:
        try:
            utterances = found[partition] = corpus.read(partition)
        except NoPartition as error:
            stated.append(str(error))
            continue
        except InputError as error:
            problems += [str(error)] if str(error) not in problems else []
            continue
        missing = missing_files(utterances)
        absent = {u.path for u in missing}
        seconds, unreadable = _headers([u for u in utterances if u.path not in absent], partition)
        twice = [i for i, n in Counter(u.id for u in utterances).items() if n > 1]
        problems += (
            [f"{missing[0].where or partition}: {missing[0].path} is missing ({len(missing)} are)"] if missing else []
        )
        problems += unreadable
        if partition != "eval" and utterances:
            problems += _one_class(utterances, f"{corpus.name}, partition {partition}")
        problems += [f"{partition}: {len(twice)} utterances are listed more than once, as {twice[0]}"] if twice else []
        labels = Counter(u.label for u in utterances)
        attacks = " ".join(f"{attack}:{n}" for attack, n in by_attack(utterances).items())
        cells = (
            labels[BONAFIDE],
            labels[SPOOF],
            f"{seconds / 3600:.2f}",
            len({u.speaker for u in utterances if u.speaker}),
        )
        table.add_row(partition, *map(str, cells), str(len(missing)), str(len(unreadable)), escape(attacks))
    for (a, b), speakers in speaker_overlap(found).items():
        problems.append(f"{len(speakers)} speakers are in both {a} and {b}: {', '.join(speakers[:5])}")
    console.print(table)
    for line in [*stated, *(f"- {problem}" for problem in problems)]:
        console.print(escape(line), soft_wrap=True, highlight=False)
    return len(problems)


def _one_class(utterances: list[Utterance], where: str) -> list[str]:
    try:
        require_both_classes(utterances, where)
    except InputError as error:
        return [str(error)]
    return []


def _headers(utterances: list[Utterance], partition: str) -> tuple[float, list[str]]:
    """Seconds that the headers claim, and what is wrong with those that cannot be read."""
    seconds, errors = 0.0, []
    for u in progress(utterances, f"reading headers of {partition}"):
        try:
            claimed = info(u.path).seconds
            seconds += claimed or 0.0
            if claimed is not None and claimed < MIN_SECONDS:
                errors.append(f"{u.path} lasts {claimed:g} s: at least {MIN_SECONDS:g} s are needed")
        except InputError as error:
            errors.append(str(error))
    return seconds, errors
