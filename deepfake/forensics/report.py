"""The report of one file, `report.json`: all that was found, and all that it takes to find it again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepfake.detector import Detector
from deepfake.domain import Place
from deepfake.explain.clip import Clip
from deepfake.explain.map import Map
from deepfake.explain.regions import Region, coverage
from deepfake.forensics import schema, statement
from deepfake.forensics.assess import EVEN, Assessment, Finding
from deepfake.forensics.cautions import INCONCLUSIVE, LIMITS, measured
from deepfake.runs import provenance


@dataclass(frozen=True)
class Explanation:
    """What moved the score of the clip that is explained.

    Attributes:
        clip: `Assessment.clip`, as the methods take it.
        maps: By the name of the method.
        regions: Within the clip.
        regions_by: Method that they were found by; None without.
    """

    clip: Clip
    maps: Mapping[str, Map]
    regions: Sequence[Region]
    regions_by: str | None


def report(
    assessment: Assessment,
    explanation: Explanation,
    *,
    run: str | Path,
    environment: Mapping[str, Any],
    parameters: Mapping[str, Any],
    prior: float = EVEN,
    speaker: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Gather what is known of one file, in the layout of `deepfake.forensics.schema.SCHEMA`, which is checked.

    Args:
        assessment: Of the file.
        explanation: Of its clip.
        run: Run folder or detector file.
        environment: What `deepfake.runs.environment.environment` found.
        parameters: Settings of the command.
        prior: Probability of spoof for which `p_fake` is calculated, where the detector is calibrated.
        speaker: The voice against those who are enrolled; None where that was not asked for.

    Raises:
        InputError: The prior is not between 0 and 1.
    """
    detector, clip, start = assessment.detector, explanation.clip, assessment.clip_start
    placed = [r._replace(start_s=r.start_s + start, end_s=r.end_s + start) for r in explanation.regions]
    share = coverage(explanation.regions, clip.duration)
    samples = clip.input()
    found = {
        "schema": schema.VERSION,
        **finding(assessment, source=provenance.calibration_set(run, detector), prior=prior),
        "threshold": detector.config["threshold"] | {"dev": provenance.dev_rates(run, detector)},
        "reasons": [reason._asdict() for reason in assessment.reasons],
        "quality": dict(assessment.quality),
        "file": _file(assessment),
        "recording": recording(assessment),
        "domain": domain(detector, assessment.domain),
        "heard": {
            "start_s": start,
            "seconds": clip.duration,
            "n_samples": samples.shape[-1],
            "sample_rate": detector.sample_rate,
            "score": assessment.clip.score,
        },
        "heard_sha256": provenance.hash_of_samples(samples),
        "detector": provenance.facts(run, detector),
        "branches": _branches(clip),
        "methods": {name: map.facts for name, map in explanation.maps.items()},
        "regions_by": explanation.regions_by,
        "regions": [region._asdict() for region in placed],
        "coverage": share,
        "speaker": None if speaker is None else dict(speaker),
        "parameters": dict(parameters),
        "environment": dict(environment),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    found["words"]["places"] = statement.places(placed, share, explanation.regions_by or statement.NO_METHOD)
    if len(assessment.scores) > 1:
        found["words"]["limits"].append(
            f"The maps and regions are those of {start:.2f} to {start + clip.duration:.2f} s of this file, where the "
            f"evidence for spoof is strongest (the score there is {assessment.clip.score:.4g}): the rest did not enter "
            "them."
        )
    plain = _plain(found)
    schema.check(plain)
    return plain


def finding(found: Finding, *, source: str | None = None, prior: float = EVEN) -> dict[str, Any]:
    """The entries of a report that follow from the score and the reasons alone: verdict, likelihood ratio, words.

    Args:
        found: The score and the reasons.
        source: Name of what the detector was calibrated on.
        prior: As in `report`.

    Raises:
        InputError: The prior is not between 0 and 1.
    """
    obstacles = [r.sentence for r in found.reasons if LIMITS[r.name].state == INCONCLUSIVE and r.name != "uncertain"]
    sentences = statement.statement(found.detector, found.score, source=source, obstacles=obstacles)
    log10, capped = found.llr or (None, None)
    return {
        "verdict": found.verdict,
        "state": found.state,
        "score": float(found.score),
        "llr": {"calibrated": log10 is not None, "log10_lr_spoof": log10, "capped": capped},
        "p_fake": found.p_fake(prior),
        "prior": None if log10 is None else prior,
        "words": {
            **sentences._asdict(),
            "limits": list(statement.LIMITS),
            "scale_id": statement.SCALE.scale_id,
            "scale_version": statement.SCALE.version,
            "scale_source": statement.SCALE.source,
            "scale_convention": statement.SCALE.convention,
            "scale": statement.SCALE.rows(),
        },
    }


def recording(assessment: Assessment) -> dict[str, Any]:
    """The entry `recording` of a report: what of it was decoded and scored."""
    return {
        "seconds": assessment.seconds,
        "scored_seconds": assessment.scored_seconds,
        "n_windows": len(assessment.scores),
        "sha256": assessment.samples_sha256,
    }


def domain(detector: Detector, place: Place | None) -> dict[str, Any] | None:
    """The entry `domain` of a report: where the recording lies, and relative to what; None where that is not known."""
    if place is None:
        return None
    known = detector.config["domain"]
    found = {**place._asdict(), "source": known["source"], "n_dev": known["n_dev"]}
    return found | {"measured": measured(known, place.state)}


def _file(assessment: Assessment) -> dict[str, Any]:
    facts = {"path": assessment.path, "bytes": assessment.n_bytes, "sha256": assessment.file_sha256}
    return {"name": Path(assessment.name).name, **facts, **asdict(assessment.header)}


def _branches(clip: Clip) -> dict[str, float] | None:
    if not clip.branches:
        return None
    with torch.inference_mode():
        return {name: float(part) for name, part in clip.parts_of(clip.input()).items()}


def _plain(value: Any) -> Any:
    """As JSON has it: null where a number is not finite, and nothing of numpy."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
