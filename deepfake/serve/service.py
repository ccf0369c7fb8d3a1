"""The detector at work: from an upload to what is answered."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import tempfile
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import torch

from deepfake.audio.mono import BeyondLimits
from deepfake.audio.sound import Info
from deepfake.commandline import detector_file
from deepfake.commands.predict import device_for, loaded, row
from deepfake.commands.speakers import comparison
from deepfake.decoding.decoder import SPOOLED_BYTES, Decoder, Undecodable
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.forensics.assess import Assessment, Scanning, assess
from deepfake.forensics.live import LiveAssessment
from deepfake.forensics.reading import Reading
from deepfake.localisation.segments import RULES, Timeline, share_of
from deepfake.localisation.stream import Row
from deepfake.runs import provenance
from deepfake.serve.metrics import Metrics
from deepfake.serve.problems import Problem
from deepfake.speakers.check import check
from deepfake.speakers.embedding import LONGEST_SECONDS, installed
from deepfake.speakers.profiles import Profile, Profiles

log = logging.getLogger(__name__)

Result = TypeVar("Result")
MOST_MINUTES = 120.0
AT_ONCE = min(4, os.cpu_count() or 1) + 1  # recordings that are decoded, or decoded and waiting for the network


@dataclass(frozen=True)
class Settings:
    """What is served, and to whom.

    Args:
        run: Run folder or detector file.
        device: `cpu`, `cuda` ...; `auto` for the GPU where there is one.
        max_minutes: Longest recording that is accepted.
        key_file: As `deepfake.serve.keys.Keys.read` takes it; None for no check.
        allow_origins: Origins whose pages may ask (CORS).
        backend: `torch` or `onnx`, as in `deepfake.commands.predict.predict`; maps are always computed by torch.
        judge_outside: Whether recordings outside the detector's domain have a verdict too.
    """

    run: Path
    device: str = "auto"
    max_minutes: float = MOST_MINUTES
    key_file: Path | None = None
    allow_origins: tuple[str, ...] = ()
    backend: str = "torch"
    judge_outside: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.max_minutes <= MOST_MINUTES:
            raise InputError(f"max_minutes={self.max_minutes}: more than 0 and at most {MOST_MINUTES:g} was expected")

    def detector(self) -> Detector:
        """The detector that is served.

        Raises:
            InputError: The run cannot be loaded, or it cannot be computed so.
        """
        return loaded(self.run, device_for(self.backend, self.device), self.backend)


class Service:
    """The detector of a run, with which one recording at a time is computed.

    A recording has the network to itself: a batch holds windows of one recording, so that a score does not depend on
    who else asks, and is that of `deepfake predict`.

    Args:
        settings: What is served.
        metrics: Of this process.

    Raises:
        InputError: The run cannot be loaded.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings, self.metrics = settings, metrics
        self.detector = settings.detector()
        self.score_range = provenance.score_range(settings.run, self.detector)
        self.sha256 = provenance.hash_of_file(detector_file(settings.run))
        self._evidence: Any = None
        self._decoder = Decoder(sample_rate=self.detector.sample_rate, max_seconds=60 * settings.max_minutes)
        self._inference = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._places = asyncio.Semaphore(AT_ONCE)
        self._n_inside = 0
        with torch.inference_mode():  # the first forward pass is slow, and shows whether there can be others
            self.detector(torch.zeros(1, self.detector.n_samples, device=self.detector.device))

    def prepare(self) -> None:
        """What the first request would wait for."""
        self._decoder.prepare()

    def close(self) -> None:
        self._inference.shutdown()
        self._decoder.close()

    async def predict(self, file: IO[bytes], *, timeline: bool = False) -> dict[str, Any]:
        """Assess an upload; see `deepfake.serve.schemas.Prediction`.

        Args:
            file: The upload.
            timeline: Whether to add p_fake over time, which takes one more window of a recording.

        Raises:
            Problem: The recording cannot be used.
        """
        async with self._decoded(file) as recording:
            found = await self._computed(lambda: self._assess(recording, Scanning() if timeline else None))
        return self._prediction(found)

    async def _computed(self, work: Callable[[], Result]) -> Result:
        """The result of some work with the network, when it is its turn."""
        asked = time.perf_counter()

        def work_now() -> Result:
            self.metrics.seconds.labels("waiting").observe(time.perf_counter() - asked)
            with self.metrics.seconds.labels("inference").time():
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._inference, work_now)

    async def explain(self, file: IO[bytes], media_type: str) -> bytes:
        """The evidence on an upload, as a ZIP file, PDF or JSON.

        Raises:
            Problem: The recording cannot be used.
        """
        async with self._decoded(file) as recording:
            return await self._computed(lambda: self._explained(recording, media_type))

    async def identify(self, file: IO[bytes], speaker: str | None) -> dict[str, Any]:
        """Compare an upload with the enrolled speakers, or with one of them; see `deepfake.serve.schemas.Comparison`.

        Raises:
            Problem: The recording cannot be used, nobody is enrolled, or speakers cannot be compared here.
        """
        known = await asyncio.to_thread(_enrolled, speaker)
        async with self._decoded(file) as recording:
            return await self._computed(lambda: self._compared(recording, known))

    def live(self, name: str, header: Info, hop: float | None) -> LiveAssessment:
        """The assessment of a stream, with `hop` seconds from row to row.

        Raises:
            Problem: A setting cannot be used.
        """
        judging = {"score_range": self.score_range, "judge_outside": self.settings.judge_outside}
        try:
            return LiveAssessment(
                self.detector, name, header, hop=hop, **judging, max_seconds=60 * self.settings.max_minutes
            )
        except BeyondLimits:
            raise
        except InputError as error:
            raise Problem("invalid-request", str(error)) from error

    async def heard(self, live: LiveAssessment, frames: np.ndarray) -> list[Row]:
        """The rows that frames of a stream complete.

        Raises:
            InputError: The audio cannot be used.
        """
        return await self._computed(lambda: live.take(frames))

    async def ended(self, live: LiveAssessment) -> tuple[list[Row], dict[str, Any]]:
        """The rows that are left of a stream, and what `predict` answers.

        Raises:
            InputError: The audio cannot be used.
        """
        rows, found = await self._computed(live.finish)
        return rows, self._prediction(found)

    @asynccontextmanager
    async def _decoded(self, file: IO[bytes]) -> AsyncIterator[Reading]:
        """An upload, decoded in a process of its own; only so many are at once, so that their samples find room."""
        self._n_inside += 1
        try:
            async with self._places:
                with tempfile.SpooledTemporaryFile(SPOOLED_BYTES) as samples:
                    with self.metrics.seconds.labels("decoding").time():
                        alone = self._n_inside == 1
                        recording = await asyncio.to_thread(self._read, file, samples, alone)
                    yield recording
        finally:
            self._n_inside -= 1

    def _read(self, file: IO[bytes], samples: IO[bytes], alone: bool) -> Reading:
        try:
            return self._decoder.read(file, samples, alone=alone)
        except Undecodable as error:
            raise Problem(error.kind, str(error)) from error

    def _explained(self, recording: Reading, media_type: str) -> bytes:
        from deepfake.serve.evidence import Evidence  # matplotlib and captum, for the first who asks

        if self._evidence is None:
            self._evidence = Evidence(self.settings.run, self.detector.device, self.settings.judge_outside)
        try:
            return self._evidence.on(recording, media_type)
        except InputError as error:
            raise Problem("unusable-audio", str(error)) from error

    def _assess(self, recording: Reading, scanning: Scanning | None) -> Assessment:
        try:
            how = {"score_range": self.score_range, "judge_outside": self.settings.judge_outside}
            return assess(self.detector, recording, scanning=scanning, **how)
        except InputError as error:
            raise Problem("unusable-audio", str(error)) from error

    def _compared(self, recording: Reading, known: list[Profile]) -> dict[str, Any]:
        rate, beginning = self.detector.sample_rate, []
        blocks = _noted(recording.blocks, beginning, round(LONGEST_SECONDS * rate))
        assessment = self._assess(replace(recording, blocks=blocks), None)
        try:
            found = check((np.concatenate(beginning), rate), known)
        except InputError as error:
            raise Problem("unusable-audio", str(error)) from error
        return comparison(found, assessment)

    def _prediction(self, found: Assessment) -> dict[str, Any]:
        self.metrics.verdicts.labels(found.verdict).inc()
        for reason in found.reasons:
            self.metrics.cautions.labels(reason.name).inc()
        numbers, is_fake = row(found), found.detector.verdict(found.score) == "spoof"
        return {
            "is_fake": is_fake,
            "confidence": max(numbers["p_fake"], 1 - numbers["p_fake"]),
            "prediction": "FAKE" if is_fake else "REAL",
            **numbers,
            "state": found.state,
            "reasons": [{k: _plain(v) for k, v in reason._asdict().items()} for reason in found.reasons],
            "threshold": self.detector.config["threshold"],
            **({"timeline": _timeline(found.timeline)} if found.timeline else {}),
            "file_sha256": found.file_sha256,
            "samples_sha256": found.samples_sha256,
            "detector_sha256": self.sha256,
        }


