"""Flagged segments of a recording, the verdict on the whole, and their files: JSON, Audacity labels, RTTM."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deepfake.atomic import write_atomically
from deepfake.errors import InputError
from deepfake.localisation.scan import Scan, curve
from deepfake.metrics.localisation import framed, stretches
from deepfake.metrics.trials import Floats

THRESHOLD = 0.3  # of p_fake
WHOLE = 0.95  # flagged share of a file above which the whole file counts as fake
SCHEMA = {"name": "deepfake.segments", "version": 2}
ROUNDING = 1e-6  # seconds: edges that differ by less are the same


class Segment(NamedTuple):
    """A stretch flagged as spoofed.

    Attributes:
        start: In seconds.
        end: In seconds.
        confidence: Mean p_fake over the segment, closed gaps included.
        peak: Largest p_fake in it.
    """

    start: float
    end: float
    confidence: float
    peak: float


def segments(
    edges: ArrayLike,
    p_fake: ArrayLike,
    *,
    threshold: float = THRESHOLD,
    shortest_seconds: float = 0.2,
    gap_seconds: float = 0.2,
) -> list[Segment]:
    """Stretches with p_fake above a threshold: the gaps between them are closed first, then short ones are dropped.

    Args:
        edges: Of the frames, in seconds, ascending `[L + 1]`.
        p_fake: Of the frames `[L]`.
        threshold: A frame is flagged if its p_fake is strictly greater.
        shortest_seconds: Shorter segments are dropped, unless they are the whole recording.
        gap_seconds: Segments this far apart or nearer are merged.

    Returns:
        In order of time, no two touching.

    Raises:
        InputError: The curve is malformed, or a setting is out of range.
    """
    at, p = framed(edges, p_fake)
    if not ((p >= 0) & (p <= 1)).all():
        raise InputError("p_fake is not within 0 and 1")
    _checked_probability("threshold", threshold)
    shortest = min(shortest_seconds, at[-1] - at[0])
    found = stretches(p > threshold, at, gap_seconds=gap_seconds, shortest_seconds=shortest)
    means = [float(np.average(p[i:k], weights=np.diff(at[i : k + 1]))) for i, k in found]
    return [Segment(float(at[i]), float(at[k]), m, float(p[i:k].max())) for (i, k), m in zip(found, means, strict=True)]


def share_of(found: Sequence[Segment], duration: float) -> float:
    """Share of a recording's duration, in seconds, that is flagged."""
    return min(sum(s.end - s.start for s in found) / duration, 1.0)


def verdict_of_file(share: float) -> str:
    """Of a file that may be spliced: `FAKE` if over 95 % of it is flagged, `SUSPICIOUS` if any of it is, else `REAL`.

    A `SUSPICIOUS` file is partially spoofed, or a fake of which part was missed.
    """
    _checked_probability("share", share)
    return "FAKE" if share > WHOLE else "SUSPICIOUS" if share > 0 else "REAL"


def verdict_of_recording(share: float) -> str:
    """Of a live recording, which is not edited: `FAKE` if more than half of it is flagged, else `REAL`."""
    _checked_probability("share", share)
    return "FAKE" if share > 0.5 else "REAL"


RULES = {"file": verdict_of_file, "recording": verdict_of_recording}


class Threshold(NamedTuple):
    """Threshold on p_fake: what is above it is flagged.

    Attributes:
        value: From 0 to 1.
        source: Where it comes from.
    """

    value: float
    source: str


@dataclass(frozen=True)
class Timeline:
    """p_fake of a recording over time, and its flagged segments.

    Attributes:
        name: Of the recording.
        scan: The scan that p_fake comes from.
        edges: Of the frames, in seconds `[L + 1]`.
        p_fake: Of the frames `[L]`.
        threshold: On p_fake.
        segments: Those flagged, in order of time.
        rule: Of the verdict on the whole: `file` for `verdict_of_file`, `recording` for `verdict_of_recording`.
    """

    name: str
    scan: Scan
    edges: Floats
    p_fake: Floats
    threshold: Threshold
    segments: Sequence[Segment]
    rule: str = "file"

    @classmethod
    def of(cls, scan: Scan, *, name: str, threshold: Threshold, rule: str, frame_seconds: float) -> Timeline:
        """The timeline of a scanned recording, in frames of so many seconds."""
        edges, _, p_fake = curve(scan, frame_seconds=frame_seconds)
        return cls(name, scan, edges, p_fake, threshold, segments(edges, p_fake, threshold=threshold.value), rule)


def write_segments(folder: Path, timeline: Timeline) -> None:
    """Write the segments as `segments.json`, as an Audacity label track and as RTTM, also where there are none.

    `segments.json`: `schema` (`name`, `version`), `file`, `kind` (of the evidence: `trend` of windows, `localisation`
    by frames), `duration`, `window` (length that one score covers), `hop` (from one score to the next), `resolution`
    (effective; all in seconds), `threshold` (`value` of p_fake, `source`), `share`, `rule`, `verdict` and `segments`,
    each `start`, `end` (seconds), `confidence`, `peak`. Version 1 had no `kind` (it was `trend`) and no `rule`
    (`file`). `segments.txt`: start, end and label, tab-separated, one segment a line (Audacity Manual, "Importing and
    Exporting Labels"). `segments.rttm`: the ten fields of NIST's Rich Transcription Time Marked format (RT-09
    Evaluation Plan, appendix A), `spoof` as the speaker, as in PartialSpoof's files, and the confidence in its field;
    white space and unprintable characters of the name become underscores.

    Args:
        folder: Created if it does not exist.
        timeline: Of a recording.

    Raises:
        InputError: A segment lies outside the recording, they overlap, or a number is not finite.
    """
    found, scan, name = timeline.segments, timeline.scan, timeline.name
    _check(found, scan.duration)
    share = share_of(found, scan.duration)
    content = {
        "schema": SCHEMA,
        "file": name,
        "kind": scan.kind,
        "duration": scan.duration,
        "window": scan.window,
        "hop": scan.hop,
        "resolution": scan.window,
        "threshold": timeline.threshold._asdict(),
        "share": share,
        "rule": timeline.rule,
        "verdict": RULES[timeline.rule](share),
        "segments": [s._asdict() for s in found],
    }
    try:
        text = json.dumps(content, indent=2, allow_nan=False)
    except ValueError as error:
        raise InputError(f"the segments of {name} cannot be written: a number among {content} is not finite") from error
    id = "".join(c if c.isprintable() and not c.isspace() else "_" for c in name) or "_"
    labels = [f"{s.start:.6f}\t{s.end:.6f}\tspoof {s.confidence:.2f}\n" for s in found]
    fields = [f"{s.start:.6f} {s.end - s.start:.6f} <NA> <NA> spoof {s.confidence:.6f} <NA>\n" for s in found]
    write_atomically(folder / "segments.json", text + "\n")
    write_atomically(folder / "segments.txt", "".join(labels))
    write_atomically(folder / "segments.rttm", "".join(f"SPEAKER {id} 1 {line}" for line in fields))


def _check(found: Sequence[Segment], duration: float) -> None:
    if not 0 < duration < math.inf:
        raise InputError(f"duration={duration}: a length above 0 s was expected")
    past = 0.0
    for s in found:
        if not (past <= s.start < s.end <= duration + ROUNDING and 0 <= s.confidence <= 1 and 0 <= s.peak <= 1):
            raise InputError(f"{s} after {past} s in {duration} s: segments in order of time, within it, were expected")
        past = s.end


def _checked_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{name}={value}: a number from 0 to 1 was expected")
