"""Reasons to mistrust a result, each measured, each with its limit, and what it is worth then."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from deepfake.detector import Detector
from deepfake.domain import EDGE, EDGE_PERCENTILE, IN, OUTSIDE, OUTSIDE_PERCENTILE, Place, misjudged
from deepfake.forensics.statement import SCALE, SIDES, number

CAUTION, INCONCLUSIVE = "reported_with_caution", "inconclusive"
REPORTED = "reported"
WHERE = {IN: "in its domain", EDGE: "at the edge of its domain", OUTSIDE: "outside its domain"}
NEUTRAL = math.log10(SCALE.neutral)


class Limit(NamedTuple):
    """Where a reason begins, what it does to the result, and how it is put into words."""

    value: float
    state: str
    sentence: str


LIMITS: dict[str, Limit] = {
    "nonfinite_input": Limit(0, INCONCLUSIVE, "{value:.0f} samples are not finite numbers."),
    "no_speech": Limit(
        0.1, INCONCLUSIVE, "There is no speech in it: {value:.2f} s stand out of the noise, less than {limit} s."
    ),
    "too_short": Limit(1.0, CAUTION, "There is little speech in it: {value:.2f} s, less than {limit:g} s."),
    "silence_dominates": Limit(0.6, CAUTION, "Silence dominates: {value:.0%} of the frames, more than {limit:.0%}."),
    "clipped": Limit(0.001, CAUTION, "It is clipped: {value:.2%} of the samples, more than {limit:.2%}."),
    "narrowband": Limit(0.6, CAUTION, "Its band is narrow: it ends at {top:.0f} Hz, below {lowest:.0f} Hz."),
    "low_snr": Limit(10.0, CAUTION, "The speech lies only {value:.1f} dB above the noise, less than {limit:g} dB."),
    "damaged": Limit(0, CAUTION, "{sentence}"),  # packets that cannot be decoded; these three are noted in decoding
    "channels_cancel": Limit(0.1, CAUTION, "{sentence}"),  # power of the mix, as a share of independent channels'
    "integer_range": Limit(10.0, CAUTION, "{sentence}"),  # RMS of floating-point samples, full scale being 1
    "windows_disagree": Limit(
        0.25, CAUTION, "The windows disagree: {value:.0%} say otherwise than the file, more than {limit:.0%}."
    ),
    "outside_domain": Limit(
        OUTSIDE_PERCENTILE,
        INCONCLUSIVE,
        "It lies outside the speech that the detector was made for ({source}): farther from it than {value:.1f} % of "
        "its {n} held-out recordings, more than {limit:g} %. {measured}.",
    ),
    "outside_domain_judged": Limit(
        OUTSIDE_PERCENTILE,
        CAUTION,
        "It lies outside the speech that the detector was made for ({source}): farther from it than {value:.1f} % of "
        "its {n} held-out recordings, more than {limit:g} %. {measured}; a verdict was asked for all the same.",
    ),
    "domain_edge": Limit(
        EDGE_PERCENTILE,
        CAUTION,
        "It lies at the edge of the speech that the detector was made for ({source}): farther from it than "
        "{value:.1f} % of its {n} held-out recordings, more than {limit:g} %. {measured}.",
    ),
    "outside_range": Limit(
        0.0, CAUTION, "The score {score:.4g} lies beyond those of the {whose} set, {low:.4g} to {high:.4g}."
    ),
    "not_calibrated": Limit(1, CAUTION, "The detector is not calibrated: its scores are not likelihood ratios."),
    "threshold_disagrees": Limit(
        NEUTRAL, CAUTION, "By the threshold the speech is {side}, by the likelihood ratio {other_side}."
    ),
    "uncertain": Limit(NEUTRAL, INCONCLUSIVE, "{what}"),
}


class Reason(NamedTuple):
    """A named reason.

    Attributes:
        name: Of `LIMITS`.
        value: What was measured, in the unit of the limit.
        limit: Beyond which it is a reason.
        sentence: Both, in words.
    """

    name: str
    value: float
    limit: float
    sentence: str


def reasons(
    quality: Mapping[str, float],
    detector: Detector,
    score: float,
    *,
    windows: Sequence[float] | None = None,
    score_range: tuple[float, float] | None = None,
    domain: Place | None = None,
    judge_outside: bool = False,
) -> list[Reason]:
    """The reasons to mistrust a result, in the order of `LIMITS`.

    Args:
        quality: What `deepfake.forensics.quality.Quality` found.
        detector: The one that gave the score.
        score: Of the file.
        windows: Scores of its windows `[N]`, where it has several.
        score_range: Least and greatest score of the trials that the detector was calibrated on, of dev where it is not
            calibrated; None if unknown.
        domain: Where the recording lies; None if the detector has no domain.
        judge_outside: Whether a recording outside the domain is no reason to withhold the verdict.
    """
    found = [
        *_of_recording(quality, detector),
        *_of_domain(detector, domain, judge_outside),
        *_of_score(detector, score, windows, score_range),
    ]
    return sorted(found, key=lambda reason: list(LIMITS).index(reason.name))


def state(reasons: Sequence[Reason]) -> str:
    """`reported`, `reported_with_caution` or `inconclusive`: the worst state of a reason."""
    states = {LIMITS[reason.name].state for reason in reasons}
    return next((s for s in (INCONCLUSIVE, CAUTION) if s in states), REPORTED)


def _of_recording(quality: Mapping[str, float], detector: Detector) -> Iterator[Reason]:
    if (n := quality["nonfinite_samples"]) > LIMITS["nonfinite_input"].value:
        yield _reason("nonfinite_input", n)
        return
    speech, top, highest = quality["speech_s"], quality["top_hz"], detector.sample_rate / 2
    if speech < LIMITS["no_speech"].value:
        yield _reason("no_speech", speech)
    elif speech < LIMITS["too_short"].value:
        yield _reason("too_short", speech)
    if (snr := quality["snr_db"]) < LIMITS["low_snr"].value:
        yield _reason("low_snr", snr)
    for name, share in (("silence_dominates", quality["silence_share"]), ("clipped", quality["clipped_share"])):
        if share > LIMITS[name].value:
            yield _reason(name, share)
    if (share := top / highest) < (least := LIMITS["narrowband"].value):
        yield _reason("narrowband", share, top=top, lowest=least * highest)


def _of_domain(detector: Detector, domain: Place | None, judge_outside: bool) -> Iterator[Reason]:
    outside = "outside_domain_judged" if judge_outside else "outside_domain"
    names = {EDGE: "domain_edge", OUTSIDE: outside}
    if domain is not None and domain.state in names:
        known = detector.config["domain"]
        facts = {"source": known["source"], "n": known["n_dev"], "measured": measured(known, domain.state)}
        yield _reason(names[domain.state], domain.percentile, **facts)


def measured(known: Mapping[str, Any], state: str) -> str:
    """How many held-out recordings of a state were misjudged, with the interval of the rate, without a full stop.

    Args:
        known: A detector's setting `domain`.
        state: `in`, `edge` or `outside`.
    """
    found = misjudged(known, state)
    if found is None or not found.n:
        return "What the detector says of such recordings was not measured"
    from deepfake.metrics.classification import proportion_interval  # with it, SciPy: only where it is needed

    low, high = proportion_interval(found.wrong / found.n, found.n)
    those = f"{found.wrong} of the {found.n} held-out recordings {WHERE[state]}"
    rate = f"The detector misjudged {those} (95 %: {low:.0%} to {high:.0%})"
    return rate + (", and what lies outside in other ways was not measured" if state == OUTSIDE else "")


def _of_score(
    detector: Detector, score: float, windows: Sequence[float] | None, score_range: tuple[float, float] | None
) -> Iterator[Reason]:
    bonafide = score > detector.threshold
    if windows is not None and len(windows):
        other = float(np.mean((np.asarray(windows) > detector.threshold) != bonafide))
        if other > LIMITS["windows_disagree"].value:
            yield _reason("windows_disagree", other)
    low, high = score_range or (-math.inf, math.inf)
    if (beyond := max(low - score, score - high)) > LIMITS["outside_range"].value:
        whose = "calibration" if detector.calibration else "dev"
        yield _reason("outside_range", beyond, score=score, whose=whose, low=low, high=high)
    if (llr := detector.llr(score)) is None:
        yield _reason("not_calibrated", 0.0)
        away = score - detector.threshold
        log10 = away / math.log(10)
        what = (
            f"The score lies {abs(away):.2g} from the threshold, and less than {math.log(2):.2g} is too close to tell."
        )
    else:
        log10 = -llr.log10_lr_spoof
        what = f"The likelihood ratio is {number(log10)} one way or the other, less than {SCALE.neutral:g}."
        if SCALE.word(log10) != SCALE.words[0] and (log10 > 0) != bonafide:
            sides = {"side": SIDES[bonafide], "other_side": SIDES[log10 > 0]}
            yield _reason("threshold_disagrees", abs(log10), **sides)
    if SCALE.word(log10) == SCALE.words[0]:
        yield _reason("uncertain", abs(log10), what=what)


def _reason(name: str, value: float, **facts: float | str) -> Reason:
    limit = LIMITS[name]
    return Reason(name, float(value), limit.value, limit.sentence.format(value=value, limit=limit.value, **facts))
