"""The scores of a partition of a corpus, for the commands of `evaluate.py`."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepfake.commands.settings import Settings
from deepfake.commands.shares import Shares
from deepfake.datasets.corpus import Corpus
from deepfake.datasets.utterance import Utterance, speaker_overlap, write_manifest, write_skipped
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.processes import Process
from deepfake.runs.folder import ReportFolder
from deepfake.scores.compute import device_of, put_together, scored
from deepfake.scores.table import Scores, write_scores

log = logging.getLogger(__name__)


def score_partition(
    detector: Detector,
    corpus: Corpus,
    partition: str,
    settings: Settings,
    output: ReportFolder,
    *,
    seed: int,
    trained_on: Sequence[Utterance] = (),
    manifest: Path | None = None,
) -> tuple[Scores, dict[str, Any]] | None:
    """Score a partition; `scores.csv`, the manifest and the list of skipped files are written into `output`.

    Of several processes each scores its share, and the first writes; see `deepfake.commands.shares`. What was scored
    before an interruption is not scored again. It is in `output.shares`, which the caller deletes when all is written.

    Args:
        detector: The detector.
        corpus: The corpus.
        partition: Of the corpus.
        settings: Settings that all commands share.
        output: Folder to write.
        seed: Of a balanced subset.
        trained_on: The detector's training utterances, to warn of speakers that are in both.
        manifest: Where the manifest goes, None for `output`.

    Returns:
        The scores, and rows for the report, of which `skipped` is the number of files without a score; None in other
        processes than the first.

    Raises:
        InputError: Files could not be scored (unless the corpus says `skip`); the scores of the others are kept.
    """
    utterances, process = corpus.select(partition, seed), Process.here()
    if partition != "train" and process.first:
        for speakers in speaker_overlap({"train": trained_on, partition: utterances}).values():
            first = ", ".join(speakers[:3])
            log.warning("%d speakers of %s were in training (%s ...)", len(speakers), partition, first)
    device = device_of(settings.device)
    if process.first:
        on = f"{process.n} processes" if process.n > 1 else str(device)
        log.info("%s, partition %s: %d utterances on %s", corpus.name, partition, len(utterances), on)
    loading = {"batch_size": settings.batch_size, "num_workers": settings.num_workers, "device": device}
    clips = {"clips": settings.clips, "to_end": True}
    what = json.dumps([detector.sha256, settings.clips, [(u.id, u.path) for u in utterances]])
    folder = output.shares / hashlib.sha256(what.encode()).hexdigest()[:12]
    shares = Shares(folder, len(utterances), process)
    batches = shares.run(lambda indices: scored(detector, utterances, indices, **loading, **clips))
    if batches is None:
        return None
    scores, errors, seconds = put_together(detector, utterances, batches)
    for stale in (output.metrics, output.page, output.skipped):
        stale.unlink(missing_ok=True)
    write_scores(output.scores, scores)
    write_manifest(manifest or output.manifest, utterances)
    if errors:
        write_skipped(output.skipped, [(utterances[i], why) for i, why in errors.items()])
        if corpus.on_bad_audio == "raise":
            output.remove_shares()  # or the same command would not look at the files again
            raise InputError(
                f"{len(errors)} of {len(utterances)} files could not be scored: {next(iter(errors.values()))} (the "
                f"scores of the others are in {output.scores}; dataset.on_bad_audio=skip evaluates those)"
            )
    return scores, {
        "corpus": str(corpus),
        "partition": partition,
        **({"clips": "whole: every window of a file, and their mean"} if settings.clips == "whole" else {}),
        "speech": f"{len(scores):,} utterances, {seconds / 3600:.2f} h ({seconds:,.0f} s)",
        "skipped": len(errors),
    }
