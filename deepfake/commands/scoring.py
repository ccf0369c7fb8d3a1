"""What the commands of `evaluate.py` share: their settings, and the scores of a partition of a corpus."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from deepfake.datasets.corpus import Corpus
from deepfake.datasets.utterance import Utterance, speaker_overlap, write_manifest, write_skipped
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.evaluation.metrics import Intervals
from deepfake.scores.compute import device_of, score
from deepfake.scores.table import Scores, write_scores

log = logging.getLogger(__name__)
STALE = ("metrics.json", "report.html", "skipped.csv")


@dataclass(frozen=True)
class Settings:
    """What all commands share.

    Args:
        output: Folder to write, None for the command's own choice.
        asv_scores: ASV score file or JSON of t-DCF coefficients, None for what the corpus has.
        intervals: How confidence intervals are made.
        device: `auto`, `cpu`, `cuda` ...
        batch_size: Clips per step.
        num_workers: Loader processes.
        clips: `first` or `whole`, as `deepfake.scores.compute.score` has it.
    """

    output: str | None = None
    asv_scores: str | None = None
    intervals: Intervals = field(default_factory=Intervals)
    device: str = "auto"
    batch_size: int = 16
    num_workers: int = 0
    clips: str = "first"


class Partition(NamedTuple):
    """A scored partition.

    Attributes:
        scores: Of what could be scored.
        told: What a report says of it.
        passed_over: Number of files that could not be scored.
    """

    scores: Scores
    told: dict[str, Any]
    passed_over: int


def score_partition(
    detector: Detector,
    corpus: Corpus,
    partition: str,
    settings: Settings,
    output: Path,
    *,
    seed: int,
    heard: Sequence[Utterance] = (),
    manifest: Path | None = None,
) -> Partition:
    """Score a partition; `scores.csv`, the manifest and the list of what was passed over are written into `output`.

    Args:
        detector: The detector.
        corpus: The corpus.
        partition: Of it.
        settings: What all commands share.
        output: Folder.
        seed: Of a balanced subset.
        heard: What the detector was trained on, to warn of speakers that are in both.
        manifest: Where the manifest goes, None for `output`.

    Raises:
        InputError: Files could not be scored (unless the corpus says `skip`); the scores of the others are kept.
    """
    utterances = corpus.select(partition, seed)
    if partition != "train":
        for speakers in speaker_overlap({"train": heard, partition: utterances}).values():
            first = ", ".join(speakers[:3])
            log.warning("%d speakers of %s were in training (%s ...)", len(speakers), partition, first)
    output.mkdir(parents=True, exist_ok=True)
    device = device_of(settings.device)
    log.info("%s, partition %s: %d utterances on %s", corpus.name, partition, len(utterances), device)
    loading = {"batch_size": settings.batch_size, "num_workers": settings.num_workers}
    clips = {"clips": settings.clips, "to_end": True}
    scores, errors, seconds = score(detector, utterances, device=device, **loading, **clips)
    for stale in STALE:
        (output / stale).unlink(missing_ok=True)
    write_scores(output / "scores.csv", scores)
    write_manifest(manifest or output / "manifest.csv", utterances)
    if errors:
        write_skipped(output / "skipped.csv", [(utterances[i], why) for i, why in errors.items()])
        if corpus.on_bad_audio == "raise":
            raise InputError(
                f"{len(errors)} of {len(utterances)} files could not be scored: {next(iter(errors.values()))} (the "
                f"scores of the others are in {output / 'scores.csv'}; dataset.on_bad_audio=skip judges those)"
            )
    told = {
        "corpus": str(corpus),
        "partition": partition,
        **({"clips": "whole: every window of a file, and their mean"} if settings.clips == "whole" else {}),
        "speech": f"{len(scores):,} utterances, {seconds / 3600:.2f} h ({seconds:,.0f} s)",
        "passed over": len(errors),
    }
    return Partition(scores, told, len(errors))
