"""The folders that a run and an evaluation leave: every path in them by its name."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake.detector import detector_file
from deepfake.errors import InputError


@dataclass(frozen=True)
class ReportFolder:
    """What an evaluation writes: scores, metrics, a page with figures, and what they were made with.

    Args:
        path: Of the folder, which need not be there.
    """

    path: Path

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def comparison(self) -> Path:
        """In the place of `metrics.json`, where several systems were compared."""
        return self.path / "comparison.json"

    @property
    def page(self) -> Path:
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def scores(self) -> Path:
        return self.path / "scores.csv"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.csv"

    @property
    def skipped(self) -> Path:
        """The list of files that could not be used, and why."""
        return self.path / "skipped.csv"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    def read_metrics(self) -> dict[str, Any] | None:
        """The content of `metrics.json`, None where there is none.

        Raises:
            InputError: It is not JSON, or not an object.
        """
        if not self.metrics.is_file():
            return None
        try:
            return dict(json.loads(self.metrics.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise InputError(f"{self.metrics} is not a report's metrics.json: {error}") from error


@dataclass(frozen=True)
class RunFolder:
    """What training writes, and where the other commands put what they make of a run.

    Args:
        path: Of the folder, which need not be there.
    """

    path: Path

    @classmethod
    def of(cls, run: str | os.PathLike[str]) -> RunFolder:
        """The folder of a run that is given by its folder or by its `detector.pt`."""
        return cls(detector_file(run).parent)

    @classmethod
    def newest(cls, below: Path) -> RunFolder | None:
        """The finished run below a folder whose detector was written last; None where there is none."""
        detectors = sorted(below.rglob(detector_file(below).name), key=lambda file: file.stat().st_mtime)
        return cls(detectors[-1].parent) if detectors else None

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def detector(self) -> Path:
        return self.path / "detector.pt"

    @property
    def critic(self) -> Path:
        """What pre-training leaves in the place of a detector."""
        return self.path / "critic.pt"

    @property
    def best_checkpoint(self) -> Path:
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def last_checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def log(self) -> Path:
        return self.path / "train.log"

    @property
    def dev_scores(self) -> Path:
        return self.path / "scores" / "dev.csv"

    @property
    def manifests(self) -> Path:
        return self.path / "manifests"

    @property
    def skipped(self) -> Path:
        """The list of files that could not be used, and why."""
        return self.path / "skipped.csv"

    @property
    def report(self) -> ReportFolder:
        """On dev, from training."""
        return ReportFolder(self.path / "reports")

    @property
    def calibration(self) -> ReportFolder:
        return ReportFolder(self.path / "calibration")

    @property
    def explanations(self) -> Path:
        return self.path / "explanations"

    @property
    def faithfulness(self) -> Path:
        return self.path / "faithfulness"

    @property
    def localisation(self) -> Path:
        return self.path / "localisation"

    def manifest(self, partition: str) -> Path:
        return self.manifests / f"{partition}.csv"

    def evaluation(self, dataset: str, partition: str) -> ReportFolder:
        return ReportFolder(self.path / "evaluations" / f"{dataset}-{partition}")

    def evaluations(self) -> list[ReportFolder]:
        """Those there are, by name."""
        return [ReportFolder(file.parent) for file in sorted(self.path.glob("evaluations/*/metrics.json"))]

    @property
    def done(self) -> bool:
        """Whether training has written what it is for: a detector, or the critic of pre-training."""
        return self.detector.is_file() or self.critic.is_file()

    def finished(self) -> dict[str, Any] | None:
        """Dev metrics of a run that is done, None of one that is not."""
        return self.report.read_metrics() if self.done else None