def _enrolled(speaker: str | None) -> list[Profile]:
    """The profiles to compare with.

    Raises:
        Problem: There are none, they cannot be read, or Resemblyzer is not installed.
    """
    if not installed():
        raise Problem("no-speaker-check", "The server was installed without the extra speaker.")
    try:
        known = list(Profiles())
    except InputError as error:
        log.error("profiles of speakers: %s", error)
        raise Problem("no-speaker-check", "The profiles of the speakers cannot be read; the log says why.") from error
    if speaker is not None:
        known = [profile for profile in known if profile.name == unicodedata.normalize("NFC", speaker).strip()]
    if not known:
        raise Problem("not-enrolled", "Enrol a speaker first: `deepfake enroll --speaker NAME FILES...`.")
    return known


def _noted(blocks: Iterator[np.ndarray], beginning: list[np.ndarray], n_samples: int) -> Iterator[np.ndarray]:
    """The same blocks, of which the first samples are put aside."""
    for block in blocks:
        if n_samples > 0:
            beginning.append(block[:n_samples])
            n_samples -= len(block)
        yield block


def _timeline(timeline: Timeline) -> dict[str, Any]:
    scan = timeline.scan
    return {
        "kind": scan.kind,
        "window": scan.window,
        "threshold": timeline.threshold._asdict(),
        "verdict": RULES[timeline.rule](share_of(timeline.segments, scan.duration)),
        "segments": [segment._asdict() for segment in timeline.segments],
    }


def _plain(value: Any) -> Any:
    """As JSON has it: null where a number is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
