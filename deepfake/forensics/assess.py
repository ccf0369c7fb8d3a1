"""The assessment of one recording, from which every command takes its results."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy.special import expit, logit
from torch import Tensor

from deepfake.audio.measures import LONGEST_SECONDS
from deepfake.audio.sound import Info, Note, Source
from deepfake.detector import Detector, Window, Windows
from deepfake.domain import Place
from deepfake.errors import InputError
from deepfake.forensics.cautions import INCONCLUSIVE, LIMITS, Reason, reasons, state
from deepfake.forensics.reading import Reading, reading
from deepfake.localisation.measures import FRAME_SECONDS
from deepfake.localisation.scan import Frames, Trend, scanner
from deepfake.localisation.segments import THRESHOLD, Threshold, Timeline
from deepfake.metrics.calibration import LikelihoodRatio

EVEN = 0.5
WHOLE, FIRST = "whole", "first"
ALL = 2**62  # samples
DEFAULT = Threshold(THRESHOLD, "default")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A score, and the reasons to mistrust it.

    Attributes:
        detector: The one that gave the score.
        score: Of the recording, larger for bona fide speech.
        reasons: To mistrust the result.
    """

    detector: Detector
    score: float
    reasons: Sequence[Reason]

    @property
    def state(self) -> str:
        """`reported`, `reported_with_caution` or `inconclusive`."""
        return state(self.reasons)

    @property
    def verdict(self) -> str:
        """`bonafide` or `spoof`, or `inconclusive` where a reason forbids either."""
        return INCONCLUSIVE if self.state == INCONCLUSIVE else self.detector.verdict(self.score)

    @property
    def llr(self) -> LikelihoodRatio | None:
        """Of the score; None without calibration."""
        return self.detector.llr(self.score)

    def p_fake(self, prior: float = EVEN) -> float:
        """Probability of spoof at a prior one; without calibration an uncalibrated figure, whatever the prior.

        Raises:
            InputError: The prior is not between 0 and 1.
        """
        if not 0 < prior < 1:
            raise InputError(f"prior={prior}: a probability of spoof between 0 and 1 was expected")
        if (llr := self.llr) is None:
            return self.detector.p_fake(self.score)
        return float(expit(llr.log10_lr_spoof * math.log(10) + logit(prior)))


@dataclass(frozen=True, kw_only=True)
class Assessment(Finding):
    """A recording that was decoded once and scored from beginning to end.

    Attributes:
        name: Of the recording: its path, or what stands for it in errors.
        path: Where the file lies; None for bytes or an array.
        header: What its header claims.
        n_bytes: Size of the file; None for an array.
        file_sha256: Of the file as it was given; None for an array.
        samples_sha256: Of all samples at the detector's rate, mono, as 32-bit little-endian floating point.
        seconds: Its length, by the samples decoded.
        scored_seconds: How much of that the score rests on.
        quality: What `deepfake.forensics.quality.Quality` found in what was scored.
        scores: Of the windows, in order of time `[W]`; their mean is the score.
        domain: Where it lies relative to the speech that the detector was made for; None where that is not known.
        clip: Of the windows the one with the strongest evidence for spoof, the first of equals: what is explained.
        timeline: p_fake over time; None where it was not asked for.
    """

    name: str
    path: Path | None
    header: Info
    n_bytes: int | None
    file_sha256: str | None
    samples_sha256: str
    seconds: float
    scored_seconds: float
    quality: Mapping[str, float]
    scores: Sequence[float]
    domain: Place | None
    clip: Window
    timeline: Timeline | None = None

    @property
    def clip_start(self) -> float:
        """Where the clip begins, in seconds."""
        return self.clip.start / self.detector.sample_rate


@dataclass(frozen=True)
class Scanning:
    """How a recording is scanned for its timeline.

    Args:
        seconds: Of a window; None for the detector's clip.
        overlap: Of the windows, a share.
        batch_size: Windows per step, where they are not those of the score.
        threshold: Of p_fake.
        rule: Of the verdict of the whole, one of `deepfake.localisation.segments.RULES`.
    """

    seconds: float | None = None
    overlap: float = 0.5
    batch_size: int = 1
    threshold: Threshold = DEFAULT
    rule: str = "file"


def assess(
    detector: Detector,
    source: Source | Reading,
    *,
    clips: str = WHOLE,
    scanning: Scanning | None = None,
    score_range: tuple[float, float] | None = None,
    clip_start: float | None = None,
    judge_outside: bool = False,
    progress: Callable[[float], object] | None = None,
) -> Assessment:
    """Open a recording once, decode it in blocks from beginning to end, score it and measure it.

    Memory depends on the detector, not on the length of the recording, of which the first 10 minutes are measured.

    Args:
        detector: It is left in eval mode.
        source: The recording, as for `deepfake.audio.load`; or a `Reading`, which was measured as for `whole`.
        clips: `whole` for the score of `deepfake.detector.Windows`; `first` for that of the first clip, as challenges
            have it. Either way it is decoded to its end, so that damage is noticed.
        scanning: How to make the timeline; None for none.
        score_range: Least and greatest score that the detector was calibrated on; None if unknown.
        clip_start: Where the clip that is kept begins, in seconds; None for the one that `Assessment` describes.
        judge_outside: Whether a recording outside the detector's domain has a verdict too, with a caution.
        progress: Called after each block with the seconds that were scored so far; what it raises ends the assessment.

    Raises:
        InputError: The recording cannot be used, a score is not finite, or no window begins at `clip_start`.
    """
    with reading(source, sample_rate=detector.sample_rate, seconds=measured_seconds(detector, clips)) as opened:
        n_bytes, file_sha256 = opened.digest or (None, None)
        one_pass = Pass(detector, opened.name, clips=clips, scanning=scanning, clip_start=clip_start)
        blocks = map(torch.from_numpy, opened.blocks)
        for block in blocks if progress is None else _reported(blocks, detector.sample_rate, progress):
            one_pass.take(block)
        one_pass.finish()
        quality = opened.quality()
    return one_pass.assessment(
        header=opened.header,
        notes=opened.notes,
        quality=quality,
        path=Path(source).absolute() if isinstance(source, str | os.PathLike) else None,
        n_bytes=n_bytes,
        file_sha256=file_sha256,
        score_range=score_range,
        judge_outside=judge_outside,
    )


