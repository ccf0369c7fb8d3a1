"""Does a report speak of this file, and does the same detector still say the same of it?"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deepfake.audio import crop_or_repeat
from deepfake.commandline import detector_file
from deepfake.detector import Detector
from deepfake.domain import Place
from deepfake.errors import InputError
from deepfake.explain.regions import Region
from deepfake.forensics import schema
from deepfake.forensics.assess import EVEN, Assessment, Finding, assess
from deepfake.forensics.cautions import LIMITS, Reason, reasons
from deepfake.forensics.report import domain, finding, recording
from deepfake.forensics.statement import NO_METHOD, places
from deepfake.runs.provenance import hash_of_file, hash_of_samples, hash_of_settings

TOLERANCE = 1e-3  # of scores: another processor or thread count moves the last digits of single precision
ROUNDING = 1e-9  # of what follows from the score as the report has it


def read_report(path: str | Path) -> dict[str, Any]:
    """Read a `report.json` and check its layout.

    Raises:
        InputError: It is not there, not JSON, or not laid out as `deepfake.forensics.schema` says.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such report; give the report.json of an explained file")
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        schema.check(report)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {' '.join(str(error).split())}") from error
    return report


def verify(
    report_path: str | Path,
    file: str | Path,
    *,
    detector: str | Path | None = None,
    tolerance: float = TOLERANCE,
) -> list[str]:
    """Hash the file and its decoded samples again, score it again as `assess` does, and hold all against the report.

    What follows from the score, and the words, are worked out anew from the numbers that the report gives. Maps,
    pictures and measurements of the recording are not made again.

    Args:
        report_path: The `report.json`.
        file: The recording that it is said to speak of; its name does not matter.
        detector: Run folder or detector file; by default that which the report names.
        tolerance: Greatest difference of the scores.

    Returns:
        A sentence for each thing that does not agree; none where all does.

    Raises:
        InputError: The report, the file or the detector cannot be read.
    """
    report = read_report(report_path)
    used = detector_file(detector or report["detector"]["path"])
    return list(_mismatches(report, Path(file), used, Detector.load(used), tolerance))


def _mismatches(
    report: Mapping[str, Any], file: Path, used: Path, detector: Detector, tolerance: float
) -> Iterator[str]:
    try:
        found = assess(detector, file, clip_start=report["heard"]["start_s"])
    except InputError as error:
        found = error
    carried = detector.config.get("calibration")
    hashes = (
        ("file", report["file"]["sha256"], found.file_sha256 if isinstance(found, Assessment) else hash_of_file(file)),
        ("detector", report["detector"]["sha256"], hash_of_file(used)),
        ("calibration", report["detector"]["calibration_sha256"], hash_of_settings(carried)),
    )
    for what, stated, real in hashes:
        if stated != real:
            yield f"the SHA-256 of the {what} is {real}, the report has {stated}"
    if isinstance(found, Assessment):
        yield from _scored_anew(report, found, tolerance)
    else:
        yield f"the file cannot be decoded and scored as the report says: {found}"
    yield from _concluded_anew(report, detector)


def _scored_anew(report: Mapping[str, Any], found: Assessment, tolerance: float) -> Iterator[str]:
    for name, value in recording(found).items():
        if not _same(value, stated := report["recording"][name]):
            what = "the SHA-256 of the decoded samples" if name == "sha256" else f"recording.{name}"
            yield f"{what} is {value}, the report has {stated}"
    clip = crop_or_repeat(found.clip.clip, found.detector.n_samples)
    if (real := hash_of_samples(clip)) != report["heard_sha256"]:
        yield f"the SHA-256 of the samples that were explained is {real}, the report has {report['heard_sha256']}"
    scores = (
        ("the score", found.score, report["score"]),
        ("the score of what was explained", found.clip.score, report["heard"]["score"]),
    )
    if found.domain is not None and (place := _place(report, found.detector)) is not None:
        distances = found.domain.distance, place.distance
        if not math.isclose(*distances, rel_tol=tolerance, abs_tol=tolerance):
            yield f"the distance from the domain is {distances[0]:.6g}, the report has {distances[1]:.6g}"
    for what, score, stated in scores:
        if not abs(score - stated) <= tolerance:
            yield f"{what} is {score:.6g}, the report has {stated:.6g}: more than {tolerance:g} apart"


def _place(report: Mapping[str, Any], detector: Detector) -> Place | None:
    """Where the recording lies by the distance that the report states; None where the two do not go together."""
    distance = (report["domain"] or {}).get("distance")
    if detector.domain is None or not isinstance(distance, float):
        return None
    return detector.domain.place(distance)


def _concluded_anew(report: Mapping[str, Any], detector: Detector) -> Iterator[str]:
    for name, value in (("value", detector.threshold), ("source", detector.config["threshold"]["source"])):
        if report["threshold"][name] != value:
            yield f"the {name} of the threshold is {value}, the report has {report['threshold'][name]}"
    if unknown := {reason["name"] for reason in report["reasons"]} - LIMITS.keys():
        yield f"the report gives reasons that are unknown here: {', '.join(sorted(unknown))}"
        return
    given = [Reason(**reason) for reason in report["reasons"]]
    result = Finding(detector=detector, score=report["score"], reasons=given)
    quality = {name: math.nan if value is None else value for name, value in report["quality"].items()}
    place, judged = _place(report, detector), report["parameters"].get("judge_outside") is True
    known = domain(detector, place)
    if report["domain"] != known or (place is None) != (detector.domain is None):
        yield f"the report's domain is {report['domain']!r:.300}, from its distance follows {known!r:.300}"
    for reason in reasons(quality, detector, report["score"], domain=place, judge_outside=judged):
        if not any(_same(reason.value, other.value) for other in given if other.name == reason.name):
            yield f"the report lacks the reason {reason.name}, which its numbers give: {reason.sentence}"
    prior = EVEN if report["prior"] is None else report["prior"]
    anew = finding(result, source=report["detector"]["calibration_set"], prior=prior)
    regions = [Region(**region) for region in report["regions"]]
    anew["words"]["places"] = places(regions, report["coverage"], report["regions_by"] or NO_METHOD)
    if missing := [limit for limit in anew["words"].pop("limits") if limit not in report["words"]["limits"]]:
        yield f"the report leaves out what the finding does not show: {missing[0]}"
    yield from _differences(anew, report)


def _differences(anew: Mapping[str, Any], stated: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in anew.items():
        if isinstance(value, Mapping):
            yield from _differences(value, stated[key], f"{above}{key}.")
        elif not _same(value, stated[key]):
            yield f"the report's {above}{key} is {stated[key]!r:.300}, from its numbers follows {value!r:.300}"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return abs(one - other) <= ROUNDING * max(1.0, abs(one))
    return one == other
