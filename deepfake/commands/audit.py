"""A corpus audited for shortcuts, from its files to the report."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from deepfake.audit.report import table, write_audit
from deepfake.audit.shortcuts import audit, measure
from deepfake.commands.outcome import Outcome
from deepfake.commands.settings import Settings
from deepfake.datasets.corpus import Corpus
from deepfake.datasets.utterance import PARTITIONS, Utterance
from deepfake.errors import InputError
from deepfake.runs.environment import environment_rows, write_environment

log = logging.getLogger(__name__)


def audit_corpus(corpus: Corpus, partitions: Sequence[str] | None, settings: Settings) -> Outcome:
    """Measure the cues of a corpus and how far each alone separates the classes.

    Args:
        corpus: The corpus.
        partitions: Of the corpus, None for all that it has.
        settings: Settings that all commands share.

    Raises:
        InputError: No partition could be read, or a file cannot be (unless the corpus says `skip`).
    """
    utterances: list[Utterance] = []
    why: list[str] = []
    for partition in partitions or PARTITIONS:
        try:
            utterances += corpus.select(partition, 0)
        except InputError as error:
            if partitions:
                raise
            why.append(str(error))
            log.info("%s, partition %s is skipped: %s", corpus.name, partition, error)
    if not utterances:
        raise InputError(f"{corpus.name}: none of its partitions can be read: {why[0]}")
    cues, errors = measure(utterances)
    if errors and corpus.on_bad_audio == "raise":
        first = next(iter(errors.values()))
        raise InputError(
            f"{len(errors)} of {len(utterances)} files cannot be read: {first} (dataset.on_bad_audio=skip)"
        )
    result = audit(cues, utterances, seed=settings.intervals.seed, n_bootstrap=settings.intervals.n)
    output = settings.folder(Path("outputs/audits") / corpus.name).path
    facts = write_environment(output, sys.argv, "cpu", settings.intervals.seed)
    root = str(corpus.config.get("root") or corpus.name)
    provenance = {"corpus": root, "utterances": len(utterances) - len(errors), **environment_rows(facts)}
    write_audit(output, result, cues, utterances, title=f"shortcuts in {corpus.name}", provenance=provenance)
    return Outcome(result, output, table(result), bool(errors))
