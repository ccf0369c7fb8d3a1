"""The evidence on an upload: what `explain.py` writes, made in a private folder that is deleted."""

from __future__ import annotations

from pathlib import Path

import torch

from deepfake.commands.explain import Explainer, Settings
from deepfake.explain.defaults import methods
from deepfake.forensics.bundle import bundle
from deepfake.forensics.reading import Reading
from deepfake.runs.folder import ExplanationFolder
from deepfake.serve.private import private_folder

COMMAND = ["deepfake", "serve"]


class Evidence:
    """Explains uploads with the detector of a run.

    Args:
        run: Run folder or detector file.
        device: Where to compute.
        judge_outside: Whether recordings outside the detector's domain have a verdict too.
    """

    def __init__(self, run: Path, device: torch.device, judge_outside: bool = False) -> None:
        self._explainer = Explainer(str(run), methods(), Settings(judge_outside=judge_outside), device)
        self._explainer.answer_others(COMMAND)

    def on(self, recording: Reading, media_type: str) -> bytes:
        """The evidence on a recording: a ZIP file, the PDF alone, or the `report.json` alone.

        Raises:
            InputError: The recording cannot be used.
        """
        with private_folder() as private:
            folder = ExplanationFolder(private / "recording")
            self._explainer.write(recording, folder)
            files = {"application/pdf": folder.pdf, "application/json": folder.report}
            file = files.get(media_type) or bundle(folder.path)
            return file.read_bytes()
