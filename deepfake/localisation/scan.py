"""The scan of a recording, window by window or frame by frame: evidence over time, in constant memory."""

from __future__ import annotations

import math
import os
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import expit, logit
from torch import Tensor

from deepfake.audio import stream
from deepfake.audio.sound import Source
from deepfake.audio.windows import Cutter, mirrored
from deepfake.detector import Detector, Windows
from deepfake.errors import InputError
from deepfake.metrics.localisation import unit_edges
from deepfake.metrics.trials import Floats

LEAST_SECONDS, MOST_SECONDS = 0.1, 60.0  # of a window
MOST_OVERLAP = 0.99
BLOCK_SECONDS = 10.0
ROUNDING = 1e-6  # of a frame
MOST_P = 1 - 2**-53  # the largest number below 1, so that its log-odds are finite


class Scan(NamedTuple):
    """The scores of each window of a recording, or of each frame.

    Windows give a trend, not a localisation: a window has one score, so nothing shorter than about one window is
    resolved, however small the hop. Only a detector that scores frames localises; a window is then a frame, and its
    score the mean over all clips that contain it.

    Attributes:
        starts: Of the windows, in seconds `[W]`.
        scores: The detector's raw scores `[W]`, larger = more bona fide.
        spoof: Evidence for spoof in nats `[W]`: the log-likelihood ratio of a calibrated detector, not capped, else its
            log-odds.
        p_fake: `Detector.p_fake` of the scores `[W]`.
        duration: Of the recording, in seconds.
        window: Length of a window, in seconds: the effective resolution, whatever the hop.
        hop: From one window to the next, in seconds.
        kind: `trend` or `localisation`.
    """

    starts: Floats
    scores: Floats
    spoof: Floats
    p_fake: Floats
    duration: float
    window: float
    hop: float
    kind: str = "trend"

    @property
    def ends(self) -> Floats:
        """Of the windows, in seconds `[W]`; the last one ends with the recording."""
        return np.minimum(self.starts + self.window, self.duration)


def scan(
    detector: Detector, source: Source, *, seconds: float | None = None, overlap: float = 0.5, batch_size: int = 8
) -> Scan:
    """Score a recording in overlapping windows, decoded in blocks from beginning to end whatever its format.

    Memory depends on the network, the window and the batch, not on the length of the recording.

    Args:
        detector: Put into eval mode.
        source: The recording, as for `deepfake.audio.load`.
        seconds: As in `scanner`.
        overlap: As in `scanner`.
        batch_size: Windows per step.

    Raises:
        InputError: The recording cannot be used (`deepfake.audio.load`), an argument is out of range, or a score is not
            finite.
    """
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else "the given audio"
    scanning = scanner(detector, name, seconds=seconds, overlap=overlap, batch_size=batch_size)
    for block in stream(source, sample_rate=detector.sample_rate, block_seconds=BLOCK_SECONDS):
        scanning.take(block)
    return scanning.finish()


def scanner(
    detector: Detector,
    name: str,
    *,
    seconds: float | None = None,
    overlap: float = 0.5,
    batch_size: int = 8,
    windows: Windows | None = None,
    keeps: bool = True,
) -> Trend | Frames:
    """The scanner of a recording that comes in blocks.

    For a detector that scores frames, the windows are its clips, and frames are scored.

    The last window is padded by mirroring its own samples, and so is the only one of a recording shorter than a window:
    repeating them, as for single clips, would create a seam, which looks like a splice.

    Args:
        detector: Put into eval mode.
        name: Of the recording, for errors.
        seconds: Length of a window; the detector's own clip if None. A shorter window is mirrored to fill that clip, as
            some networks take no other length.
        overlap: Share of a window that the next one overlaps, from 0 to 0.99.
        batch_size: Windows per step.
        windows: Those that the recording is scored by in any case: if they are the same, they are not scored again.
        keeps: Whether `finish` is to be asked for; without it, what `latest` gave is forgotten.

    Raises:
        InputError: An argument is out of range.
    """
    seconds = detector.seconds if seconds is None else seconds
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise InputError(f"window.seconds={seconds}: a window of {LEAST_SECONDS:g} to {MOST_SECONDS:g} s was expected")
    if not 0 <= overlap <= MOST_OVERLAP:
        raise InputError(f"window.overlap={overlap}: a share of the window from 0 to {MOST_OVERLAP:g} was expected")
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: at least 1 window was expected")
    n = round(seconds * detector.sample_rate)
    options = {"n_samples": n, "overlap": overlap, "batch_size": batch_size}
    if detector.locates:
        return Frames(detector.eval(), name, **options, keeps=keeps)
    own = Windows(detector, name, **options)
    if windows is not None and (windows.cutter.n_samples, windows.cutter.hop) == (n, own.cutter.hop):
        return Trend(windows, shared=True)
    return Trend(own, keeps=keeps)


