"""The report of one file, `report.json`: all that was found, and all that it takes to find it again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import expit, logit

from deepfake.audio import waveform as audio
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.explain.clip import Clip
from deepfake.explain.map import Map
from deepfake.explain.regions import Region, coverage
from deepfake.forensics import schema
from deepfake.forensics import statement as words
from deepfake.forensics.cautions import INCONCLUSIVE, LIMITS, Reason, state
from deepfake.runs import provenance

EVEN = 0.5


def report(
    path: str | Path,
    *,
    run: str | Path,
    clip: Clip,
    score: float,
    maps: Sequence[Map],
    regions: Sequence[Region],
    regions_by: str | None,
    reasons: Sequence[Reason],
    quality: Mapping[str, float],
    environment: Mapping[str, Any],
    parameters: Mapping[str, Any],
    prior: float = EVEN,
    start_seconds: float = 0.0,
) -> dict[str, Any]:
    """Gather what is known of one file, in the layout of `deepfake.forensics.schema.SCHEMA`, which is checked.

    Args:
        path: Of the file.
        run: Run folder or detector file.
        clip: The clip that was scored and explained, of `deepfake.runs.provenance.source`.
        score: Of that clip.
        maps: Of all methods.
        regions: Within the clip; they are reported by their place in the file.
        regions_by: Method that they were found by; None without.
        reasons: What speaks against the result.
        quality: What `deepfake.forensics.cautions.measured` found.
        environment: What `deepfake.runs.environment.environment` found.
        parameters: Settings of the command.
        prior: Probability of spoof for which `p_fake` is calculated, where the detector is calibrated.
        start_seconds: Where in the file the clip begins.

    Raises:
        InputError: The prior is not between 0 and 1, or the score is not finite; see also `deepfake.audio.info`.
    """
    path, detector = Path(path), clip.detector
    if not math.isfinite(score):
        raise InputError(f"{path}: the detector's score is {score}, so nothing can be said of this file")
    moved = [r._replace(start_s=r.start_s + start_seconds, end_s=r.end_s + start_seconds) for r in regions]
    share = coverage(regions, clip.duration)
    heard = clip.input()
    header = audio.info(path)
    found = {
        "schema": schema.VERSION,
        **finding(detector, score, reasons, source=provenance.calibration_set(run, detector), prior=prior),
        "threshold": {
            **{k: detector.config["threshold"][k] for k in ("value", "source")},
            "dev": provenance.dev_rates(run, detector),
        },
        "reasons": [reason._asdict() for reason in reasons],
        "quality": dict(quality),
        "file": {
            "name": path.name,
            "path": str(path.absolute()),
            "bytes": path.stat().st_size,
            "sha256": provenance.hash_of_file(path),
            **asdict(header),
        },
        "heard": {
            "start_s": start_seconds,
            "seconds": clip.duration,
            "n_samples": heard.shape[-1],
            "sample_rate": detector.sample_rate,
        },
        "heard_sha256": provenance.hash_of_samples(heard),
        "detector": provenance.facts(run, detector),
        "branches": _branches(clip),
        "methods": {map.method: map.facts for map in maps},
        "regions_by": regions_by,
        "regions": [region._asdict() for region in moved],
        "coverage": share,
        "parameters": dict(parameters),
        "environment": dict(environment),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    found["words"]["places"] = words.places(moved, share, regions_by or words.NO_METHOD)
    end = start_seconds + clip.duration
    if start_seconds or (header.seconds or end) > end + 0.01:
        part = f"{start_seconds:.2f} to {end:.2f} s of this file"
        found["words"]["limits"].append(f"The score and the maps are those of {part}: the rest did not enter them.")
    plain = _plain(found)
    schema.check(plain)
    return plain


def finding(
    detector: Detector, score: float, reasons: Sequence[Reason], *, source: str | None = None, prior: float = EVEN
) -> dict[str, Any]:
    """The entries of a report that follow from the score alone: verdict, state, likelihood ratio, words.

    Args:
        detector: Which gave the score.
        score: Of the clip.
        reasons: What speaks against the result.
        source: What the detector was calibrated on, as it is to be called.
        prior: As in `report`.

    Raises:
        InputError: The prior is not between 0 and 1.
    """
    if not 0 < prior < 1:
        raise InputError(f"prior={prior}: a probability of spoof between 0 and 1 was expected")
    now = state(reasons)
    obstacles = [r.sentence for r in reasons if LIMITS[r.name].state == INCONCLUSIVE and r.name != "uncertain"]
    said = words.statement(detector, score, source=source, obstacles=obstacles)
    p_fake, ratio = detector.p_fake(score), words.log10_lr(detector, score)
    if ratio is not None:
        p_fake = float(expit(ratio[0] * math.log(10) + logit(prior)))
    return {
        "verdict": "inconclusive" if now == INCONCLUSIVE else detector.verdict(score),
        "state": now,
        "score": float(score),
        "llr": {
            "calibrated": ratio is not None,
            "log10_lr_spoof": ratio[0] if ratio else None,
            "capped": ratio[1] if ratio else None,
        },
        "p_fake": p_fake,
        "prior": prior if ratio else None,
        "words": {
            **said._asdict(),
            "limits": list(words.LIMITS),
            "scale_id": words.SCALE.scale_id,
            "scale_version": words.SCALE.version,
            "scale_source": words.SCALE.source,
            "scale_convention": words.SCALE.convention,
            "scale": words.SCALE.rows(),
        },
    }


def _branches(clip: Clip) -> dict[str, float] | None:
    if not clip.branches:
        return None
    with torch.inference_mode():
        return {name: float(part) for name, part in clip.parts_of(clip.input()).items()}


def _plain(value: Any) -> Any:
    """As JSON has it: null where a number is not finite, and nothing of numpy."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
