"""The layout of `report.json`: what each entry means, and a check that a report keeps to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from deepfake.errors import InputError

VERSION = "1.5"

# Entry -> kind and meaning. A name with [] is that of each item of a list; ? allows null; "object" is not looked into.
SCHEMA: dict[str, tuple[str, str]] = {
    "schema": ("text", "version of this layout"),
    "verdict": ("text", "spoof, bonafide, or inconclusive"),
    "state": ("text", "reported, reported_with_caution or inconclusive"),
    "score": ("number", "of the recording, larger for bona fide speech: the mean over its windows"),
    "llr.calibrated": ("flag", "whether the detector turns scores into likelihood ratios"),
    "llr.log10_lr_spoof": ("number?", "base-10 logarithm of the likelihood ratio of spoof against bona fide"),
    "llr.capped": ("flag?", "whether it is cut to what the calibration supports"),
    "p_fake": ("number", "probability of spoof at `prior`: a calculation, not a finding; uncalibrated, a mere figure"),
    "prior": ("number?", "prior probability of spoof that was asked for; null where the detector is not calibrated"),
    "threshold.value": ("number", "a score above it means bona fide"),
    "threshold.source": ("text", "where it was set"),
    "threshold.dev": ("object?", "error rates on dev at this threshold, as fractions, with the counts"),
    "reasons[].name": ("text", "reason to mistrust the result"),
    "reasons[].value": ("number", "as measured"),
    "reasons[].limit": ("number", "beyond which it is a reason"),
    "reasons[].sentence": ("text", "both in words"),
    "quality.nonfinite_samples": ("number", "samples that are not finite; where there are any, the rest is null"),
    "quality.speech_s": ("number?", "net speech"),
    "quality.snr_db": ("number?", "speech above the noise floor"),
    "quality.silence_share": ("number?", "share of frames 40 dB below the loudest"),
    "quality.clipped_share": ("number?", "share of samples at the largest magnitude"),
    "quality.top_hz": ("number?", "where the band ends"),
    "words.sentence": ("text", "the finding"),
    "words.strength": ("text?", "of the verbal scale"),
    "words.supports": ("text?", "spoof or bonafide; null for neither"),
    "words.grade": ("text", "confidence: high, moderate or low"),
    "words.confidence": ("number", "the larger of p_fake and 1 - p_fake at even prior odds"),
    "words.graded": ("text", "the grade in a sentence"),
    "words.places": ("text", "where the evidence lies"),
    "words.limits[]": ("text", "what the finding does not show"),
    "words.scale_id": ("text", "name of the verbal scale"),
    "words.scale_version": ("text", "of the scale"),
    "words.scale_source": ("text", "where it comes from"),
    "words.scale_convention": ("text", "what holds on a bound and below 1"),
    "words.scale[].from": ("number", "least ratio of a row of the scale"),
    "words.scale[].to": ("number?", "where the next row begins"),
    "words.scale[].range": ("text", "both in words"),
    "words.scale[].words": ("text", "of this row"),
    "file.name": ("text", "without folders"),
    "file.path": ("text?", "where it lay; null where it was given as bytes"),
    "file.bytes": ("integer", "size"),
    "file.sha256": ("text", "of the file as it was received"),
    "file.seconds": ("number?", "duration that the header claims"),
    "file.sample_rate": ("integer", "in hertz"),
    "file.channels": ("integer", "number"),
    "file.format": ("text", "container"),
    "file.subtype": ("text", "coding"),
    "file.n_frames": ("integer?", "samples per channel, where the header counts them"),
    "recording.seconds": ("number", "duration, by the samples decoded"),
    "recording.scored_seconds": ("number", "how much of that the score rests on"),
    "recording.n_windows": ("integer", "windows of the length that the detector takes, half overlapping"),
    "recording.sha256": ("text", "of all samples at its rate, mono, as 32-bit little-endian floating point"),
    "domain": (
        "object?",
        "state (in, edge or outside), distance, percentile of dev, source, what was misjudged of such recordings; null "
        "where it is not known",
    ),
    "heard.start_s": ("number", "where the clip begins that was explained: the window with the lowest score"),
    "heard.seconds": ("number", "how much of the file that is"),
    "heard.n_samples": ("integer", "with repetitions, where it is shorter than what the detector takes"),
    "heard.sample_rate": ("integer", "in hertz"),
    "heard.score": ("number", "of this clip alone"),
    "heard_sha256": ("text", "of the samples of the clip, mono, as 32-bit little-endian floating point"),
    "detector.path": ("text", "of detector.pt"),
    "detector.sha256": ("text", "of that file"),
    "detector.content_sha256": ("text", "of its settings and weights, which the file carries and loading checks"),
    "detector.model": ("text", "class of the network"),
    "detector.features": ("text", "class of the front end"),
    "detector.config_sha256": ("text", "of the detector's own settings, as JSON with sorted keys"),
    "detector.run_config_sha256": ("text?", "of the run's config.yaml"),
    "detector.calibration": ("object?", "weight, offset, bounds (natural log), trials and source"),
    "detector.calibration_sha256": ("text?", "of that, as JSON with sorted keys"),
    "detector.calibration_set": ("text?", "what it was fitted on, as the sentence calls it"),
    "branches": ("object?", "evidence for spoof of each branch of the network, and what belongs to none; natural log"),
    "methods": ("object", "settings and checks of each method of explanation, by its name"),
    "regions_by": ("text?", "the method by which regions and places were found"),
    "regions[].start_s": ("number", "in the file"),
    "regions[].end_s": ("number", "in the file"),
    "regions[].low_hz": ("number", "lower edge of the band"),
    "regions[].high_hz": ("number", "upper edge"),
    "regions[].strength": ("number", "evidence for spoof, natural log"),
    "coverage": ("number", "share of the clip that lies in regions"),
    "speaker": ("object?", "the voice against enrolled ones, as `deepfake identify` has it; null if not asked for"),
    "parameters": ("object", "settings of the command"),
    "environment": ("object", "command, start, commit, versions, device, threads"),
    "finished": ("text", "date and time, UTC"),
}
KINDS = {"text": str, "number": int | float, "integer": int, "flag": bool, "object": dict}


def check(report: Any) -> None:
    """Check a report against `SCHEMA`: nothing missing, nothing unknown, kinds as they should be, numbers finite.

    Raises:
        InputError: It is another version's, or does not keep to this one: names the first entry.
    """
    if not isinstance(report, Mapping) or "schema" not in report:
        raise InputError("this is no report: an object with an entry schema was expected")
    if report["schema"] != VERSION:
        raise InputError(f"this is a report of schema {report['schema']}, this version reads {VERSION}")
    _check(report, "")


def _check(value: Any, name: str) -> None:
    if name in SCHEMA:
        _check_leaf(value, name)
    elif not any(key.startswith(f"{name}[]") for key in SCHEMA):
        _check_object(value, name)
    elif isinstance(value, list):
        for item in value:
            _check(item, f"{name}[]")
    else:
        raise InputError(f"the report's {name} is {value!r:.80}: a list was expected")


def _check_object(value: Any, name: str) -> None:
    before = f"{name}." if name else ""
    entries = {key.removeprefix(before).split(".")[0].removesuffix("[]") for key in SCHEMA if key.startswith(before)}
    if not isinstance(value, Mapping):
        raise InputError(f"the report's {name} is {value!r:.80}: an object was expected")
    for wrong, what in ((entries - value.keys(), "lacks"), (value.keys() - entries, "has, unknown to its schema,")):
        if wrong:
            raise InputError(f"the report {what} {before}{min(wrong, key=str)}")
    for entry in value:
        _check(value[entry], before + entry)


def _check_leaf(value: Any, name: str) -> None:
    kind = SCHEMA[name][0]
    if value is None and kind.endswith("?"):
        return
    kind = kind.removesuffix("?")
    if not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "flag"):
        raise InputError(f"the report's {name} is {value!r:.80}: {kind} was expected")
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        expected = "a finite one or null was expected"
        raise InputError(f"the report's {name} holds a number that is not finite: {expected}") from None
