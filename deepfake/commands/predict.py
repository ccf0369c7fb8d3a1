"""The rows of `deepfake predict`: the assessment of each file, and their three formats."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import torch

from deepfake.datasets import manifest
from deepfake.datasets.folder import audio_below
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.forensics.assess import WHOLE, Assessment, assess
from deepfake.runs.provenance import score_range
from deepfake.terminal import progress, shortened, show, table, with_notes

COLUMNS = ["file", "score", "p_fake", "verdict", "calibrated", "log10_lr_spoof", "capped"]
COLUMNS += ["seconds", "scored_seconds", "cautions", "error"]

Row = dict[str, Any]


def predict(
    run: str | Path, paths: Sequence[Path], *, clips: str = WHOLE, device: torch.device
) -> tuple[Detector, list[Row]]:
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


def row(found: Assessment) -> Row:
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


def audio_files(inputs: Sequence[Path], listed: Path | None = None) -> list[Path]:
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


def write_json(rows: Sequence[Row], detector: Detector) -> None:
    print(json.dumps(rows, indent=2, ensure_ascii=False))


def write_csv(rows: Sequence[Row], detector: Detector, file: TextIO | None = None) -> None:
    """Write the rows as CSV, to standard output if no file is given."""
    writer = csv.DictWriter(file or sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        plain = {key: str(value).lower() if isinstance(value, bool) else value for key, value in row.items()}
        writer.writerow({**plain, "cautions": " ".join(row.get("cautions", []))})


def write_table(rows: Sequence[Row], detector: Detector) -> None:
    """Print the rows as a table, and below it cautions and errors; in a terminal, long names of files are shortened."""
    caption = f"threshold {detector.threshold:.4g} ({detector.config['threshold']['source']})"
    if (n := detector.calibration) is None:
        caption = f"calibrated: false; {caption}"
    else:
        caption = (
            f"calibrated: true; {caption}. p_fake is the probability at even prior odds; log10 LR that of spoof "
            f"against bona fide, fitted on {detector.config['calibration']['source']} ({n.n_bonafide} bona fide, "
            f"{n.n_spoof} spoof). An asterisk: capped to what these support."
        )
    longest = max(20, shutil.get_terminal_size().columns - 60) if sys.stdout.isatty() else None
    lines, notes = [], []
    for row in rows:
        name = shortened(row["file"], longest) if longest else row["file"]
        if "error" in row:
            lines.append([name, "", "", "", "error", ""])
            notes.append(f"error: {row['error']}")
            continue
        ratio = f"{row['log10_lr_spoof']:.2f}{'*' if row['capped'] else ''}" if "log10_lr_spoof" in row else ""
        scored = f"{row['scored_seconds']:.1f} of " if row["scored_seconds"] < row["seconds"] else ""
        numbers = (f"{row['score']:.4f}", f"{row['p_fake']:.4f}", ratio)
        lines.append([name, *numbers, row["verdict"], f"{scored}{row['seconds']:.1f}"])
        if cautions := [caution for caution in row["cautions"] if caution != "not_calibrated"]:  # the caption says that
            notes.append(f"{name}: {', '.join(cautions)}")
    headings = ["file", "score", "p_fake", "log10 LR", "verdict", "seconds"]
    if detector.calibration is None:
        for line in (headings, *lines):
            del line[3]
    view = table(headings, lines, left=(0, len(headings) - 2))
    show(with_notes([view], [*notes, caption]), stdout=True)


FORMATS = {"table": write_table, "json": write_json, "csv": write_csv}
