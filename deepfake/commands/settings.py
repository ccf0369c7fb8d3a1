"""The settings that the commands of `evaluate.py` share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from deepfake.evaluation.metrics import Intervals
from deepfake.evaluation.tandem import Tandem, read_tandem
from deepfake.runs.folder import ReportFolder


@dataclass(frozen=True)
class Settings:
    """Settings that all commands share.

    Args:
        output: Folder to write, None for the command's own choice.
        asv_scores: ASV score file or JSON of t-DCF coefficients, None for the corpus's own.
        intervals: How confidence intervals are computed.
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

    def folder(self, default: Path) -> ReportFolder:
        """The folder to write."""
        return ReportFolder(Path(self.output or default))

    def tandem(self, own: Path | None = None) -> Tandem | None:
        """The ASV system for the t-DCF: of `asv_scores`, else the corpus's own, None where there is none."""
        asv = self.asv_scores or own
        return read_tandem(asv) if asv else None
