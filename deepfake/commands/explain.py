"""From a run and audio files to folders of evidence: what `explain.py` does."""

from __future__ import annotations

import copy
import io
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from deepfake.atomic import write_atomically, write_csv
from deepfake.audio.sound import Source
from deepfake.commands.faithfulness import warnings_of
from deepfake.commands.localise import threshold_of
from deepfake.commands.outcome import Outcome
from deepfake.commands.predict import audio_files
from deepfake.commands.speakers import comparison
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.explain.clip import Clip
from deepfake.explain.method import Method, strongest, supported
from deepfake.explain.regions import regions
from deepfake.explain.saliency import waveform_saliency
from deepfake.figures.html import saved
from deepfake.forensics import figures
from deepfake.forensics import report as evidence
from deepfake.forensics.assess import Assessment, Scanning, assess
from deepfake.forensics.pdf import write_pdf
from deepfake.forensics.radar import cues_of
from deepfake.forensics.reading import Reading
from deepfake.forensics.report import Explanation
from deepfake.localisation.figure import timeline_figure
from deepfake.localisation.segments import THRESHOLD, Threshold, write_segments
from deepfake.runs import provenance
from deepfake.runs.environment import environment
from deepfake.runs.folder import ExplanationFolder, ReportFolder, RunFolder
from deepfake.speakers.check import check
from deepfake.speakers.profiles import Profile, Profiles
from deepfake.terminal import progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How files are explained.

    Args:
        window_seconds: Window of the scan; None for the length of the detector's clips.
        overlap: Share of a window that the next one overlaps.
        threshold: On p_fake: times above are flagged; `dev` for the one that `deepfake.commands.localise` fixed.
        recording: A live recording, which is not edited: the verdict is `REAL` or `FAKE`.
        region_threshold: On the map: share of the strongest evidence from which on a time is suspicious.
        shortest_seconds: Shorter regions are dropped.
        gap_seconds: Shorter gaps between regions are closed.
        prior: Probability of spoof before the evidence, for the stated probability.
        branch: Branch of a network whose evidence the maps show; None for all.
        speaker: Name of an enrolled speaker, or `any` of them, whose voice it may be; None to ask for nobody's.
        batch_size: Windows per step of the scan.
        judge_outside: Whether a recording outside the detector's domain has a verdict too.
    """

    window_seconds: float | None = None
    overlap: float = 0.5
    threshold: float | str = THRESHOLD
    recording: bool = False
    region_threshold: float = 0.6
    shortest_seconds: float = 0.05
    gap_seconds: float = 0.05
    prior: float = 0.5
    branch: str | None = None
    speaker: str | None = None
    batch_size: int = 1
    judge_outside: bool = False


def explain(
    run: str,
    given: str | None,
    methods: Mapping[str, Method],
    settings: Settings,
    *,
    output: str | None,
    device: torch.device,
) -> Outcome:
    """Explain one file, or each of a folder.

    Args:
        run: Run folder or detector file.
        given: Audio file, or folder of them.
        methods: By name.
        settings: How files are explained.
        output: Folder to write; None for `explanations` in the run's.
        device: Where to compute.

    Returns:
        Each `report.json`, by file, in the folder of the one file or in that of all.

    Raises:
        InputError: The one file, or every file of the folder, cannot be explained.
    """
    if not given:
        raise InputError("input is needed and was not given: an audio file, or a folder of them")
    explainer = Explainer(run, methods, settings, device)
    base = Path(output or RunFolder.of(run).explanations)
    files = [Path(file) for file in audio_files([Path(given)])]
    folders = _folders(base, files)
    reports, skipped = {}, {}
    for file in progress(files, "explaining"):
        try:
            reports[str(file)] = explainer.write(file, folders[file])
        except InputError as error:
            if len(files) == 1:
                raise
            log.warning("skipped: %s", error)
            skipped[str(file)] = str(error)
    if not reports:
        raise InputError(f"none of the {len(files)} files can be explained; the first: {next(iter(skipped.values()))}")
    if skipped:
        write_csv(ReportFolder(base).skipped, [("file", "error"), *skipped.items()])
    folder = folders[files[0]].path if len(files) == 1 else base
    return Outcome(reports, folder, skipped=bool(skipped))


class Explainer:
    """Explains files with the detector of a run.

    Args:
        run: Run folder or detector file.
        methods: By name.
        settings: How files are explained.
        device: Where to compute.

    Raises:
        InputError: The run cannot be loaded, the threshold is not a share or was not measured, or no such speaker is
            enrolled.
    """

    def __init__(self, run: str, methods: Mapping[str, Method], settings: Settings, device: torch.device) -> None:
        self.run, self.settings = run, settings
        self.detector = Detector.load(run).to(device)
        self.methods = supported(methods, self.detector)
        self.warnings = warnings_of(run)
        self.threshold = self._threshold()
        self.score_range = provenance.score_range(run, self.detector)
        self.environment = environment(sys.argv, device, None)
        self.names_paths = True
        self.speakers = _enrolled(settings.speaker)

    def answer_others(self, command: list[str]) -> None:
        """Name no path of this machine in reports, but the file of the detector and this command."""
        self.environment["command"], self.names_paths = command, False

    def under(self, settings: Settings) -> Explainer:
        """The same with other settings; the detector is not loaded again.

        Raises:
            InputError: The threshold is not a share or was not measured, or no such speaker is enrolled.
        """
        other = copy.copy(self)
        other.settings = settings
        other.threshold = other._threshold()
        other.speakers = _enrolled(settings.speaker)
        return other

    def judging_at(self, threshold: float, source: str) -> Explainer:
        """The same with another threshold of the score, which comes from that source; no weights are copied."""
        other = copy.copy(self)
        other.detector = copy.copy(self.detector)  # which shares its networks
        other.detector.config = {**self.detector.config}
        other.detector.set_threshold(threshold, source)
        return other

    def write(self, source: Source | Reading, folder: ExplanationFolder) -> dict[str, Any]:
        """Write all evidence on one recording into a folder, and return the content of its `report.json`.

        Raises:
            InputError: The file cannot be used, or a method cannot explain the detector.
        """
        assessment = self.assess(source)
        speaker = None if isinstance(source, Reading) else self._speaker(source, assessment)
        return self.write_evidence(assessment, self.explanation(assessment), folder, speaker=speaker)

    def assess(self, source: Source | Reading, *, progress: Callable[[float], object] | None = None) -> Assessment:
        """Assess a recording: the first part of `write`, which decodes it.

        Args:
            source: The recording, as for `deepfake.audio.load`.
            progress: As in `deepfake.forensics.assess.assess`.

        Raises:
            InputError: The file cannot be used.
        """
        settings = self.settings
        rule = "recording" if settings.recording else "file"
        window = (settings.window_seconds, settings.overlap, settings.batch_size)
        scanning = Scanning(*window, self.threshold, rule)
        how = {"score_range": self.score_range, "judge_outside": settings.judge_outside}
        return assess(self.detector, source, scanning=scanning, progress=progress, **how)

    def write_evidence(
        self,
        assessment: Assessment,
        explanation: Explanation,
        folder: ExplanationFolder,
        *,
        speaker: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Write all evidence on an assessed recording: the last part of `write`."""
        report = evidence.report(
            assessment,
            explanation,
            run=self.run,
            environment=self.environment,
            parameters=vars(self.settings),
            prior=self.settings.prior,
            speaker=speaker,
        )
        if not self.names_paths:
            report["detector"]["path"] = Path(report["detector"]["path"]).name
        _write_arrays(folder, explanation, self.methods)
        pictures = {}
        for name, figure in _figures(assessment, explanation).items():
            pictures[name] = folder.picture(name)
            write_atomically(pictures[name], saved(figure, "png"))
        if assessment.timeline is not None:
            write_segments(folder.path, assessment.timeline)
        write_pdf(folder.pdf, report, pictures, title=Path(assessment.name).name)
        text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(folder.report, text + "\n")
        return report

    def explanation(self, assessment: Assessment, *, stage: Callable[[str], object] = lambda _: None) -> Explanation:
        """The maps of all methods on the clip of an assessment, and the regions of the strongest.

        Args:
            assessment: What `assess` found.
            stage: Called with the name of each method before it is computed.

        Raises:
            InputError: A method cannot explain the detector, or the recording is too short to be explained.
        """
        settings, maps = self.settings, {}
        clip = Clip(assessment.detector, assessment.clip.clip, branch=settings.branch)
        for name, method in self.methods.items():
            log.info("%s: %s", Path(assessment.name).name, name.replace("_", " "))
            stage(name)
            maps[name] = method.attribute(clip)
            if words := self.warnings.get(name):
                maps[name].facts["warning"] = " ".join(words)
        if (by := strongest(self.methods)) is None:
            return Explanation(clip, maps, [], None)
        limits = {"shortest_seconds": settings.shortest_seconds, "gap_seconds": settings.gap_seconds}
        return Explanation(clip, maps, regions(maps[by], threshold=settings.region_threshold, **limits), by)

    def _speaker(self, source: Source, assessment: Assessment) -> dict[str, Any] | None:
        """The voice against the speakers that were asked for; why not, where it cannot be compared."""
        if not self.speakers:
            return None
        try:
            return comparison(check(source, self.speakers), assessment)
        except InputError as error:
            log.warning("the speaker is not compared: %s", error)
            return {"words": f"not compared: {error}"}

    def _threshold(self) -> Threshold:
        """The threshold on p_fake of the settings, and where it comes from."""
        settings, threshold = self.settings, self.settings.threshold
        if threshold == "dev":
            scan = {"window_seconds": settings.window_seconds, "overlap": settings.overlap}
            return threshold_of(self.run, self.detector, **scan)
        if isinstance(threshold, str) or not 0 <= threshold <= 1:
            raise InputError(f"window.threshold={threshold}: a number from 0 to 1, or dev, was expected")
        return Threshold(threshold, "window.threshold, a share of p_fake")


