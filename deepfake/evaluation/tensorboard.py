"""What TensorBoard shows of the scores of a partition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deepfake.figures import style as figures
from deepfake.metrics.trials import Trials
from deepfake.scores.table import Scores


def show(board: Any, metrics: Mapping[str, Any], scores: Scores, tag: str) -> None:
    """Write scalars, the precision-recall curve, the DET and ROC curves and the score histogram.

    Args:
        board: A `SummaryWriter`.
        metrics: What `evaluate` made of the scores.
        scores: The scores.
        tag: What the names on the board begin with.
    """
    for key, value in metrics.items():
        if isinstance(value, float):
            board.add_scalar(f"{tag}/{key}", value)
    for attack, entry in metrics["by_attack"].items():
        if entry["eer"] is not None:
            board.add_scalar(f"{tag}_eer_by_attack/{attack}", entry["eer"])
    if metrics["eer"] is not None:
        known = scores.labels >= 0
        trials = Trials(s := scores.scores[known], scores.labels[known])
        ranks = (np.searchsorted(np.sort(s), s, side="right") - 1) / len(s)  # the curve takes numbers between 0 and 1
        board.add_pr_curve(f"{tag}/precision_recall", scores.labels[known], ranks)
        for draw in (figures.det, figures.roc, figures.histogram):
            board.add_figure(f"{tag}/{draw.__name__}", draw(trials))
