"""A detector as one file for other programs: `deepfake export`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from deepfake.atomic import write_atomically
from deepfake.detector import Detector
from deepfake.errors import InputError, printable
from deepfake.export.export import TOLERANCE, export
from deepfake.export.exported import outputs

FORMATS = {"onnx": "Onnx", "torch_export": "TorchExport"}  # of `deepfake.export`


def export_run(run: Path, form: str, output: Path, files: Sequence[Path] = ()) -> None:
    """Export a detector, and say on stderr what the file takes and how well it agrees.

    Args:
        run: Run folder or detector file.
        form: One of `FORMATS`.
        output: File to write.
        files: Recordings to compare the scores of; made ones where there are none.

    Raises:
        InputError: The run cannot be loaded or exported, or a package is not installed.
    """
    detector = Detector.load(run)
    try:
        exported = getattr(importlib.import_module(f"deepfake.export.{form}"), FORMATS[form])
    except ModuleNotFoundError as error:
        raise InputError(f'{error.name} is not installed: pip install "deepfake[export]"') from error
    made = export(detector, exported, files)
    write_atomically(output, made.content)
    batch = "B any number of clips" if made.any_batch else "B = 1: its recurrent layers take one clip at a time"
    low, high = made.scores
    say, rest = partial(print, file=sys.stderr), ", ".join(outputs(detector)[1:])
    say(f"{printable(str(output))}: {made.format}, {len(made.content) / 1e6:.1f} MB")
    say(f"waveform [B, {detector.n_samples}], {detector.sample_rate} Hz, from -1 to 1 -> score [B], {rest}; {batch}")
    said = f"{made.n_clips} clips, digital silence among them, scores from {low:.4g} to {high:.4g}"
    say(f"{said}: at most {made.difference:.1e} off those of torch (allowed: {TOLERANCE:g})")
