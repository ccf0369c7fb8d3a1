"""The results of a visitor: what was computed of a recording is not computed again while its settings stay.

Kept in the session by the hash of the file, the detector and the settings; a few, the latest.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st
from matplotlib.figure import Figure

from deepfake.app.detector import Loaded
from deepfake.app.recording import Recording
from deepfake.commands.explain import Settings
from deepfake.decoding.decoder import SPOOLED_BYTES
from deepfake.decoding.sandbox import NAME
from deepfake.errors import InputError
from deepfake.figures.html import saved
from deepfake.forensics import figures
from deepfake.forensics.assess import EVEN, Assessment
from deepfake.forensics.bundle import bundle
from deepfake.forensics.reading import Reading
from deepfake.forensics.report import Explanation
from deepfake.runs.folder import ExplanationFolder

Result = TypeVar("Result")
KEPT = 6


@dataclass(frozen=True)
class Evidence:
    """All that `explain.py` writes, in memory.

    Attributes:
        report: The content of `report.json`.
        pictures: PNG files by name.
        json: The `report.json` itself.
        pdf: The `report.pdf`.
        archive: The ZIP file without the recording.
    """

    report: dict[str, Any]
    pictures: dict[str, bytes]
    json: bytes
    pdf: bytes
    archive: bytes


def assessed(
    detector: Loaded, settings: Settings, given: Recording, *, progress: Callable[[float], object]
) -> Assessment:
    """The assessment of a recording.

    Args:
        detector: By which.
        settings: How; a live recording has the rule of live recordings.
        given: The recording.
        progress: Called with the seconds that were scored so far.

    Raises:
        InputError: The recording cannot be used, or is too long.
    """

    def make() -> Assessment:
        with decoded(detector, given) as recording, detector.turn:
            return detector.explainer.under(settings).assess(recording, progress=progress)

    try:
        found = _kept(("assessment", *_key(detector, settings, given)), make)
    except InputError as error:
        raise InputError(str(error).replace(NAME, given.name)) from error
    return replace(found, name=given.name)


@contextmanager
def decoded(detector: Loaded, given: Recording) -> Iterator[Reading]:
    """A recording, decoded in a process of its own as the API does it: a file of a stranger can harm that one alone.

    Raises:
        InputError: It cannot be used, or is too long.
    """
    with tempfile.TemporaryFile() as file, tempfile.SpooledTemporaryFile(SPOOLED_BYTES) as samples:
        file.write(given.data)
        yield detector.decoder.read(file, samples)


def explained(
    detector: Loaded,
    settings: Settings,
    given: Recording,
    found: Assessment,
    *,
    stage: Callable[[str], object],
) -> Evidence:
    """The evidence on an assessed recording.

    Args:
        detector: By which.
        settings: As it was assessed.
        given: The recording.
        found: Its assessment.
        stage: Called with the name of each part before it is made.

    Raises:
        InputError: It cannot be explained.
    """
    explainer = detector.explainer.under(settings)

    def yielding(name: str) -> None:
        detector.turn.release()  # between two methods another visitor's verdict may come first
        try:
            stage(name)
        finally:
            detector.turn.acquire()

    def explain() -> Explanation:
        with detector.turn:
            return explainer.explanation(found, stage=yielding)

    def write() -> Evidence:
        explanation = _kept(("explanation", *_key(detector, settings, given)), explain)
        stage("report and figures")
        with tempfile.TemporaryDirectory(prefix="deepfake-") as private:  # mode 0700
            folder = ExplanationFolder(Path(private) / "recording")
            report = explainer.write_evidence(found, explanation, folder)
            pictures = {file.stem: file.read_bytes() for file in (folder.path / "viz").glob("*.png")}
            pictures["marked"] = saved(_marked(found, explanation), "png")
            archive = bundle(folder.path).read_bytes()
            return Evidence(report, pictures, folder.report.read_bytes(), folder.pdf.read_bytes(), archive)

    return _kept(("evidence", given.name, settings.prior, *_key(detector, settings, given)), write)


def archive_with_audio(given: Recording, archive: bytes) -> bytes:
    """The ZIP file with the recording in it."""
    with tempfile.TemporaryDirectory(prefix="deepfake-") as private:
        folder, audio = Path(private) / "recording", Path(private) / "audio"
        audio.write_bytes(given.data)
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:  # our own
            packed.extractall(folder)
        return bundle(folder, include_audio=True, audio=audio).read_bytes()


def _marked(found: Assessment, explanation: Explanation) -> Figure:
    """The spectrogram of the explained clip, with its regions framed."""
    clip, start = explanation.clip, found.clip_start
    spans = [(region.start_s + start, region.end_s + start) for region in explanation.regions]
    return figures.spectrogram(clip.levels(), clip.hz, clip.seconds + start, regions=spans)


def _key(detector: Loaded, settings: Settings, given: Recording) -> tuple[Hashable, ...]:
    """What an assessment depends on: not the prior."""
    threshold = detector.explainer.detector.threshold
    return given.sha256, detector.sha256, threshold, str(detector.run), replace(settings, prior=EVEN)


def _kept(key: tuple[Hashable, ...], make: Callable[[], Result]) -> Result:
    """The result of this key: that of the session, or a new one, for which the oldest of its kind goes."""
    kept: dict[tuple[Hashable, ...], Any] = st.session_state.setdefault("results", {})
    if key not in kept:
        value = make()
        kind = [other for other in kept if other[0] == key[0]]
        for other in kind[: len(kind) - KEPT + 1]:
            del kept[other]
        kept[key] = value
    return kept[key]
