"""How well a run finds spoofed stretches, measured on a corpus that says where they are, and the threshold for it.

The threshold of p_fake is fixed on dev and measured on eval, beside the default one. `localisation.json` holds:

- `schema` (`name`, `version`);
- `kind`: `trend` of windows, `localisation` of a detector that scores frames; `resolution`: effective, seconds;
- `window`: `seconds`, `overlap`, of the scan; `frame_seconds`: of the curve that was measured;
- `detector`: `path`, `sha256`; `corpus`: its name;
- `threshold`: `value` of p_fake and `source`, null where the corpus has no dev partition;
- `partitions`: `dev` (null where there is none) and `eval`, each `n_bonafide`, `n_spoof` (files), `seconds`
  (`bonafide`, `spoof`), `measures` (`segment_eer_20ms`, `frame_auc_20ms`, the same of 160 and 640 ms, `range_eer`, and
  of the files' largest p_fake `file_eer`, `file_auc`) and `at`: for the threshold `dev` (null where there is none) and
  `default` its `threshold`, `measures` (`frame_f1`, `frame_precision`, `frame_recall` of spoof; `boundary_seconds`, the
  mean distance of matched boundaries, `boundaries_missed` and `boundaries_extra`, both by true boundary) and
  `verdicts`: for `bonafide` and `spoof` files, by verdict `n` and what share of the files it is;
- each measure and share is `value`, `low`, `high`: the interval of 95 % over files, null what cannot be had;
- `passed_over`: number of files that could not be used; `settings`, `notes` (sentences), `provenance`.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deepfake.commandline import detector_file
from deepfake.commands.outcome import Outcome
from deepfake.datasets.corpus import Corpus, Segments
from deepfake.datasets.layout import NoPartition
from deepfake.datasets.utterance import SPOOF, Utterance
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.localisation import report
from deepfake.localisation.measures import FRAME_SECONDS, Curve, dev_threshold, measure, merged
from deepfake.localisation.scan import curve, scan
from deepfake.localisation.segments import THRESHOLD, Threshold
from deepfake.runs import provenance
from deepfake.runs.environment import environment, environment_rows
from deepfake.runs.folder import ReportFolder, RunFolder
from deepfake.terminal import progress

SCHEMA = {"name": "deepfake.localisation", "version": 1}


def localise_run(
    run: str,
    corpus: Corpus,
    *,
    window_seconds: float | None,
    overlap: float,
    batch_size: int,
    output: str | None,
    device: torch.device,
    n_bootstrap: int = 1000,
) -> Outcome:
    """Measure the curve over time of a run's detector on dev and eval of a corpus whose spoofed stretches are known.

    Args:
        run: Run folder or detector file.
        corpus: The corpus.
        window_seconds: Window of the scan; None for the length of the detector's clips.
        overlap: Share of a window that the next one overlaps.
        batch_size: Windows per step.
        output: Folder to write; None for `localisation` in the run's, where `window.threshold=dev` finds it.
        device: Where to compute.
        n_bootstrap: Bootstrap replicates, over files.

    Raises:
        InputError: The corpus does not say where spoof is, has no eval partition or lacks a class; a file cannot be
            used, unless the corpus says that such are skipped.
    """
    detector, file = Detector.load(run).to(device), detector_file(run)
    settings = {"seconds": window_seconds, "overlap": overlap, "batch_size": batch_size}
    curves: dict[str, list[Curve]] = {}
    about: dict[str, Any] = {}
    notes: list[str] = []
    n_skipped = 0
    for partition in ("dev", "eval"):
        try:
            curves[partition], skipped, about = _scanned(detector, corpus, partition, settings)
        except NoPartition as error:
            if partition == "eval":
                raise
            notes.append(f"There is no threshold, and nothing at one, but at the default: {error}.")
            continue
        notes += skipped
        n_skipped += len(skipped)
    try:
        fixed = dev_threshold(curves["dev"]) if "dev" in curves else None
        thresholds = {"dev": fixed, "default": THRESHOLD}
        partitions = {name: measure(found, thresholds, n_bootstrap=n_bootstrap) for name, found in curves.items()}
    except InputError as error:
        raise InputError(f"{corpus.name}: {error}") from error
    source = f"frame EER threshold of {corpus.name}, partition dev"
    result = {
        "schema": SCHEMA,
        **about,
        "window": {"seconds": window_seconds or detector.seconds, "overlap": overlap},
        "frame_seconds": FRAME_SECONDS,
        "detector": {"path": str(file.absolute()), "sha256": provenance.hash_of_file(file)},
        "corpus": corpus.name,
        "threshold": None if fixed is None else {"value": fixed, "source": source},
        "partitions": {"dev": None, **partitions},
        "passed_over": n_skipped,
        "settings": {"n_bootstrap": n_bootstrap, "seed": 0},
        "notes": notes,
        "provenance": environment_rows(environment(sys.argv, device, None)),
    }
    folder = ReportFolder(Path(output or RunFolder.of(run).localisation.path))
    report.write(result, curves, file=folder.localisation, page=folder.page, figures=folder.figures)
    return Outcome(result, folder.path, report.table(result), bool(n_skipped))


def _scanned(
    detector: Detector, corpus: Corpus, partition: str, settings: Mapping[str, Any]
) -> tuple[list[Curve], list[str], dict[str, Any]]:
    """The curves of a partition's files, a note on each file that was skipped, and what the curves are.

    Raises:
        InputError: See `localise_run`.
    """
    utterances, known = corpus.select(partition, 0), corpus.segments(partition)
    if known is None:
        raise InputError(f"{corpus.name} does not say where speech is spoofed: say dataset=spliced")
    curves: list[Curve] = []
    notes: list[str] = []
    about: dict[str, Any] = {}
    for utterance in progress(utterances, f"scanning {partition}"):
        spoofed = _stretches(utterance, known)
        try:
            found = scan(detector, utterance.path, **settings)
        except InputError as error:
            if corpus.on_bad_audio == "raise":
                raise
            notes.append(f"Skipped: {error}.")
            continue
        edges, _, p_fake = curve(found, frame_seconds=FRAME_SECONDS)
        spoofed = [(start, end if end < math.inf else float(edges[-1])) for start, end in spoofed]
        curves.append(Curve(utterance.id, edges, p_fake, spoofed))
        about = {"kind": found.kind, "resolution": found.window}
    if not curves:
        raise InputError(f"{corpus.name}, partition {partition}: none of the {len(utterances)} files can be used")
    return curves, notes, about


def threshold_of(run: str, detector: Detector, *, window_seconds: float | None, overlap: float) -> Threshold:
    """The threshold on p_fake that was fixed on dev for this run and this scan, and where it comes from.

    It belongs to the detector as it was then (the kind of its curve included): calibrating it changes p_fake.

    Args:
        run: Run folder or detector file.
        detector: Its detector.
        window_seconds: Window of the scan; None for the length of the detector's clips.
        overlap: Share of a window that the next one overlaps.

    Raises:
        InputError: It was not measured: names the command that does.
    """
    path = RunFolder.of(run).localisation.localisation
    scan = {"seconds": window_seconds or detector.seconds, "overlap": overlap}
    asked = " ".join(f"window.{name}={value:g}" for name, value in scan.items())
    command = (
        f"python explain.py {shlex.quote(f'run={run}')} localisation=true dataset=spliced dataset.root=DIR {asked}"
    )
    needed = f"window.threshold=dev needs the threshold that `{command}` measures"
    if not path.is_file():
        raise InputError(f"{needed}: there is no {path}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        window = {name: float(found["window"][name]) for name in scan}
        sha256, threshold = found["detector"]["sha256"], found["threshold"]
        value, source = (None, "") if threshold is None else (float(threshold["value"]), str(threshold["source"]))
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(f"{needed}: {path} is no such measurement ({error!r})") from error
    if not all(math.isclose(window[name], value, rel_tol=1e-6) for name, value in scan.items()):
        of = " ".join(f"window.{name}={value:g}" for name, value in window.items())
        raise InputError(f"{needed}: {path} is of {of}")
    if sha256 != provenance.hash_of_file(detector_file(run)):
        raise InputError(f"{needed}: {path} is of another detector, or of this one before it was changed or calibrated")
    if value is None:
        raise InputError(f"{needed}: {path} is of {found.get('corpus')}, which has no dev partition")
    return Threshold(value, source)


def _stretches(utterance: Utterance, known: Segments) -> list[tuple[float, float]]:
    """The spoofed stretches of an utterance.

    Raises:
        InputError: They are not known, or a spoofed utterance has none.
    """
    found = known.get(utterance.id)
    if found is None or (not found and utterance.label == SPOOF):
        raise InputError(f"{utterance.where or utterance.path}: it is not said where {utterance.id} is spoofed")
    return merged([(start, end) for start, end, *_ in found])