def _enrolled(speaker: str | None) -> list[Profile]:
    if speaker is None:
        return []
    if not (known := list(Profiles()) if speaker == "any" else [Profiles().get(speaker)]):
        raise InputError(f"speaker={speaker}: nobody is enrolled; `deepfake enroll` comes first")
    return known


def _write_arrays(folder: ExplanationFolder, explanation: Explanation, methods: Mapping[str, Method]) -> None:
    """The maps on the cells of the clip, as `.npy` without pickles."""
    clip, maps, by = explanation.clip, explanation.maps, explanation.regions_by
    arrays = {f"mel_{name}": maps[name].on(clip.hz, clip.seconds) for name in maps if methods[name].saves_array}
    arrays["seq_saliency"] = waveform_saliency(clip)
    if by is not None:
        arrays["time_importance"] = maps[by].on(clip.hz, clip.seconds).sum(axis=0)
    for name, values in arrays.items():
        file = io.BytesIO()
        np.save(file, values, allow_pickle=False)
        write_atomically(folder.array(name), file.getvalue())


def _figures(assessment: Assessment, explanation: Explanation) -> dict[str, Figure]:
    """All figures of a file, in its own time."""
    clip, start, by = explanation.clip, assessment.clip_start, explanation.regions_by
    levels, hz, seconds = clip.levels(), clip.hz, clip.seconds + start
    maps = {name: map._replace(seconds=map.seconds + start) for name, map in explanation.maps.items()}
    spans = [(region.start_s + start, region.end_s + start) for region in explanation.regions]
    found = {"mel": figures.spectrogram(levels, hz, seconds)}
    for name, map in maps.items():
        found[f"mel_{name}_overlay"] = figures.overlay(levels, hz, seconds, map)
    found["time_importance"] = figures.time_importance(list(maps.values()), regions=spans)
    samples = clip.source.cpu().numpy()
    found["waveform_highlight"] = figures.waveform_highlight(samples, clip.detector.sample_rate, spans, start=start)
    if by is not None:
        ones = maps[by]._replace(values=np.ones_like(maps[by].values))
        even = {key: value for key, value in cues_of(ones, levels, hz, seconds).items() if value is not None}
        found["radar"] = figures.radar(cues_of(maps[by], levels, hz, seconds), even)
    if assessment.timeline is not None:
        found["timeline"] = timeline_figure(assessment.timeline)
    return found


def _folders(base: Path, files: Sequence[Path]) -> dict[Path, ExplanationFolder]:
    """A folder for each file, by its stem; with its suffix and number where another file has the same."""
    stems = Counter(file.stem for file in files)
    names: dict[Path, str] = {}
    for file in files:
        name = file.stem if stems[file.stem] == 1 else file.name.replace(".", "_")
        taken, numbered = {*names.values()}, (f"{name}_{i}" for i in count(2))
        names[file] = next(n for n in chain([name], numbered) if n not in taken)
    return {file: ExplanationFolder(base / name) for file, name in names.items()}
