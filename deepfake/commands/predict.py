"""The rows of `deepfake predict`: what an assessment of each file says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from deepfake.datasets import manifest
from deepfake.datasets.folder import audio_below
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.forensics.assess import WHOLE, Assessment, assess
from deepfake.runs.provenance import score_range
from deepfake.terminal import progress


def predict(
    run: str | Path, paths: Sequence[Path], *, clips: str = WHOLE, device: torch.device
) -> tuple[Detector, list[dict[str, Any]]]:
    """Assess files one by one.

    Args:
        run: Run folder or detector file.
        paths: Of the files.
        clips: As in `assess`.
        device: Where to compute.

    Returns:
        The detector, and for each file a row: `file` with `error`, or with what `row` gives.
    """
    detector = Detector.load(run).to(device)
    known = score_range(run, detector)
    rows = []
    for path in progress(paths, "scoring"):
        try:
            found = row(assess(detector, path, clips=clips, score_range=known))
        except InputError as error:
            found = {"error": str(error)}
        rows.append({"file": str(path), **found})
    return detector, rows


def row(found: Assessment) -> dict[str, Any]:
    """An assessment in numbers and words: `score, p_fake, verdict, seconds, scored_seconds, cautions` ...

    `cautions` are the names of its reasons; `log10_lr_spoof`, `capped` are there where the detector is calibrated.
    """
    llr = found.llr
    return {
        "score": found.score,
        "p_fake": found.p_fake(),
        "verdict": found.verdict,
        "calibrated": llr is not None,
        **(llr._asdict() if llr else {}),
        "seconds": found.seconds,
        "scored_seconds": found.scored_seconds,
        "cautions": [reason.name for reason in found.reasons],
    }


def files(inputs: Sequence[Path], listed: Path | None) -> list[Path]:
    """Files, those below folders, and those that a manifest lists.

    Raises:
        InputError: There is none, or a folder holds none.
    """
    paths: list[Path] = []
    for path in inputs:
        found = audio_below(path, say=True) if path.is_dir() else [path]
        if not found:
            raise InputError(f"{path}: there are no audio files in this folder")
        paths += found
    if listed:
        paths += [Path(u.path) for u in manifest.rows(listed)]
    if not paths:
        raise InputError("there is nothing to score: give files, folders or --manifest CSV")
    return paths
