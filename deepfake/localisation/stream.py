"""The scan of audio while it comes: evidence over time from a microphone, a socket or a pipe, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from deepfake.audio.live import Arrays, Live
from deepfake.audio.sound import Info
from deepfake.errors import InputError
from deepfake.localisation.scan import MOST_OVERLAP, Scan, scanner

if TYPE_CHECKING:
    from torch import Tensor

    from deepfake.detector import Detector

NAME = "the stream"


class Row(NamedTuple):
    """A window of a stream; of a detector that scores frames, a frame.

    Attributes:
        start: In seconds.
        end: In seconds.
        score: The detector's raw score, larger = more bona fide.
        spoof: Evidence for spoof in nats.
        p_fake: `Detector.p_fake` of the score.
        mean: Of all scores so far.
        verdict: On that mean, `bonafide` above the detector's threshold (of frames: its frame threshold), else `spoof`.
    """

    start: float
    end: float
    score: float
    spoof: float
    p_fake: float
    mean: float
    verdict: str


class Rows:
    """The rows of a scan that goes on.

    Args:
        threshold: Of the scores.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._total, self._n = 0.0, 0

    def of(self, found: Scan) -> list[Row]:
        """The rows of what was found since the last time."""
        rows = []
        columns = (found.starts, found.ends, found.scores, found.spoof, found.p_fake)
        for start, end, score, spoof, p_fake in zip(*(column.tolist() for column in columns), strict=True):
            self._total, self._n = self._total + score, self._n + 1
            mean = self._total / self._n
            verdict = "bonafide" if mean > self.threshold else "spoof"
            rows.append(Row(start, end, score, spoof, p_fake, mean, verdict))
        return rows


class Stream:
    """Scores audio while it comes: the rows are those of `deepfake.localisation.scan.scan` of the same audio as a file.

    However the blocks are cut, to the last bit where the scan takes one window a step and to 1e-6 where it takes more,
    in memory that does not grow with time. A row is there as soon as its window and one more sample have come (the last
    window may be another one), and what the resampler holds (0.04 s from 48 to 16 kHz), and one clip is computed. The
    first rows of several channels, or of floats, come after 5 s: as in a file, these show whether the channels cancel
    each other, and whether the floats hold integers. A frame comes once no later clip contains it.

    Args:
        detector: It is left in eval mode.
        sample_rate: Of the audio, in hertz; None for the detector's.
        hop: From one window to the next, in seconds; None for half a window.
        seconds: Length of a window; None for the detector's clip.

    Raises:
        InputError: An argument is out of range.

    Example:
        >>> from deepfake.detector import Detector
        >>> features = {"_target_": "deepfake.features.raw.Raw"}
        >>> model = {"_target_": "deepfake.models.rawnet2.RawNet2", "gru_units": 8, "dense_units": 8}
        >>> config = {"features": features, "model": model, "sample_rate": 16_000, "seconds": 0.5, "score": "log_odds"}
        >>> stream = Detector(config).stream(sample_rate=8_000, hop=0.25)
        >>> [(row.start, row.end) for row in stream.rows(np.zeros((5, 1600), dtype=np.int16))]
        [(0.0, 0.5), (0.25, 0.75), (0.5, 1.0)]
    """

    def __init__(
        self,
        detector: Detector,
        *,
        sample_rate: int | None = None,
        hop: float | None = None,
        seconds: float | None = None,
    ) -> None:
        overlap = overlap_of(detector, hop, seconds)
        self.detector, self.sample_rate = detector, sample_rate or detector.sample_rate
        self._scanner = scanner(detector, NAME, seconds=seconds, overlap=overlap, batch_size=1, keeps=False)
        self._arrays = Arrays(NAME)
        self._rows = Rows(detector.frame_threshold if detector.locates else detector.threshold)
        self._live: Live | None = None
        self._ended = False

    def take(self, block: np.ndarray | Tensor) -> list[Row]:
        """The rows that a block completes.

        Args:
            block: `[T]` or `[channels, T]`, float in [-1, 1] or signed integer; all blocks alike.

        Raises:
            InputError: The audio cannot be used (`deepfake.audio.load`), the block is not like the first one, a score
                is not finite, or the stream has ended.
        """
        self._check_open()
        frames = self._arrays.frames(block)
        if self._live is None:
            header = Info(None, self.sample_rate, frames.shape[1], "stream", str(np.asarray(block).dtype), None)
            self._live = Live(NAME, header, sample_rate=self.detector.sample_rate)
        self._scanner.take(torch.from_numpy(self._live.take(frames)))
        return self._rows.of(self._scanner.latest())

    def finish(self) -> list[Row]:
        """The rows that are left, after the last block; the last window ends with the audio, as that of a file.

        Raises:
            InputError: Nothing came, or nothing that can be used; or the stream has ended.
        """
        self._check_open()
        self._ended = True
        if self._live is None:
            raise InputError(f"{NAME}: no audio came; send at least 0.01 s")
        self._scanner.take(torch.from_numpy(self._live.finish()))
        return [*self._rows.of(self._scanner.latest()), *self._rows.of(self._scanner.rest())]

    def rows(self, blocks: Iterable[np.ndarray | Tensor]) -> Iterator[Row]:
        """The rows of all blocks, each when it is there; then of what is left.

        Raises:
            InputError: As `take` and `finish`.
        """
        for block in blocks:
            yield from self.take(block)
        yield from self.finish()

    def _check_open(self) -> None:
        if self._ended:
            raise InputError(f"{NAME} has ended; begin another one")


def overlap_of(detector: Detector, hop: float | None, seconds: float | None) -> float:
    """The share of a window that the next one overlaps, from the hop in seconds; None for half of it.

    Raises:
        InputError: The hop is out of range.
    """
    window = detector.seconds if seconds is None else seconds
    if hop is None or not window > 0:  # the window is refused by `scanner`
        return 0.5
    overlap = 1 - hop / window
    if not 0 <= overlap <= MOST_OVERLAP:
        least = (1 - MOST_OVERLAP) * window
        raise InputError(f"hop={hop}: {least:.3g} to {window:.6g} s, the length of a window, was expected")
    return overlap
