"""The model card: what the detector of a run is, and what it was trained and judged on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepfake.commandline import detector_file
from deepfake.datasets import manifest
from deepfake.detector import Detector
from deepfake.forensics.statement import LIMITS
from deepfake.runs import provenance
from deepfake.runs.folder import RunFolder

JUDGED = ("dataset", "partition", "n_bonafide", "n_spoof", "eer", "fpr", "fnr", "min_tdcf", "cllr", "min_cllr")


def card(run: str | Path, detector: Detector) -> dict[str, Any]:
    """Everything that the run folder says, without its paths.

    Args:
        run: Run folder or detector file.
        detector: Of that run.

    Raises:
        InputError: A file of the run folder is damaged.
    """
    folder, config = RunFolder.of(run), detector.config
    dev = folder.report.read_metrics()
    calibration = config.get("calibration")
    named = calibration and {**calibration, "source": provenance.calibration_set(run, detector)}
    return {
        "detector_sha256": provenance.hash_of_file(detector_file(run)),
        "model": config["model"]["_target_"],
        "features": config["features"]["_target_"],
        "sample_rate": detector.sample_rate,
        "clip_seconds": detector.seconds,
        "threshold": config["threshold"],
        "calibration": named,
        "imported": config.get("imported"),
        "training": _trained(folder.manifest("train"), dev),
        "dev": _judged(dev) if dev else None,
        "evaluations": [_judged(found) for report in folder.evaluations() if (found := report.read_metrics())],
        "limits": list(LIMITS),
    }


def _trained(file: Path, dev: Mapping[str, Any] | None) -> dict[str, Any]:
    known = manifest.rows(file) if file.is_file() else None
    rows = known or []
    return {
        "dataset": (dev or {}).get("dataset"),
        "n_bonafide": sum(row.label == 1 for row in rows) if known else None,
        "n_spoof": sum(row.label == 0 for row in rows) if known else None,
        "n_speakers": len({row.speaker for row in rows if row.speaker}) or None,
        "attacks": sorted({row.attack for row in rows if row.attack and row.label == 0}),
    }


def _judged(metrics: Mapping[str, Any]) -> dict[str, Any]:
    intervals = metrics.get("ci") or {}
    return {
        **{key: metrics.get(key) for key in JUDGED},
        "confidence": metrics.get("confidence"),
        "ci": {key: intervals[key] for key in JUDGED if key in intervals},
    }
