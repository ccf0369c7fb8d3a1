"""Reasons to mistrust a result, each measured, each with its limit, and what they leave of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepfake.audio import measures as cues
from deepfake.detector import Detector
from deepfake.forensics.statement import SCALE, SIDES, number

CAUTION, INCONCLUSIVE = "reported_with_caution", "inconclusive"
REPORTED = "reported"


class Limit(NamedTuple):
    """Where a reason begins, and what it does to the result."""

    value: float
    unit: str
    state: str
    meaning: str


LIMITS: dict[str, Limit] = {
    "nonfinite_input": Limit(0, "samples", INCONCLUSIVE, "more samples than this are no finite numbers"),
    "no_speech": Limit(0.1, "s", INCONCLUSIVE, "less net speech than this"),
    "too_short": Limit(1.0, "s", CAUTION, "less net speech than this"),
    "silence_dominates": Limit(0.6, "share", CAUTION, "a greater share of frames 40 dB below the loudest"),
    "clipped": Limit(0.001, "share", CAUTION, "a greater share of samples at the largest magnitude"),
    "narrowband": Limit(0.6, "share", CAUTION, "a smaller share of the band that the detector hears is in use"),
    "low_snr": Limit(10.0, "dB", CAUTION, "speech less far above the noise than this"),
    "damaged": Limit(0, "packets", CAUTION, "more packets than this cannot be decoded and are left out"),
    "channels_cancel": Limit(
        0.1, "share", CAUTION, "less power in the mix than this share of that of independent channels: one is taken"
    ),
    "integer_range": Limit(10.0, "RMS", CAUTION, "floating-point samples that are larger, full scale being 1: scaled"),
    "windows_disagree": Limit(0.25, "share", CAUTION, "a greater share of windows on the other side of the threshold"),
    "outside_range": Limit(0.0, "score", CAUTION, "further than this beyond all scores that it was calibrated on"),
    "not_calibrated": Limit(1, "trials", CAUTION, "fewer trials than this to turn scores into likelihood ratios"),
    "threshold_disagrees": Limit(
        math.log10(SCALE.neutral), "log10 LR", CAUTION, "the likelihood ratio speaks against the verdict this strongly"
    ),
    "uncertain": Limit(math.log10(SCALE.neutral), "log10 LR", INCONCLUSIVE, "evidence weaker than this, either way"),
}

MEASURES = ("speech_s", "snr_db", "silence_share", "clipped_share", "top_hz")
FRAME_SECONDS = cues.FRAME_SECONDS
SPEECH_DB = 6.0  # above the noise floor
FLOOR_PERCENTILE = 5
DIGITAL_SILENCE = 1e-10  # power, that of -100 dBFS: no microphone's noise

Floats = NDArray[np.float64]


class Reason(NamedTuple):
    """A named reason.

    Attributes:
        name: Of `LIMITS`.
        value: What was measured, in the unit of the limit.
        limit: What it was held against.
        sentence: Both, in words.
    """

    name: str
    value: float
    limit: float
    sentence: str


def measured(waveform: NDArray[np.floating], sample_rate: int) -> dict[str, float]:
    """Measure a recording, as far as 10 minutes of it.

    Speech is told from its energy alone: frames of 10 ms that lie less than 40 dB below the loudest one and more than
    6 dB above the noise floor (5th percentile of frames, digital silence aside). Music passes for speech so. Where
    nobody ever pauses, the floor is that of soft speech, and the distance to it is a lower bound.

    Args:
        waveform: Samples `[T]` at the file's own rate, of the part that the score rests on.
        sample_rate: In hertz.

    Returns:
        `nonfinite_samples`; and `speech_s`, `snr_db` (mean power of speech less the floor, over the
        floor), `silence_share`, `clipped_share` and `top_hz` as `deepfake.audio.measures` defines them; NaN where
        there is no such thing, and of all if there are such samples.
    """
    samples = np.asarray(waveform, dtype=np.float64)[: cues.LONGEST_SECONDS * sample_rate]
    if n_bad := int(np.count_nonzero(~np.isfinite(samples))):
        return {"nonfinite_samples": float(n_bad)} | dict.fromkeys(MEASURES, math.nan)
    size = max(1, round(FRAME_SECONDS * sample_rate))
    n_frames = max(1, len(samples) // size)
    power = np.mean(samples[: n_frames * size].reshape(n_frames, -1) ** 2, axis=1)  # [L]
    heard = power[power > DIGITAL_SILENCE]
    floor = float(np.percentile(heard, FLOOR_PERCENTILE)) if len(heard) else math.inf
    speech = power[power > max(floor * 10 ** (SPEECH_DB / 10), power.max() * 10 ** (-cues.QUIET_DB / 10))]
    found = cues.levels(samples) | cues.silence(samples, sample_rate) | cues.spectrum(samples, sample_rate)
    return {
        "nonfinite_samples": 0.0,
        "speech_s": len(speech) * FRAME_SECONDS,
        "snr_db": 10 * math.log10(float(speech.mean()) / floor - 1) if len(speech) else math.nan,
        **{name: float(found.get(name, math.nan)) for name in MEASURES[2:]},
    }


def reasons(
    measures: Mapping[str, float],
    detector: Detector,
    score: float,
    *,
    windows: Sequence[float] | None = None,
    score_range: tuple[float, float] | None = None,
) -> list[Reason]:
    """What speaks against taking the result at its word, in the order of `LIMITS`.

    Args:
        measures: What `measured` found.
        detector: Which gave the score.
        score: Of the file.
        windows: Scores of its windows `[N]`, where it has several.
        score_range: Least and greatest score of the trials that the detector was calibrated on, of dev where it is not
            calibrated; None if unknown.
    """
    found = [*_of_recording(measures, detector), *_of_score(detector, score, windows, score_range)]
    return sorted(found, key=lambda reason: list(LIMITS).index(reason.name))


def state(reasons: Sequence[Reason]) -> str:
    """`reported`, `reported_with_caution` or `inconclusive`: the worst that a reason asks for."""
    states = {LIMITS[reason.name].state for reason in reasons}
    return next((s for s in (INCONCLUSIVE, CAUTION) if s in states), REPORTED)


def _of_recording(measures: Mapping[str, float], detector: Detector) -> list[Reason]:
    limit = {name: limit.value for name, limit in LIMITS.items()}
    if (n := measures["nonfinite_samples"]) > limit["nonfinite_input"]:
        return [_reason("nonfinite_input", n, f"{n:.0f} samples are no finite numbers.")]
    found: list[Reason] = []
    speech, snr, silence, clipped, top = (measures[name] for name in MEASURES)
    if speech < limit["no_speech"]:
        sentence = f"There is no speech in it: {speech:.2f} s stand out of the noise, less than {limit['no_speech']} s."
        found.append(_reason("no_speech", speech, sentence))
    elif speech < limit["too_short"]:
        sentence = f"There is little speech in it: {speech:.2f} s, less than {limit['too_short']:g} s."
        found.append(_reason("too_short", speech, sentence))
    if snr < limit["low_snr"]:
        sentence = f"The speech lies only {snr:.1f} dB above the noise, less than {limit['low_snr']:g} dB."
        found.append(_reason("low_snr", snr, sentence))
    if silence > limit["silence_dominates"]:
        sentence = f"Silence dominates: {silence:.0%} of the frames, more than {limit['silence_dominates']:.0%}."
        found.append(_reason("silence_dominates", silence, sentence))
    if clipped > limit["clipped"]:
        sentence = f"It is clipped: {clipped:.2%} of the samples, more than {limit['clipped']:.2%}."
        found.append(_reason("clipped", clipped, sentence))
    share = top / (detector.sample_rate / 2)
    if share < limit["narrowband"]:
        ends = limit["narrowband"] * detector.sample_rate / 2
        sentence = f"Its band is narrow: it ends at {top:.0f} Hz, below {ends:.0f} Hz."
        found.append(_reason("narrowband", share, sentence))
    return found


def _of_score(
    detector: Detector, score: float, windows: Sequence[float] | None, score_range: tuple[float, float] | None
) -> list[Reason]:
    found: list[Reason] = []
    bonafide = score > detector.threshold
    if windows is not None and len(windows):
        other = float(np.mean((np.asarray(windows) > detector.threshold) != bonafide))
        if other > (most := LIMITS["windows_disagree"].value):
            sentence = f"The windows disagree: {other:.0%} say otherwise than the file, more than {most:.0%}."
            found.append(_reason("windows_disagree", other, sentence))
    low, high = score_range or (-math.inf, math.inf)
    if (beyond := max(low - score, score - high)) > LIMITS["outside_range"].value:
        whose = "calibration" if detector.calibration else "dev"
        sentence = f"The score {score:.4g} lies beyond those of the {whose} set, {low:.4g} to {high:.4g}."
        found.append(_reason("outside_range", beyond, sentence))
    if (llr := detector.llr(score)) is None:
        sentence = "The detector is not calibrated: its scores are no likelihood ratios."
        found.append(_reason("not_calibrated", 0.0, sentence))
        log10 = (score - detector.threshold) / math.log(10)
        what = (
            f"The score lies {abs(score - detector.threshold):.2g} from the threshold, and less than {math.log(2):.2g}"
        )
        what = f"{what} is too close to tell."
    else:
        log10 = -llr.log10_lr_spoof
        what = f"The likelihood ratio is {number(log10)} one way or the other, less than {SCALE.neutral:g}."
        if SCALE.word(log10) != SCALE.words[0] and (log10 > 0) != bonafide:
            sentence = f"By the threshold the speech is {SIDES[bonafide]}, by the likelihood ratio {SIDES[log10 > 0]}."
            found.append(_reason("threshold_disagrees", abs(log10), sentence))
    if SCALE.word(log10) == SCALE.words[0]:
        found.append(_reason("uncertain", abs(log10), what))
    return found


def _reason(name: str, value: float, sentence: str) -> Reason:
    return Reason(name, float(value), LIMITS[name].value, sentence)
