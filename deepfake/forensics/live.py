"""The assessment of audio that comes: what is found so far, window by window, and at its end that of the whole."""

from __future__ import annotations

import math

import numpy as np
import torch

from deepfake.audio.live import Live
from deepfake.audio.sound import Info
from deepfake.detector import Detector, Windows
from deepfake.forensics.assess import WHOLE, Assessment, Pass, measured_seconds
from deepfake.forensics.quality import Quality
from deepfake.localisation.scan import Trend
from deepfake.localisation.stream import Row, Rows, overlap_of


class LiveAssessment:
    """Assesses audio while it comes; the assessment at its end is that of the same audio as a file.

    The rows are of windows as long as the detector's clip, also of a detector that scores frames. What is kept of the
    audio is one window; the scores of all windows are kept, since cautions depend on them.

    Args:
        detector: It is left in eval mode.
        name: Of the source, for errors.
        header: What is known of it.
        hop: From one row to the next, in seconds; None for half a clip, where the rows take no work of their own.
        clips: As in `deepfake.forensics.assess.assess`.
        score_range: Likewise.
        judge_outside: Likewise.
        max_seconds: Longer audio is refused.
        at_least: Frames that the header promises.

    Raises:
        InputError: An argument is out of range, or the rate or the channels are not accepted.
    """

    def __init__(
        self,
        detector: Detector,
        name: str,
        header: Info,
        *,
        hop: float | None = None,
        clips: str = WHOLE,
        score_range: tuple[float, float] | None = None,
        judge_outside: bool = False,
        max_seconds: float = math.inf,
        at_least: int = 0,
    ) -> None:
        limits = {"max_seconds": max_seconds, "at_least": at_least}
        self.live = Live(name, header, sample_rate=detector.sample_rate, **limits)
        self._quality = Quality(header.sample_rate, measured_seconds(detector, clips))
        self.live.taps.append(self._quality.take)
        self._judging = {"score_range": score_range, "judge_outside": judge_outside}
        self._pass, self._rows = Pass(detector, name, clips=clips, batch_size=1), Rows(detector.threshold)
        own = Windows(detector, name, overlap=overlap_of(detector, hop, None), batch_size=1)
        shared = clips == WHOLE and own.cutter.hop == self._pass.windows.cutter.hop
        self._trend = Trend(self._pass.windows, shared=True) if shared else Trend(own, keeps=False)

    def take(self, frames: np.ndarray) -> list[Row]:
        """The rows that frames complete, float32 `[N, C]`.

        Raises:
            InputError: The audio cannot be used, or a score is not finite.
        """
        return self._rows_of(self.live.take(frames))

    def finish(self, *, interrupted: bool = False) -> tuple[list[Row], Assessment]:
        """The rows that are left, after the last frames, and the assessment.

        Args:
            interrupted: Whether it was stopped before the end that its header promises.

        Raises:
            InputError: As for `take`, or nothing came, or too little.
        """
        rows = self._rows_of(self.live.finish(interrupted=interrupted))
        self._pass.finish()
        rows += [*self._rows.of(self._trend.latest()), *self._rows.of(self._trend.rest())]
        found = {"header": self.live.header, "notes": self.live.notes, "quality": self._quality.found()}
        return rows, self._pass.assessment(**found, **self._judging)

    def _rows_of(self, samples: np.ndarray) -> list[Row]:
        block = torch.from_numpy(samples)
        self._pass.take(block)
        self._trend.take(block)
        return self._rows.of(self._trend.latest())
