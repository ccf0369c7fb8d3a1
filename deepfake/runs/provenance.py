"""Facts on a detector's run for reports: hashes, error rates on dev, the calibration set, the range of its scores."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake.commandline import detector_file
from deepfake.runs.folder import RunFolder
from deepfake.scores.table import UNKNOWN, read_scores

if TYPE_CHECKING:  # who judges a score file hashes it, and does without torch
    from torch import Tensor

    from deepfake.detector import Detector

OWN_DEV = "the dev scores of its training"  # source of a calibration without a corpus
RATES = ("dataset", "partition", "n_bonafide", "n_spoof", "eer", "fpr", "fnr")


def source(path: str | Path, detector: Detector) -> Tensor:
    """The clip of a file that a detector takes: at its rate, from the start on, no longer than its clips, `[T]`.

    Raises:
        InputError: See `deepfake.audio.load`.
    """
    from deepfake.audio import load

    return load(path, sample_rate=detector.sample_rate, seconds=detector.seconds)


def hash_of_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of_samples(waveform: Tensor) -> str:
    """SHA-256 of decoded samples as 32-bit little-endian floating point, whatever file they came from."""
    return hashlib.sha256(waveform.detach().float().cpu().numpy().astype("<f4").tobytes()).hexdigest()


def hash_of_settings(settings: Any) -> str | None:
    """SHA-256 of plain settings as JSON with sorted keys; None of None."""
    if settings is None:
        return None
    return hashlib.sha256(json.dumps(settings, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def dev_rates(run: str | Path, detector: Detector) -> dict[str, Any] | None:
    """Error rates on dev at the threshold that the detector carries, None where the run has no such rates."""
    metrics = RunFolder.of(run).report.read_metrics() or {}
    threshold = metrics.get("threshold")
    if threshold is None or not math.isclose(threshold, detector.threshold, rel_tol=1e-9, abs_tol=1e-12):
        return None
    return {key: metrics.get(key) for key in RATES}


def calibration_set(run: str | Path, detector: Detector) -> str | None:
    """What the detector was calibrated on, with the corpus by its name where the run has it; None if it was not."""
    if detector.calibration is None:
        return None
    named = detector.config["calibration"]["source"]
    rates = dev_rates(run, detector)
    if named == OWN_DEV and rates and rates["dataset"]:
        return f"{rates['dataset']}, partition {rates['partition']}"
    return named


def score_range(run: str | Path, detector: Detector) -> tuple[float, float] | None:
    """Least and greatest score of the calibration set, of dev if not calibrated; None where the run has no scores."""
    folder, calibration = RunFolder.of(run), detector.calibration
    for file in (*([folder.calibration.scores] if calibration else []), folder.dev_scores):
        if not file.is_file():
            continue
        scores = read_scores(file)
        values = scores.scores[scores.labels != UNKNOWN]
        counts = int((scores.labels == 1).sum()), int((scores.labels == 0).sum())
        if calibration is None or counts == (calibration.n_bonafide, calibration.n_spoof):
            return float(values.min()), float(values.max())
    return None


def facts(run: str | Path, detector: Detector) -> dict[str, Any]:
    """The entry `detector` of a report: where it is, its hashes, its classes, its calibration."""
    file = detector_file(run)
    own = {key: value for key, value in detector.config.items() if key != "calibration"}
    calibration, config = detector.config.get("calibration"), RunFolder.of(run).config
    return {
        "path": str(file.absolute()),
        "sha256": hash_of_file(file),
        "content_sha256": detector.sha256,
        "model": own["model"]["_target_"],
        "features": own["features"]["_target_"],
        "config_sha256": hash_of_settings(own),
        "run_config_sha256": hash_of_file(config) if config.is_file() else None,
        "calibration": calibration,
        "calibration_sha256": hash_of_settings(calibration),
        "calibration_set": calibration_set(run, detector),
    }
