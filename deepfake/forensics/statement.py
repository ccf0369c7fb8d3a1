"""What may be said of a score: a likelihood ratio with both hypotheses, no stronger than the calibration supports.

The form of the statement is that of evaluative reporting (Association of Forensic Science Providers 2009, "Standards
for the formulation of evaluative forensic science expert opinion", Science & Justice 49:161): how much more probable
the finding is under one hypothesis than under the other, and never how probable a hypothesis is. The number stands
beside the words of the scale, since words alone are misread: weak support is taken for its contrary (Martire, Kemp,
Sayle and Newell 2014, "On the interpretation of likelihood ratios in forensic science evidence", Forensic Science
International 240:61).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from deepfake.detector import Detector
from deepfake.explain.regions import Region

ROUNDING = 1e-9  # of logarithms
LN10 = math.log(10)


class Scale(NamedTuple):
    """A verbal scale of likelihood ratios from 1 on, as `verbal_scale.json` holds it.

    Attributes:
        scale_id: Its name.
        version: Of the file.
        source: Where the bounds and the words come from.
        convention: What holds on a bound and below 1.
        bounds: Least ratio of each row, rising, the first 1.
        words: Of each row.
    """

    scale_id: str
    version: str
    source: str
    convention: str
    bounds: list[float]
    words: list[str]

    @property
    def neutral(self) -> float:
        """Ratio from which on there is any support."""
        return self.bounds[1]

    def word(self, log10_lr: float) -> str:
        """Words for the base-10 logarithm of a ratio, whichever hypothesis it supports."""
        above = (abs(log10_lr) >= math.log10(bound) - ROUNDING for bound in self.bounds[1:])
        return self.words[sum(above)]

    def rows(self) -> list[dict[str, Any]]:
        """The whole scale to be printed: `from`, `to` (None in the last row), `range` in words, `words`."""
        ends = [*self.bounds[1:], None]
        return [
            {"from": low, "to": high, "range": f"{low:,} to {high:,}" if high else f"{low:,} and more", "words": words}
            for low, high, words in zip(self.bounds, ends, self.words, strict=True)
        ]


SCALE = Scale(**json.loads((files("deepfake.forensics") / "verbal_scale.json").read_text(encoding="utf-8")))

SIDES = ("machine-generated", "human")
GRADES = {"high": 0.8, "moderate": 0.6, "low": 0.0}  # confidence above it
LIMITS = (
    "A likelihood ratio is not the probability that the speech is machine-generated, which depends on all else that "
    "is known of the case; a probability at a chosen prior is a calculation and not a finding.",
    "That no trace of machine generation was found does not show that a recording is genuine or unaltered.",
    "Impersonators, and human speech that was replayed, are outside the question that this detector answers.",
    "Re-recording, coding, noise and editing can remove the traces, and can leave others that look like them.",
    "The numbers hold for methods and recording conditions like those of the calibration set; of others nothing was "
    "measured.",
    "On speech of generators of 2017 to 2026 that were not in training, detectors without a self-supervised front end "
    "were measured near chance: no verdict of theirs on such speech can be trusted.",
    "Maps and regions show what moved this detector's score, not where a recording was altered.",
)
MOST_PLACES = 5
NO_METHOD = "no method"  # as places calls it where none was asked for


class Statement(NamedTuple):
    """One score in words.

    Attributes:
        sentence: The finding, or why there is none.
        strength: Words of the scale; None without a likelihood ratio, or where none may be stated.
        supports: `spoof` or `bonafide`; None where neither is supported.
        grade: `high`, `moderate` or `low`, by `confidence`.
        confidence: `max(p_fake, 1 - p_fake)`.
        graded: The grade in a sentence.
    """

    sentence: str
    strength: str | None
    supports: str | None
    grade: str
    confidence: float
    graded: str


def statement(
    detector: Detector, score: float, *, source: str | None = None, obstacles: Sequence[str] = ()
) -> Statement:
    """Put a score into words.

    Args:
        detector: The one that gave it.
        score: Of the file.
        source: Name of what the detector was calibrated on; by default the one it carries.
        obstacles: Sentences on why nothing may be concluded, other than that the evidence is weak.
    """
    found = detector.llr(score)
    strength = supports = None
    if obstacles:
        sentence = f"Inconclusive: nothing is said of how this speech was made. {' '.join(obstacles)}"
    elif found is None:
        sentence = _uncalibrated(detector, score)
    else:
        log10, capped = found
        strength = SCALE.word(log10)
        supports = ("spoof" if log10 > 0 else "bonafide") if strength != SCALE.words[0] else None
        sentence = _likelihood_ratio(detector, log10, capped, source)
    p_fake = detector.p_fake(score)
    confidence = max(p_fake, 1 - p_fake)
    grade = "low" if obstacles else next(name for name, above in GRADES.items() if confidence > above)
    return Statement(sentence, strength, supports, grade, confidence, _graded(grade, confidence, found, obstacles))


def number(log10_lr: float) -> str:
    """A ratio from 1 on, of which the base-10 logarithm is given, with two digits and never rounded up."""
    ratio = 10 ** min(abs(log10_lr), 300.0) * (1 + ROUNDING)
    step = 10.0 ** (math.floor(math.log10(ratio)) - 1)
    down = math.floor(ratio / step) * step
    return f"{down:.1f}".removesuffix(".0") if down < 10 else f"{down:,.0f}"


def places(regions: Sequence[Region], coverage: float, method: str) -> str:
    """Where the evidence for machine generation lies, the strongest places first."""
    if not regions:
        return f"By {method}, no part of the clip speaks for machine generation."
    first = sorted(regions, key=lambda region: -region.strength)[:MOST_PLACES]
    named = ", ".join(f"{r.start_s:.2f} to {r.end_s:.2f} s ({_band(r.low_hz, r.high_hz)})" for r in first)
    rest = f" and {len(regions) - len(first)} more" if len(regions) > len(first) else ""
    return (
        f"By {method}, what speaks for machine generation in this clip, much or little, lies mostly at {named}{rest}: "
        f"{coverage:.0%} of it."
    )


def _likelihood_ratio(detector: Detector, log10: float, capped: bool, source: str | None) -> str:
    carried, n = detector.config["calibration"], detector.calibration
    assert n is not None
    name = f"the calibration set ({source or carried['source']}; {n.n_bonafide:,} bona fide, {n.n_spoof:,} spoofed)"
    word, cap = SCALE.word(log10), ""
    if capped:
        most = f"{number(n.high / LN10)} for human and {number(n.low / LN10)} for machine-generated speech"
        cap = f" The score lies beyond what so many trials can vouch for: this is the most that they support ({most})."
    if word == SCALE.words[0]:
        return (
            "This score does not help to distinguish speech that was machine-generated by methods like those in "
            f"{name} from human speech recorded in conditions like its bona fide speech: the likelihood ratio lies "
            f"between 1/{SCALE.neutral:g} and {SCALE.neutral:g}.{cap}"
        )
    if log10 > 0:
        return (
            f"This score is about {number(log10)} times more probable if the speech was machine-generated by methods "
            f"like those in {name} than if it is human speech recorded in conditions like its bona fide speech: {word} "
            f"for machine-generated rather than human speech.{cap}"
        )
    return (
        f"This score is about {number(log10)} times more probable if this is human speech recorded in conditions like "
        f"the bona fide speech of {name} than if it was machine-generated by methods like those in it: {word} for "
        f"human rather than machine-generated speech.{cap}"
    )


def _uncalibrated(detector: Detector, score: float) -> str:
    value, source = detector.threshold, detector.config["threshold"]["source"]
    away = f"{abs(score - value):.3g} {'above' if score > value else 'below'}"
    return (
        f"The detector is not calibrated, so no likelihood ratio can be stated: a score of {score:.4g} relative to "
        f"the threshold {value:.4g} ({source}) is {away}, on the side of {SIDES[score > value]} speech."
    )


def _graded(grade: str, confidence: float, found: object, obstacles: Sequence[str]) -> str:
    if obstacles:
        return "Confidence: low, as the result is inconclusive."
    what = "uncalibrated" if found is None else "at even prior odds"
    return (
        f"Confidence: {grade} ({math.floor(100 * confidence) / 100:.2f}, {what}; high is over 0.8, moderate over 0.6)."
    )


def _band(low: float, high: float) -> str:
    return f"{low / 1000:.1f} to {high / 1000:.1f} kHz"
