"""The folder that an evaluation leaves: scores, metrics, page, figures, and what they were made with."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from deepfake.errors import InputError
from deepfake.evaluation.report import write_report
from deepfake.evaluation.tensorboard import write_board
from deepfake.runs.environment import environment_rows, write_environment
from deepfake.runs.folder import ReportFolder
from deepfake.scores.table import AsvScores, Scores

if TYPE_CHECKING:
    from deepfake.runs.environment import Device

S = TypeVar("S", Scores, AsvScores)


class Evaluation(NamedTuple, Generic[S]):
    """What came of one set of scores.

    Attributes:
        metrics: What stands in `metrics.json`.
        scores: A detector's, or a verifier's by kind of trial.
        folder: Where it was written.
        skipped: Whether some inputs were.
    """

    metrics: dict[str, Any]
    scores: S
    folder: Path
    skipped: bool = False


def write_evaluation(
    path: Path,
    metrics: dict[str, Any],
    scores: Scores,
    *,
    title: str,
    provenance: Mapping[str, Any],
    device: Device = "cpu",
    seed: int = 0,
) -> None:
    """Write the report, `environment.json` and the TensorBoard events of a detector's scores into a folder."""
    folder, facts = ReportFolder(path), write_environment(path, sys.argv, device, seed)
    trials = {"trials": f"{len(scores):,}, SHA-256 of ids, labels and attacks {metrics['trials_sha256']}"}
    write_report(folder, metrics, scores, title=title, provenance={**provenance, **trials, **environment_rows(facts)})
    write_board(folder, metrics, scores, title.replace(": ", "-").replace(" ", "_"))


def short_names(paths: Sequence[str]) -> list[str]:
    """Short names for files or folders: where their paths differ (`a` and `b` of `a/scores.csv` and `b/scores.csv`).

    Raises:
        InputError: One is given twice.
    """
    parts = [Path(path).absolute().parts for path in paths]
    while all(parts) and len(set(parts)) > 1 and len({p[-1] for p in parts}) == 1:
        parts = [p[:-1] for p in parts]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    raise InputError(f"{', '.join(paths)}: the same one is given twice")
