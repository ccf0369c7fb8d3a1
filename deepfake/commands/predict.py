"""The verdicts on files: `deepfake predict`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from deepfake.address import is_address
from deepfake.commands.rows import FORMS, Row, rows_in_file, rows_on_stdout
from deepfake.datasets import manifest
from deepfake.datasets.folder import audio_below
from deepfake.detector import Detector
from deepfake.domain import misjudged
from deepfake.errors import InputError
from deepfake.forensics.assess import WHOLE, Assessment, assess
from deepfake.runs.folder import RunFolder
from deepfake.runs.provenance import score_range
from deepfake.scores.compute import device_of
from deepfake.terminal import progress

log = logging.getLogger(__name__)


def predict(
    run: str | Path,
    paths: Sequence[Path | str],
    *,
    clips: str = WHOLE,
    device: torch.device,
    form: str = "table",
    output: Path | None = None,
    backend: str = "torch",
    judge_outside: bool = False,
) -> bool:
    """Assess files one by one, and write a row of each when it is there.

    Args:
        run: Run folder or detector file.
        paths: Paths of the files, or addresses.
        clips: As in `assess`.
        device: Where to compute.
        form: `table`, `json` or `csv`; `table` for a file is JSON where its name ends in `.json`, else CSV.
        output: File for the rows; those that it has from before are not made again. None for stdout.
        judge_outside: As in `assess`.
        backend: `torch`, or `onnx` for ONNX Runtime on the CPU: the same scores to 1e-4.

    Returns:
        Whether some of the files could not be used.

    Raises:
        InputError: The run cannot be loaded, or the rows in `output` were made with another detector or other clips.
    """
    detector = loaded(run, device, backend)
    with ExitStack() as stack:
        before: list[Row] = []
        if output is None:
            take = stack.enter_context(rows_on_stdout(form, detector))
        else:
            form = form if form in FORMS else "json" if output.suffix.lower() == ".json" else "csv"
            settings = {"detector": str(Path(run).absolute()), "detector_sha256": detector.sha256, "clips": clips}
            settings |= {"backend": backend} if backend != "torch" else {}
            settings |= {"judge_outside": True} if judge_outside else {}
            take, before = stack.enter_context(rows_in_file(output, form, settings))
        done = {row["file"] for row in before}
        left = [path for path in paths if _named(path) not in done]
        if before:
            log.info("%s has %d of %d files, which are not scored again", output, len(paths) - len(left), len(paths))
        bad = any(row.get("error") for row in before)
        for row in _rows(detector, run, left, clips=clips, judge_outside=judge_outside):
            take(row)
            bad |= "error" in row
    return bad


def device_for(backend: str, name: str) -> torch.device:
    """The device of a name for a backend: `auto` is the CPU where ONNX Runtime computes."""
    return device_of("cpu" if backend == "onnx" and name == "auto" else name)


def loaded(run: str | Path, device: torch.device, backend: str) -> Detector:
    """The detector of a run, whose scores torch or ONNX Runtime computes.

    Raises:
        InputError: The run cannot be loaded, or it cannot be computed so.
    """
    detector = Detector.load(run).to(device)
    if backend != "onnx":
        return detector
    try:
        from deepfake.export.onnx import onnx_detector
    except ModuleNotFoundError as error:
        raise InputError(f'{error.name} is not installed: pip install "deepfake[export]"') from error
    if device.type != "cpu":
        raise InputError(f"device={device} with --backend onnx: cpu was expected; or take --backend torch")
    return onnx_detector(detector, RunFolder.of(run).onnx)


def _named(path: Path | str) -> str:
    """A path as a file of rows has it."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _rows(detector: Detector, run: str | Path, paths: Sequence[Path | str], **how: Any) -> Iterator[Row]:
    """For each file `file` with `error`, or with what `row` gives."""
    known = score_range(run, detector)
    for path in progress(paths, "scoring"):
        try:
            found = row(assess(detector, path, score_range=known, **how))
        except InputError as error:
            found = {"error": str(error)}
        yield {"file": str(path), **found}


def row(found: Assessment) -> Row:
    """An assessment in numbers and words: `score, p_fake, verdict, seconds, scored_seconds, domain, cautions` ...

    `cautions` are the names of its reasons; `log10_lr_spoof`, `capped` are there where the detector is calibrated.
    `domain` is `in`, `edge` or `outside`, and with `domain_percentile` None where the detector knows none; of
    `domain_n` held-out recordings that lay there, `domain_misjudged` were judged wrongly, None where nobody counted.
    """
    llr, place = found.llr, found.domain
    counted = misjudged(found.detector.config["domain"], place.state) if place else None
    return {
        "score": found.score,
        "p_fake": found.p_fake(),
        "verdict": found.verdict,
        "calibrated": llr is not None,
        **(llr._asdict() if llr else {}),
        "seconds": found.seconds,
        "scored_seconds": found.scored_seconds,
        "domain": place and place.state,
        "domain_percentile": place and place.percentile,
        "domain_misjudged": counted and counted.wrong,
        "domain_n": counted and counted.n,
        "cautions": [reason.name for reason in found.reasons],
    }


def audio_files(inputs: Sequence[Path], listed: Path | None = None) -> list[Path | str]:
    """Files, those below folders, and those that a manifest lists, also by their addresses.

    Raises:
        InputError: There is none, or a folder holds none.
    """
    paths: list[Path | str] = []
    for path in inputs:
        found = audio_below(path, say=True) if path.is_dir() else [path]
        if not found:
            raise InputError(f"{path}: there are no audio files in this folder")
        paths += found
    if listed:
        paths += [u.path if is_address(u.path) else Path(u.path) for u in manifest.rows(listed)]
    if not paths:
        raise InputError("there is nothing to score: give files, folders or --manifest CSV")
    return paths
