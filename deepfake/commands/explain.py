"""From a run and audio files to folders of evidence: what `explain.py` does."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from deepfake.atomic import write_atomically
from deepfake.commands.faithfulness import warnings_of
from deepfake.commands.localise import threshold_of
from deepfake.datasets.folder import audio_below
from deepfake.detector import Detector, detector_file
from deepfake.errors import InputError
from deepfake.explain.clip import Clip
from deepfake.explain.method import Method, strongest, supported
from deepfake.explain.regions import Region, regions
from deepfake.explain.saliency import waveform_saliency
from deepfake.figures.html import saved
from deepfake.forensics import figures
from deepfake.forensics import report as evidence
from deepfake.forensics.assess import Assessment, Scanning, assess
from deepfake.forensics.cautions import INCONCLUSIVE
from deepfake.forensics.pdf import write_pdf
from deepfake.forensics.radar import cues_of
from deepfake.forensics.report import Explanation
from deepfake.localisation.figure import timeline as timeline_figure
from deepfake.localisation.segments import THRESHOLD, Threshold, write_segments
from deepfake.runs import provenance
from deepfake.runs.environment import environment
from deepfake.terminal import progress

log = logging.getLogger(__name__)
logging.getLogger("fontTools").setLevel(logging.WARNING)  # tells at length which glyphs it embeds


@dataclass(frozen=True)
class Settings:
    """How files are explained.

    Args:
        window_seconds: Of the scan; None for the length that the detector takes.
        overlap: Of its windows, a share.
        threshold: Of p_fake, above which a time is flagged; `dev` for the one that `deepfake.commands.localise` fixed.
        recording: Live, so that nobody has cut it: the verdict of the whole is two-way.
        region_threshold: Share of the strongest evidence from which on a time is suspicious.
        shortest_seconds: Shorter regions are dropped.
        gap_seconds: Shorter gaps between regions are closed.
        prior: Probability of spoof before the evidence, for the stated probability.
        branch: Of a network of branches, the one whose evidence the maps show; None for all.
        batch_size: Windows per step of the scan.
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
    batch_size: int = 1


class Background(NamedTuple):
    """What is the same for every file of one command, so that it is looked up once.

    Attributes:
        run: Run folder or detector file.
        detector: Its detector.
        methods: By name.
        warnings: What speaks against each method for this run, as far as it was measured.
        threshold: Of p_fake, and where it comes from.
        score_range: Least and greatest score that the detector was calibrated on; None if unknown.
        environment: Versions, command, device.
    """

    run: str
    detector: Detector
    methods: Mapping[str, Method]
    warnings: Mapping[str, Sequence[str]]
    threshold: Threshold
    score_range: tuple[float, float] | None
    environment: Mapping[str, Any]


class Explained(NamedTuple):
    """What was written.

    Attributes:
        folder: For one file its own, else that which holds one for each.
        reports: What stands in each `report.json`, by file.
        passed_over: Files that could not be explained, and why.
    """

    folder: Path
    reports: dict[str, dict[str, Any]]
    passed_over: dict[str, str]


def explain(
    run: str,
    given: str | None,
    methods: Mapping[str, Method],
    settings: Settings,
    *,
    output: str | None,
    device: torch.device,
) -> Explained:
    """Explain one file, or each of a folder.

    Args:
        run: Run folder or detector file.
        given: Audio file, or folder of them.
        methods: By name.
        settings: How.
        output: Folder; None for `explanations` in the run's.
        device: Where to compute.

    Raises:
        InputError: The one file, or every file of the folder, cannot be explained.
    """
    if not given:
        raise InputError("input is needed and was not given: an audio file, or a folder of them")
    detector = Detector.load(run).to(device)
    methods = supported(methods, detector)
    facts = environment(sys.argv, device, None)
    threshold = _threshold(run, detector, settings)
    score_range = provenance.score_range(run, detector)
    background = Background(run, detector, methods, warnings_of(run), threshold, score_range, facts)
    base = Path(output) if output else detector_file(run).parent / "explanations"
    files = _files(Path(given))
    folders = _folders(base, files)
    reports, passed_over = {}, {}
    for file in progress(files, "explaining"):
        try:
            reports[str(file)] = explain_file(file, background, settings, folders[file])
        except InputError as error:
            if len(files) == 1:
                raise
            log.warning("passed over: %s", error)
            passed_over[str(file)] = str(error)
    if not reports:
        raise InputError(
            f"none of the {len(files)} files can be explained; the first: {next(iter(passed_over.values()))}"
        )
    if passed_over:
        text = io.StringIO()
        csv.writer(text).writerows([("file", "error"), *passed_over.items()])
        write_atomically(base / "skipped.csv", text.getvalue())
    return Explained(folders[files[0]] if len(files) == 1 else base, reports, passed_over)