class Trend:
    """The scores of the windows of a recording that comes in blocks.

    Args:
        windows: Of the recording.
        shared: Whether the caller feeds and finishes them.
        keeps: As in `scanner`.
    """

    def __init__(self, windows: Windows, *, shared: bool = False, keeps: bool = True) -> None:
        self.windows, self.shared, self.keeps = windows, shared, keeps
        self.n_given = 0

    def take(self, block: Tensor) -> None:
        """Take the next block `[T]`."""
        if not self.shared:
            self.windows.take(block)

    def latest(self) -> Scan:
        """The windows that were scored since they were last asked for; the last one comes with `rest`."""
        first, values = self.n_given, self._values()
        self.n_given += len(values[0])
        if not self.keeps:
            self.windows.forget()
        return self._scan(first, *values)

    def rest(self) -> Scan:
        """Those that `latest` did not give, after the last block."""
        windows, cutter = self.windows, self.windows.cutter
        if not self.shared:
            windows.flush()
        if self.shared and len(cutter.rest) == windows.n_filled:  # it ends with the recording
            last = windows.scores[-1:], windows.spoof[-1:]
        else:
            last = windows.score_clips([mirrored(cutter.rest, windows.n_filled)], [cutter.n_cut * cutter.hop])[:2]
        values = [[*found, *more] for found, more in zip(self._values(), last, strict=True)]
        return self._scan(self.n_given, *values)

    def finish(self) -> Scan:
        """The scan, after the last block."""
        self.n_given = 0
        return self.rest()

    def _values(self) -> tuple[list[float], list[float]]:
        """Scores and evidence of the windows that were cut, from the first that was not given on."""
        windows = self.windows
        first = self.n_given - windows.n_scored + len(windows.scores)
        n = min(windows.n_scored, windows.cutter.n_cut) - self.n_given
        return windows.scores[first : first + n], windows.spoof[first : first + n]

    def _scan(self, first: int, scores: list[float], spoof: list[float]) -> Scan:
        cutter, detector = self.windows.cutter, self.windows.detector
        return Scan(
            starts=np.arange(first, first + len(scores), dtype=np.float64) * (cutter.hop / detector.sample_rate),
            scores=np.array(scores),
            spoof=np.array(spoof),
            p_fake=np.array([detector.p_fake(score) for score in scores]),
            duration=cutter.n_taken / detector.sample_rate,
            window=cutter.n_samples / detector.sample_rate,
            hop=cutter.hop / detector.sample_rate,
        )


