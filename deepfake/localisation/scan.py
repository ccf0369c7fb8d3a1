"""A long recording heard window by window: how the evidence runs over time, in constant memory."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit
from torch import Tensor

from deepfake.audio.waveform import Source, stream
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.metrics.localisation import unit_edges

Floats = NDArray[np.float64]

LEAST_SECONDS, MOST_SECONDS = 0.1, 60.0  # of a window
MOST_OVERLAP = 0.99
BLOCK_SECONDS = 10.0
ROUNDING = 1e-6  # of a frame
MOST_P = 1 - 2**-53  # the largest number below 1: more is not told apart from certainty


class Sweep(NamedTuple):
    """What a detector says of each window of a recording, or of each frame.

    Windows give a trend, not a localisation: a window is judged as a whole, so nothing shorter than about one window
    can be told apart, however small the hop. Only a detector that judges frames localises; a window is then a frame,
    and its score the mean of what was said of it in all the clips that held it.

    Attributes:
        starts: Of the windows, in seconds `[W]`.
        scores: The detector's raw scores `[W]`, larger = more bona fide.
        spoof: Evidence for spoof in nats `[W]`: the log-likelihood ratio of a calibrated detector, beyond its bounds
            too, else its log-odds.
        p_fake: `Detector.p_fake` of the scores `[W]`.
        duration: Of the recording, in seconds.
        window: Length of a window, in seconds.
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

    @property
    def resolution(self) -> float:
        """Effective resolution in seconds: one window, whatever the hop."""
        return self.window

    @property
    def mirrored(self) -> float:
        """How much of the last window is not recording but its mirror image, in seconds."""
        if self.kind == "localisation":
            return 0.0  # frames of a mirror image are left out
        return float(self.window - (self.ends[-1] - self.starts[-1]))


@torch.inference_mode()
def sweep(
    detector: Detector,
    source: Source,
    *,
    seconds: float | None = None,
    overlap: float = 0.5,
    batch_size: int = 8,
    device: str | torch.device = "cpu",
) -> Sweep:
    """Score a recording in overlapping windows, read on from beginning to end whatever its format.

    Of a detector that judges frames, the windows are the clips in which it hears them, and frames are what is scored.

    The last window is completed by mirroring its own samples to and fro, and so is the only one of a recording shorter
    than a window: looping them, as single clips are filled up, would put a seam where there is none, and a seam is what
    a splice looks like. Memory depends on the network, the window and the batch, not on the length of the recording.

    Args:
        detector: It is left on `device` in eval mode.
        source: The recording, as for `deepfake.audio.load`.
        seconds: Length of a window; the detector's own clip if None. A shorter one is mirrored up to that clip, which
            is all that some networks know.
        overlap: Share of a window that the next one holds too, from 0 to 0.99.
        batch_size: Windows per step.
        device: Where to compute.

    Raises:
        InputError: The recording cannot be used (`deepfake.audio.load`), an argument is out of range, or a score is not
            finite.
    """
    seconds = detector.n_samples / detector.sample_rate if seconds is None else seconds
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise InputError(f"window.seconds={seconds}: a window of {LEAST_SECONDS:g} to {MOST_SECONDS:g} s was expected")
    if not 0 <= overlap <= MOST_OVERLAP:
        raise InputError(f"window.overlap={overlap}: a share of the window from 0 to {MOST_OVERLAP:g} was expected")
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: at least 1 window was expected")
    detector = detector.to(device).eval()
    rate = detector.sample_rate
    n = round(seconds * rate)
    hop = round(n * (1 - overlap))
    heard = max(n, detector.n_samples)

    name = os.fspath(source) if isinstance(source, str | os.PathLike) else "the given audio"
    if detector.locates:
        return _frames(detector, source, name, n, 1 - overlap, heard, batch_size, device)
    scores, spoof, n_samples = [], [], 0
    for batch in _batches(_windows(source, rate, n, hop), batch_size):
        n_samples = (len(scores) + len(batch) - 1) * hop + len(batch[-1])
        logits = detector.logits(torch.stack([mirrored(w, heard) for w in batch]).to(device))
        score = detector.score(logits).double().cpu().numpy()
        if not np.isfinite(score).all():
            first = (len(scores) + int(np.argmin(np.isfinite(score)))) * hop / rate
            raise InputError(f"{name}: the detector's score of the window from {first:.2f} s on is not a finite number")
        scores.extend(score)
        spoof.extend(detector.spoof(logits).double().cpu().numpy())
    return Sweep(
        starts=np.arange(len(scores), dtype=np.float64) * (hop / rate),
        scores=np.array(scores),
        spoof=np.array(spoof),
        p_fake=np.array([detector.p_fake(s) for s in scores]),
        duration=n_samples / rate,
        window=n / rate,
        hop=hop / rate,
    )


