"""What TensorBoard shows of the scores of a partition."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.tensor_pb2 import TensorProto  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.plugins.pr_curve.metadata import create_summary_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from deepfake.atomic import named_disk
from deepfake.metrics.trials import Floats, Trials
from deepfake.runs.folder import ReportFolder
from deepfake.scores.table import Scores

FIGURES = ("det", "roc", "histogram")
THRESHOLDS = 127  # of the precision-recall curve; more of them TensorBoard cannot read


def write_board(folder: ReportFolder, metrics: Mapping[str, Any], scores: Scores, tag: str) -> None:
    """Write `tensorboard/events...` beside a report, without torch's writer, which takes a second to import."""
    with named_disk(folder.tensorboard):
        writer = EventFileWriter(str(folder.tensorboard))
        try:
            for summary in summaries(metrics, scores, tag, folder.figures):
                writer.add_event(Event(wall_time=time.time(), summary=summary))
        finally:
            writer.close()


def summaries(metrics: Mapping[str, Any], scores: Scores, tag: str, figures: Path) -> Iterator[Summary]:
    """Scalars, the precision-recall curve, and the DET and ROC curves and the score histogram as the report has them.

    Args:
        metrics: What `evaluate` made of the scores.
        scores: The scores.
        tag: What the names on the board begin with.
        figures: The report's folder of figures.
    """
    for key, value in metrics.items():
        if isinstance(value, float):
            yield _scalar(f"{tag}/{key}", value)
    for attack, entry in metrics["by_attack"].items():
        if entry["eer"] is not None:
            yield _scalar(f"{tag}_eer_by_attack/{attack}", entry["eer"])
    if metrics["eer"] is not None:
        curve = precision_recall(scores.trials)
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=n) for n in curve.shape])
        tensor = TensorProto(dtype="DT_FLOAT", float_val=curve.reshape(-1).tolist(), tensor_shape=shape)
        about = create_summary_metadata(display_name="", description="", num_thresholds=THRESHOLDS)
        yield Summary(value=[Summary.Value(tag=f"{tag}/precision_recall", metadata=about, tensor=tensor)])
        for name in FIGURES:
            if (file := figures / f"{name}.png").is_file():  # what the scores do not allow is not drawn
                yield _picture(f"{tag}/{name}", file.read_bytes())


def precision_recall(trials: Trials) -> Floats:
    """What TensorBoard draws a precision-recall curve from, `[6, 127]`, at even steps of the share that is rejected.

    Rows: true and false positives, true and false negatives, precision, recall; positive = bona fide. TensorBoard
    takes scores between 0 and 1: here that of a trial is the share of the others that score no higher.
    """
    bonafide, spoof = trials.rejected  # [U + 1]
    step = np.floor((bonafide[1:] + spoof[1:] - 1) / len(trials) * (THRESHOLDS - 1))
    rejected = np.searchsorted(step, np.arange(THRESHOLDS))
    fn, tn = bonafide[rejected], spoof[rejected]
    tp, fp = trials.n_bonafide - fn, trials.n_spoof - tn
    return np.array([tp, fp, tn, fn, tp / np.maximum(tp + fp, 1), tp / trials.n_bonafide], dtype=np.float64)


def _scalar(tag: str, value: float) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, simple_value=value)])


def _picture(tag: str, png: bytes) -> Summary:
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # of its first chunk, IHDR
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)  # 3: RGB
    return Summary(value=[Summary.Value(tag=tag, image=image)])
