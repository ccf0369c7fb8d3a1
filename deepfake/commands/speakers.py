"""What `deepfake enroll`, `identify`, `verify` and `speakers` do and print."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from deepfake.commands.predict import row as spoofing_row
from deepfake.detector import Detector
from deepfake.forensics.assess import Assessment, assess
from deepfake.metrics.sasv import sasv_llr, sasv_threshold
from deepfake.runs.provenance import score_range
from deepfake.speakers.check import CALIBRATION, CLONE, Check, check, enrolled
from deepfake.speakers.profiles import Profile, Profiles
from deepfake.terminal import show, table, with_notes


def enroll(
    name: str, files: Sequence[Path], profiles: Profiles, *, days: float | None = None, purpose: str = ""
) -> str:
    """Enrol a speaker; returns the sentence that says so.

    Args:
        name: Of the speaker.
        files: The samples.
        profiles: Where the profile is added.
        days: After which it ends; None for never.
        purpose: What it is kept for.
    """
    profile, unlike = enrolled(name, files)
    profile = profile.kept(days=days, purpose=purpose)
    profiles.add(profile)
    for sentence in unlike:
        print(f"warning: {sentence}", file=sys.stderr)
    until = f", until {profile.expires}" if profile.expires else ""
    speech = f"{profile.n_samples} samples with {profile.speech_seconds:.1f} s of speech"
    return f"{profile.name} is enrolled, from {speech}{until}"


def compare(
    file: Path, profiles: Iterable[Profile], *, threshold: float | None = None, run: str | Path | None = None
) -> dict[str, Any]:
    """Compare a recording with enrolled speakers and, with a run, assess it.

    Args:
        file: The recording.
        profiles: Of whom it may be.
        threshold: Of the cosine; None for the one that was measured.
        run: Run folder or detector file; None for the speaker alone.

    Returns:
        `file, speaker, matches, words, score, threshold, threshold_source, log10_lr_speaker, speech_seconds, scores`;
        with a run `spoofing`, as `deepfake predict` has it, and `sasv`: `llr, threshold, accepted`, null unless the
        detector is calibrated.
    """
    found, assessment = check(file, profiles, threshold=threshold), None
    if run is not None:
        detector = Detector.load(run)
        assessment = assess(detector, file, score_range=score_range(run, detector))
    return {"file": str(file), **comparison(found, assessment)}


def comparison(found: Check, assessment: Assessment | None) -> dict[str, Any]:
    """What `compare` returns, but for the file."""
    said: dict[str, Any] = {
        "speaker": found.speaker,
        "matches": found.matches,
        "words": found.words,
        "score": found.score,
        "threshold": found.threshold,
        "threshold_source": found.threshold_source,
        "log10_lr_speaker": found.llr / math.log(10),
        "speech_seconds": found.speech_seconds,
        "scores": found.scores,
    }
    if assessment is not None:
        llr = assessment.llr
        said["spoofing"] = spoofing_row(assessment)
        said["sasv"] = None if llr is None else _sasv(found, -llr.log10_lr_spoof * math.log(10))
    return said


def _sasv(found: Check, spoofing_llr: float) -> dict[str, Any]:
    """The decision that refuses impostors and spoofs alike."""
    llr, threshold = float(sasv_llr(found.llr, spoofing_llr)), sasv_threshold()
    return {"llr": llr, "threshold": threshold, "accepted": llr > threshold}


def show_comparison(said: dict[str, Any], form: str) -> None:
    """Print a comparison, as `table` or `json`."""
    if form == "json":
        print(json.dumps(said, indent=2, ensure_ascii=False))
        return
    most = sorted(said["scores"].items(), key=lambda item: -item[1])
    lines = [[name, f"{score:.3f}", "matches" if score > said["threshold"] else "no"] for name, score in most[:10]]
    notes = [
        f"{said['file']}: {said['words']}",
        f"threshold {said['threshold']:.4g} ({said['threshold_source']}); log10 LR of {said['speaker']} against "
        f"another speaker {said['log10_lr_speaker']:.2f}, fitted on {CALIBRATION.n_bonafide} trials of a speaker and "
        f"{CALIBRATION.n_spoof} of others. {CLONE}",
    ]
    if spoofing := said.get("spoofing"):
        calibrated = f", log10 LR of spoof {spoofing['log10_lr_spoof']:.2f}" if spoofing["calibrated"] else ""
        cautions = f" ({', '.join(spoofing['cautions'])})" if spoofing["cautions"] else ""
        notes.append(f"spoofing: {spoofing['verdict']}, score {spoofing['score']:.4f}{calibrated}{cautions}")
        notes.append(_decision(said))
    show(with_notes([table(["speaker", "cosine", "match"], lines, left=(0, 2))], notes), stdout=True)


def _decision(said: dict[str, Any]) -> str:
    """Speaker and spoofing together, in words."""
    if (sasv := said["sasv"]) is None:
        return "no joint decision: the detector is not calibrated (`python evaluate.py calibrate=true run=RUN`)"
    words = "accepted as" if sasv["accepted"] else "not accepted as"
    return (
        f"both together: {words} bona fide speech of {said['speaker']}, LLR {sasv['llr']:.2f} against "
        f"{sasv['threshold']:.2f}, the priors and costs of ASVspoof 5"
    )


def show_speakers(profiles: Iterable[Profile]) -> None:
    """Print who is enrolled, until when and what for."""
    lines = [
        [p.name, str(p.n_samples), f"{p.speech_seconds:.1f}", p.created, p.expires or "never", p.purpose]
        for p in profiles
    ]
    head = ["speaker", "samples", "seconds of speech", "enrolled", "expires", "purpose"]
    show(table(head, lines, left=(0, 3, 4, 5)), stdout=True)
