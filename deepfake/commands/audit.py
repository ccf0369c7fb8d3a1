"""A corpus audited for shortcuts, from its files to the report."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from deepfake.audit.report import table, write_audit
from deepfake.audit.shortcuts import audit, measure
from deepfake.commands.scoring import Settings
from deepfake.datasets.corpus import Corpus
from deepfake.datasets.utterance import PARTITIONS, Utterance
from deepfake.errors import InputError
from deepfake.runs.environment import environment_rows, write_environment

log = logging.getLogger(__name__)


def audit_corpus(
    corpus: Corpus, partitions: Sequence[str] | None, settings: Settings
) -> tuple[dict[str, Any], Path, Table, bool]:
    """Measure the cues of a corpus and how far each alone tells the classes apart.

    Args:
        corpus: The corpus.
        partitions: Of it, None for all that it has.
        settings: What all commands share.

    Returns:
        What stands in `audit.json`, the folder, a table for the terminal, whether files were passed over.

    Raises:
        InputError: No partition could be read, or a file cannot be (unless the corpus says `skip`).
    """
    found: list[Utterance] = []
    why: list[str] = []
    for partition in partitions or PARTITIONS:
        try:
            found += corpus.select(partition, 0)
        except InputError as error:
            if partitions:
                raise
            why.append(str(error))
            log.info("%s, partition %s is left out: %s", corpus.name, partition, error)
    if not found:
        raise InputError(f"{corpus.name}: none of its partitions can be read: {why[0]}")
    cues, errors = measure(found)
    if errors and corpus.on_bad_audio == "raise":
        first = next(iter(errors.values()))
        raise InputError(f"{len(errors)} of {len(found)} files cannot be read: {first} (dataset.on_bad_audio=skip)")
    result = audit(
        cues,
        [u.label for u in found],
        [u.speaker for u in found],
        [u.attack for u in found],
        partitions=[u.partition for u in found],
        seed=settings.intervals.seed,
        n_bootstrap=settings.intervals.n,
    )
    output = Path(settings.output) if settings.output else Path("outputs/audits") / corpus.name
    output.mkdir(parents=True, exist_ok=True)
    facts = write_environment(output, sys.argv, torch.device("cpu"), settings.intervals.seed)
    root = str(corpus.config.get("root") or corpus.name)
    provenance = {"corpus": root, "utterances": len(found) - len(errors), **environment_rows(facts)}
    write_audit(output, result, cues, found, title=f"shortcuts in {corpus.name}", provenance=provenance)
    return result, output, table(result), bool(errors)