def explain_file(path: Path, background: Background, settings: Settings, folder: Path) -> dict[str, Any]:
    """Write all evidence on one file into a folder, and return what stands in its `report.json`.

    Raises:
        InputError: The file cannot be used, or a method cannot explain the detector.
    """
    assessment = assess(
        background.detector,
        path,
        scanning=Scanning(
            settings.window_seconds,
            settings.overlap,
            settings.batch_size,
            background.threshold,
            "recording" if settings.recording else "file",
        ),
        score_range=background.score_range,
    )
    explanation = _explanation(assessment, background, settings)
    report = evidence.report(
        assessment,
        explanation,
        run=background.run,
        environment=background.environment,
        parameters=vars(settings),
        prior=settings.prior,
    )
    _write_arrays(folder, explanation, background.methods)
    files = {}
    for name, figure in _drawn(assessment, explanation).items():
        files[name] = folder / "viz" / f"{name}.png"
        write_atomically(files[name], saved(figure, "png"))
    if assessment.timeline is not None:
        write_segments(folder, assessment.timeline)
    hidden = report["state"] == INCONCLUSIVE  # a map without a verdict is read as one
    shown = {name: file for name, file in files.items() if not (hidden and name.endswith("_overlay"))}
    write_pdf(folder / "report.pdf", report, shown, title=path.name)
    write_atomically(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return report


def _explanation(assessment: Assessment, background: Background, settings: Settings) -> Explanation:
    """What all methods say of the clip of an assessment."""
    clip = Clip(assessment.detector, assessment.clip.clip, branch=settings.branch)
    maps = {}
    for name, method in background.methods.items():
        log.info("%s: %s", Path(assessment.name).name, name.replace("_", " "))
        maps[name] = method.attribute(clip)
        if words := background.warnings.get(name):
            maps[name].facts["warning"] = " ".join(words)
    by = strongest(background.methods)
    found: list[Region] = []
    if by is not None:
        limits = {"shortest_seconds": settings.shortest_seconds, "gap_seconds": settings.gap_seconds}
        found = regions(maps[by], threshold=settings.region_threshold, **limits)
    return Explanation(clip, maps, found, by)


def _threshold(run: str, detector: Detector, settings: Settings) -> Threshold:
    """The threshold of p_fake that was asked for, and where it comes from."""
    if settings.threshold == "dev":
        return threshold_of(run, detector, window_seconds=settings.window_seconds, overlap=settings.overlap)
    if isinstance(settings.threshold, str) or not 0 <= settings.threshold <= 1:
        raise InputError(f"window.threshold={settings.threshold}: a number from 0 to 1, or dev, was expected")
    return Threshold(settings.threshold, "window.threshold, a share of p_fake")


def _write_arrays(folder: Path, explanation: Explanation, methods: Mapping[str, Method]) -> None:
    """The maps on the cells of the clip, as `.npy` without pickles."""
    clip, maps, by = explanation.clip, explanation.maps, explanation.regions_by
    arrays = {f"mel_{name}": maps[name].on(clip.hz, clip.seconds) for name in maps if methods[name].saves_array}
    arrays["seq_saliency"] = waveform_saliency(clip)
    if by is not None:
        arrays["time_importance"] = maps[by].on(clip.hz, clip.seconds).sum(axis=0)
    for name, values in arrays.items():
        file = io.BytesIO()
        np.save(file, values, allow_pickle=False)
        write_atomically(folder / f"{name}.npy", file.getvalue())


def _drawn(assessment: Assessment, explanation: Explanation) -> dict[str, Figure]:
    """All pictures of a file, with its own times."""
    clip, start, by = explanation.clip, assessment.clip_start, explanation.regions_by
    levels, hz, seconds = clip.levels(), clip.hz, clip.seconds + start
    maps = {name: map._replace(seconds=map.seconds + start) for name, map in explanation.maps.items()}
    spans = [(region.start_s + start, region.end_s + start) for region in explanation.regions]
    drawn = {"mel": figures.spectrogram(levels, hz, seconds)}
    for name, map in maps.items():
        drawn[f"mel_{name}_overlay"] = figures.overlay(levels, hz, seconds, map)
    drawn["time_importance"] = figures.time_importance(list(maps.values()), regions=spans)
    samples = clip.source.cpu().numpy()
    drawn["waveform_highlight"] = figures.waveform_highlight(samples, clip.detector.sample_rate, spans, start=start)
    if by is not None:
        ones = maps[by]._replace(values=np.ones_like(maps[by].values))
        even = {key: value for key, value in cues_of(ones, levels, hz, seconds).items() if value is not None}
        drawn["radar"] = figures.radar(cues_of(maps[by], levels, hz, seconds), even=even)
    if (found := assessment.timeline) is not None:
        drawn["timeline"] = timeline_figure(
            found.edges,
            found.p_fake,
            found.segments,
            threshold=found.threshold.value,
            duration=found.scan.duration,
            resolution=found.scan.resolution,
        )
    return drawn


def _files(given: Path) -> list[Path]:
    if not given.is_dir():
        return [given]
    if not (files := audio_below(given, say=True)):
        raise InputError(f"{given}: there are no audio files in this folder")
    return files


def _folders(base: Path, files: Sequence[Path]) -> dict[Path, Path]:
    """A folder for each file, by its stem; with its suffix and number where another file has the same."""
    stems = Counter(file.stem for file in files)
    names: dict[Path, str] = {}
    for file in files:
        name = file.stem if stems[file.stem] == 1 else file.name.replace(".", "_")
        taken = set(names.values())
        numbered = (f"{name}_{i}" for i in range(2, len(files) + 2))
        names[file] = name if name not in taken else next(n for n in numbered if n not in taken)
    return {file: base / name for file, name in names.items()}