def _frames(
    detector: Detector,
    source: Source,
    name: str,
    n: int,
    step: float,
    heard: int,
    batch_size: int,
    device: str | torch.device,
) -> Sweep:
    """The frames of a recording in clips of n samples, mirrored up to `heard`, a share `step` of a clip apart."""
    rate = detector.sample_rate
    frame = heard / detector.frames(torch.zeros(1, heard, device=device)).shape[1]  # samples
    stride = max(1, round(n * step / frame))  # frames from clip to clip
    hop = round(stride * frame)
    total, count, n_samples, clips = np.zeros(0), np.zeros(0), 0, 0
    for batch in _batches(_windows(source, rate, n, hop), batch_size):
        said = detector.frames(torch.stack([mirrored(w, heard) for w in batch]).to(device)).double().cpu().numpy()
        for clip, scores in zip(batch, said, strict=True):
            n_samples = clips * hop + len(clip)
            first, scores = clips * stride, scores[: max(1, math.ceil(len(clip) / frame - ROUNDING))]
            if not np.isfinite(scores).all():
                where = first * frame / rate
                raise InputError(f"{name}: the detector's scores of frames after {where:.2f} s are not finite numbers")
            more = max(0, first + len(scores) - len(total))
            total, count = np.pad(total, (0, more)), np.pad(count, (0, more))
            total[first : first + len(scores)] += scores
            count[first : first + len(scores)] += 1
            clips += 1
    scores = (total / count)[: max(1, math.ceil(n_samples / frame - ROUNDING))]
    return Sweep(
        starts=np.arange(len(scores), dtype=np.float64) * (frame / rate),
        scores=scores,
        spoof=-scores,
        p_fake=expit(detector.frame_threshold - scores),
        duration=n_samples / rate,
        window=frame / rate,
        hop=frame / rate,
        kind="localisation",
    )


def _batches(windows: Iterator[Tensor], batch_size: int) -> Iterator[list[Tensor]]:
    while batch := list(itertools.islice(windows, batch_size)):
        yield batch


def curve(swept: Sweep, *, frame_seconds: float) -> tuple[Floats, Floats, Floats]:
    """Evidence by frame: the mean of all windows that hold the middle of the frame.

    The mean is not multiplied up: overlapping windows hear the same samples, so their evidence does not add. `p_fake`
    is averaged in log-odds too, which gives the detector's probability at the mean of the stated evidence.

    Args:
        swept: Of a recording.
        frame_seconds: Length of a frame; the last one ends with the recording.

    Returns:
        Edges of the frames in seconds `[L + 1]`, evidence for spoof in nats `[L]`, `p_fake` `[L]`.

    Raises:
        InputError: `frame_seconds` is not above 0.
    """
    edges = unit_edges(resolution=frame_seconds, duration=swept.duration)
    middles = (edges[1:] + edges[:-1]) / 2
    first = np.searchsorted(swept.ends, middles, side="right")
    last = np.maximum(np.searchsorted(swept.starts, middles, side="right"), first + 1)  # on a border, by rounding

    def averaged(values: Floats) -> Floats:
        total = np.append(0.0, np.cumsum(values))
        return (total[last] - total[first]) / (last - first)

    return edges, averaged(swept.spoof), expit(averaged(logit(np.minimum(swept.p_fake, MOST_P))))


def mirrored(waveform: Tensor, n_samples: int) -> Tensor:
    """`n_samples` of a waveform that runs to and fro, its last sample and its first one heard twice at each turn.

    Shape:
        `[T]` -> `[n_samples]`
    """
    if len(waveform) >= n_samples:
        return waveform[:n_samples]
    return torch.cat([waveform, waveform.flip(0)]).repeat(-(-n_samples // (2 * len(waveform))))[:n_samples]


def _windows(source: Source, rate: int, n: int, hop: int) -> Iterator[Tensor]:
    """Windows of n samples, `hop` apart, up to the first one that reaches the end; that one may be shorter."""
    held = torch.zeros(0)
    for block in stream(source, sample_rate=rate, block_seconds=BLOCK_SECONDS):
        held = torch.cat([held, block])
        start = 0
        while start + n < len(held):
            yield held[start : start + n]
            start += hop
        held = held[start:]
    yield held
