"""The folders that commands write: every path in them by its name."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake.commandline import detector_file
from deepfake.errors import InputError


class _Below:
    """An attribute that is a path below the `path` of its object."""

    def __init__(self, *parts: str) -> None:
        self.parts = parts

    def __get__(self, folder: Any, _: type) -> Path:
        return folder.path.joinpath(*self.parts)


@dataclass(frozen=True)
class ReportFolder:
    """A page with figures, the numbers in it as JSON, and what they were computed from and with.

    Args:
        path: Of the folder, which need not be there.
    """

    path: Path

    page = _Below("report.html")
    figures = _Below("figures")
    tensorboard = _Below("tensorboard")
    scores = _Below("scores.csv")
    shares = _Below("shares")  # of the scores, while they are computed
    manifest = _Below("manifest.csv")
    skipped = _Below("skipped.csv")  # the files that could not be used, and why
    metrics = _Below("metrics.json")  # of an evaluation; the numbers of other reports have a name of their own
    comparison = _Below("comparison.json")
    fusion = _Below("fusion.json")
    audit = _Below("audit.json")
    cues = _Below("cues.csv")
    faithfulness = _Below("faithfulness.json")
    localisation = _Below("localisation.json")

    def remove_shares(self) -> None:
        """Delete what `scores.csv` was put together from."""
        shutil.rmtree(self.shares, ignore_errors=True)

    def read_metrics(self) -> dict[str, Any] | None:
        """The content of `metrics.json`, None where there is none.

        Raises:
            InputError: It is not JSON, or not an object.
        """
        if not self.metrics.is_file():
            return None
        try:
            return dict(json.loads(self.metrics.read_text(encoding="utf-8")))
        except (ValueError, RecursionError, TypeError) as error:
            raise InputError(f"{self.metrics} is not a report's metrics.json: {error}") from error


@dataclass(frozen=True)
class ExplanationFolder:
    """The evidence on one recording.

    Args:
        path: Of the folder, which need not be there.
    """

    path: Path

    report = _Below("report.json")
    pdf = _Below("report.pdf")

    def array(self, name: str) -> Path:
        return self.path / f"{name}.npy"

    def picture(self, name: str) -> Path:
        return self.path / "viz" / f"{name}.png"


@dataclass(frozen=True)
class RunFolder:
    """What training writes, and where the other commands put their results on a run.

    Args:
        path: Of the folder, which need not be there.
    """

    path: Path

    config = _Below("config.yaml")
    environment = _Below("environment.json")
    detector = _Below("detector.pt")
    model_card = _Below("model_card.md")  # of published weights
    onnx = _Below("detector.onnx")  # the same for ONNX Runtime, made when it is first asked for
    critic = _Below("critic.pt")  # what pre-training writes instead of a detector
    best_checkpoint = _Below("checkpoints", "best.ckpt")
    last_checkpoint = _Below("checkpoints", "last.ckpt")
    logged = _Below("checkpoints", "logged.json")  # how far the logs went at the last checkpoints
    log = _Below("train.log")
    lock = _Below(".lock")  # held by the process that trains here
    tensorboard = _Below("tensorboard")
    csv_log = _Below("csv", "metrics.csv")
    dev_scores = _Below("scores", "dev.csv")
    skipped = _Below("skipped.csv")
    explanations = _Below("explanations")

    @classmethod
    def of(cls, run: str | os.PathLike[str]) -> RunFolder:
        """The folder of a run that is given by its folder or by its `detector.pt`."""
        return cls(detector_file(run).parent)

    @classmethod
    def newest(cls, below: Path) -> RunFolder | None:
        """The finished run below a folder whose detector was written last; None where there is none."""
        return next(iter(cls.below(below)), None)

    @classmethod
    def below(cls, folder: Path) -> list[RunFolder]:
        """The finished runs below a folder, it among them; that whose detector was written last first."""
        detectors = folder.rglob(detector_file(folder).name)
        return [cls(file.parent) for file in sorted(detectors, key=lambda file: -file.stat().st_mtime)]

    @property
    def report(self) -> ReportFolder:
        """On dev, from training."""
        return ReportFolder(self.path / "reports")

    @property
    def calibration(self) -> ReportFolder:
        return ReportFolder(self.path / "calibration")

    @property
    def faithfulness(self) -> ReportFolder:
        return ReportFolder(self.path / "faithfulness")

    @property
    def localisation(self) -> ReportFolder:
        return ReportFolder(self.path / "localisation")

    def manifest(self, partition: str) -> Path:
        return self.path / "manifests" / f"{partition}.csv"

    def evaluation(self, dataset: str, partition: str) -> ReportFolder:
        return ReportFolder(self.path / "evaluations" / f"{dataset}-{partition}")

    def comparison(self, dataset: str, partition: str) -> ReportFolder:
        """Of the runs below this folder."""
        return ReportFolder(self.path / "comparisons" / f"{dataset}-{partition}")

    def evaluations(self) -> list[ReportFolder]:
        """Those there are, by name."""
        return [ReportFolder(file.parent) for file in sorted(self.path.glob("evaluations/*/metrics.json"))]

    @property
    def done(self) -> bool:
        """Whether training has written its result: a detector, or the critic of pre-training."""
        return self.detector.is_file() or self.critic.is_file()

    def finished(self) -> dict[str, Any] | None:
        """Dev metrics of a run that is done, None of one that is not."""
        return self.report.read_metrics() if self.done else None