def measured_seconds(detector: Detector, clips: str) -> float:
    """How much of a recording is measured, from the beginning.

    Raises:
        InputError: `clips` is none of those that there are.
    """
    if clips not in (WHOLE, FIRST):
        raise InputError(f"clips={clips}: {WHOLE} or {FIRST} was expected")
    return LONGEST_SECONDS if clips == WHOLE else detector.seconds


class Pass:
    """One pass through the blocks of a recording, whatever is made of them.

    Args:
        detector: The detector.
        name: Of the recording.
        clips: As in `assess`.
        scanning: As in `assess`.
        clip_start: As in `assess`.
        batch_size: Windows per step; None for what suits the device.
    """

    def __init__(
        self,
        detector: Detector,
        name: str,
        *,
        clips: str,
        scanning: Scanning | None = None,
        clip_start: float | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.name, self.scanning, self.clip_start = name, scanning, clip_start
        self.n_scored = ALL if clips == WHOLE else detector.n_samples
        self.windows = Windows(detector, name, batch_size=batch_size)
        self.scanner: Trend | Frames | None = None
        if scanning is not None:
            options = {"seconds": scanning.seconds, "overlap": scanning.overlap, "batch_size": scanning.batch_size}
            self.scanner = scanner(detector, name, **options, windows=self.windows if clips == WHOLE else None)
        self.n_samples, self.digest = 0, hashlib.sha256()
        self.clip: Window | None = None

    def take(self, block: Tensor) -> None:
        """Take the next block `[T]`."""
        self.digest.update(block.numpy().astype("<f4").tobytes())
        if self.scanner is not None:
            self.scanner.take(block)
        self._choose(self.windows.take(block[: max(0, self.n_scored - self.n_samples)]))
        self.n_samples += len(block)

    def finish(self) -> None:
        """Score what is left, after the last block."""
        self._choose(self.windows.finish())

    def _choose(self, windows: Iterable[Window]) -> None:
        """Keep the window that begins when it was asked for, or whose score is lowest."""
        for window in windows:
            if self.clip_start is None:
                chosen = self.clip is None or window.score < self.clip.score
            else:
                chosen = window.start == round(self.clip_start * self.windows.detector.sample_rate)
            self.clip = window if chosen else self.clip

    def assessment(
        self,
        *,
        header: Info,
        notes: Sequence[Note],
        quality: Mapping[str, float],
        path: Path | None = None,
        n_bytes: int | None = None,
        file_sha256: str | None = None,
        score_range: tuple[float, float] | None,
        judge_outside: bool,
    ) -> Assessment:
        """What was found, after the end; the arguments are those of `Assessment` and `assess`.

        Raises:
            InputError: No window begins when it was asked for.
        """
        windows, detector = self.windows, self.windows.detector
        if self.clip is None:
            raise InputError(f"{self.name}: no window of the detector begins at {self.clip_start} s")
        noted = [Reason(note.name, note.value, LIMITS[note.name].value, note.sentence) for note in notes]
        known = {"windows": windows.scores, "score_range": score_range, "domain": windows.place}
        return Assessment(
            detector=detector,
            score=windows.score,
            reasons=[*noted, *reasons(quality, detector, windows.score, **known, judge_outside=judge_outside)],
            name=self.name,
            path=path,
            header=header,
            n_bytes=n_bytes,
            file_sha256=file_sha256,
            samples_sha256=self.digest.hexdigest(),
            seconds=self.n_samples / detector.sample_rate,
            scored_seconds=windows.cutter.n_taken / detector.sample_rate,
            quality=quality,
            scores=windows.scores,
            domain=windows.place,
            clip=self.clip,
            timeline=self._timeline(),
        )

    def _timeline(self) -> Timeline | None:
        if self.scanner is None or self.scanning is None:
            return None
        found, name = self.scanner.finish(), Path(self.name).name
        settings = {"threshold": self.scanning.threshold, "rule": self.scanning.rule}
        return Timeline.of(found, name=name, **settings, frame_seconds=FRAME_SECONDS)


def _reported(blocks: Iterable[Tensor], sample_rate: int, progress: Callable[[float], object]) -> Iterator[Tensor]:
    """The blocks themselves; after each one, it is said how many seconds there were."""
    n_samples = 0
    for block in blocks:
        yield block
        n_samples += len(block)
        progress(n_samples / sample_rate)