class Frames:
    """The scores of the frames of a recording that comes in blocks, each the mean over the clips that contain it.

    Args:
        detector: One that scores frames.
        name: Of the recording, for errors.
        n_samples: Of a clip; one shorter than the detector's is mirrored to fill that.
        overlap: Share of a clip that the next one overlaps, rounded to whole frames.
        batch_size: Clips per step.
        keeps: As in `scanner`.
    """

    @torch.inference_mode()
    def __init__(
        self, detector: Detector, name: str, *, n_samples: int, overlap: float, batch_size: int, keeps: bool = True
    ) -> None:
        self.detector, self.name, self.batch_size, self.keeps = detector, name, batch_size, keeps
        self.n_filled = max(n_samples, detector.n_samples)
        self.frame = self.n_filled / detector.frames(torch.zeros(1, self.n_filled, device=detector.device)).shape[1]
        whole = int(n_samples / self.frame + ROUNDING)  # frames
        self.stride = max(1, min(round(n_samples * (1 - overlap) / self.frame), whole))  # frames from clip to clip
        self.cutter = Cutter(n_samples, round(self.stride * self.frame))
        self.n_clips = self.n_given = self.n_done_given = 0
        self.done: list[Floats] = []  # frames that no later clip contains
        self.total, self.count = np.zeros(0), np.zeros(0)  # of the frames from the next clip's start on
        self._waiting: list[Tensor] = []

    def take(self, block: Tensor) -> None:
        """Take the next block `[T]`."""
        self._waiting += self.cutter.take(block)
        while len(self._waiting) >= self.batch_size:
            clips, self._waiting = self._waiting[: self.batch_size], self._waiting[self.batch_size :]
            self._score(clips)

    def latest(self) -> Scan:
        """The frames that no later clip contains, since they were last asked for."""
        first, scores = self.n_given, np.concatenate([np.zeros(0), *self.done[self.n_done_given :]])
        self.n_given += len(scores)
        if not self.keeps:
            self.done.clear()
        self.n_done_given = len(self.done)
        return self._scan(first, scores)

    def rest(self) -> Scan:
        """Those that `latest` did not give, after the last block."""
        self._score([*self._waiting, self.cutter.rest])
        n_frames = max(1, math.ceil(self.cutter.n_taken / self.frame - ROUNDING)) - self.n_given
        scores = np.concatenate([*self.done[self.n_done_given :], self.total / self.count])[:n_frames]
        return self._scan(self.n_given, scores)

    def finish(self) -> Scan:
        """The scan, after the last block."""
        self.n_given = self.n_done_given = 0
        return self.rest()

    def _scan(self, first: int, scores: Floats) -> Scan:
        frame_seconds = self.frame / self.detector.sample_rate
        return Scan(
            starts=np.arange(first, first + len(scores), dtype=np.float64) * frame_seconds,
            scores=scores,
            spoof=-scores,
            p_fake=expit(self.detector.frame_threshold - scores),
            duration=self.cutter.n_taken / self.detector.sample_rate,
            window=frame_seconds,
            hop=frame_seconds,
            kind="localisation",
        )

    @torch.inference_mode()
    def _score(self, clips: list[Tensor]) -> None:
        filled = torch.stack([mirrored(clip, self.n_filled) for clip in clips]).to(self.detector.device)
        for clip, scores in zip(clips, self.detector.frames(filled).double().cpu().numpy(), strict=True):
            self._add(scores[: max(1, math.ceil(len(clip) / self.frame - ROUNDING))])

    def _add(self, scores: Floats) -> None:
        if not np.isfinite(scores).all():
            where = self.n_clips * self.stride * self.frame / self.detector.sample_rate
            raise InputError(f"{self.name}: the detector's scores of frames after {where:.2f} s are not finite numbers")
        more = max(0, len(scores) - len(self.total))
        self.total, self.count = np.pad(self.total, (0, more)), np.pad(self.count, (0, more))
        self.total[: len(scores)] += scores
        self.count[: len(scores)] += 1
        self.done.append(self.total[: self.stride] / self.count[: self.stride])
        self.total, self.count = self.total[self.stride :], self.count[self.stride :]
        self.n_clips += 1


def curve(found: Scan, *, frame_seconds: float) -> tuple[Floats, Floats, Floats]:
    """Evidence by frame: the mean of all windows that contain the middle of the frame.

    The mean and not the sum: overlapping windows share samples, so their evidence does not add up. `p_fake` is averaged
    in log-odds too, which gives the detector's probability at the mean evidence.

    Args:
        found: The scan.
        frame_seconds: Length of a frame; the last one ends with the recording.

    Returns:
        Edges of the frames in seconds `[L + 1]`, evidence for spoof in nats `[L]`, `p_fake` `[L]`.

    Raises:
        InputError: `frame_seconds` is not above 0.
    """
    edges = unit_edges(resolution=frame_seconds, duration=found.duration)
    middles = (edges[1:] + edges[:-1]) / 2
    first = np.searchsorted(found.ends, middles, side="right")
    last = np.maximum(np.searchsorted(found.starts, middles, side="right"), first + 1)  # on a border, by rounding

    def averaged(values: Floats) -> Floats:
        bounds = np.stack([first, last], axis=1).ravel()
        return np.add.reduceat(np.append(values, 0.0), bounds)[::2] / (last - first)

    return edges, averaged(found.spoof), expit(averaged(logit(np.minimum(found.p_fake, MOST_P))))
