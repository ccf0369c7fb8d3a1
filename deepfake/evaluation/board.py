"""What TensorBoard shows of a judged partition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepfake.evaluation import figures
from deepfake.evaluation.scores import Scores


def show(board: Any, metrics: Mapping[str, Any], scores: Scores, tag: str) -> None:
    """Write scalars, the DET and ROC curves and the score histogram.

    Args:
        board: A `SummaryWriter`.
        metrics: What `judge` said.
        scores: The scores it said it of.
        tag: Under which they stand.
    """
    for key, value in metrics.items():
        if isinstance(value, float):
            board.add_scalar(f"{tag}/{key}", value)
    for attack, entry in metrics["by_attack"].items():
        if entry["eer"] is not None:
            board.add_scalar(f"{tag}_eer_by_attack/{attack}", entry["eer"])
    if metrics["eer"] is not None:
        known = scores.labels >= 0
        for draw in (figures.det, figures.roc, figures.histogram):
            board.add_figure(f"{tag}/{draw.__name__}", draw(scores.scores[known], scores.labels[known]))
