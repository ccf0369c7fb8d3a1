"""The contract of the formats, and what an exported file states of its detector."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod

from torch import Tensor
from torch.export import ExportedProgram

import deepfake
from deepfake.detector import Detector

OUTPUTS = ("score", "logits", "embedding")


class Exported(ABC):
    """A file of a detector, opened: it scores clips as the detector does.

    Args:
        content: Of the file.

    Attributes:
        metadata: What `metadata` states, as the file has it.
        format: Name and version of its format.

    Shape:
        waveform `[B, T]` -> score `[B]`, logits `[B, 1 or 2]` and, of a detector with a domain, embedding `[B, D]`
    """

    metadata: dict[str, str]
    format: str

    @abstractmethod
    def __init__(self, content: bytes) -> None:
        pass

    @abstractmethod
    def __call__(self, waveform: Tensor) -> tuple[Tensor, ...]:
        pass

    @staticmethod
    @abstractmethod
    def encoded(program: ExportedProgram, metadata: dict[str, str]) -> bytes:
        """The content of a file for a traced detector."""


def outputs(detector: Detector) -> tuple[str, ...]:
    """Names of what the file of a detector gives, in order."""
    return OUTPUTS if detector.domain is not None else OUTPUTS[:2]


def metadata(detector: Detector) -> dict[str, str]:
    """What has to be known to use the scores: words as they are, all else as JSON."""
    facts = {
        "deepfake": deepfake.__version__,
        "detector_sha256": detector.sha256,
        "sample_rate": detector.sample_rate,
        "n_samples": detector.n_samples,
        "score": detector.config["score"],
        "larger_score_means": "bonafide",
        "threshold": detector.config["threshold"],
        "calibration": detector.config.get("calibration"),
    }
    return {name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in facts.items()}
