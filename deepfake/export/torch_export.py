"""The format of `torch.export`: a program that torch runs, compiles or lowers for a device."""

from __future__ import annotations

import io
import json

import torch
from torch import Tensor
from torch.export import ExportedProgram

from deepfake.export.exported import Exported

METADATA = "metadata.json"  # beside the program in its archive: `torch.export.load(file, extra_files={METADATA: ""})`


class TorchExport(Exported):
    """See `Exported`."""

    def __init__(self, content: bytes) -> None:
        beside = {METADATA: ""}
        self._run = torch.export.load(io.BytesIO(content), extra_files=beside).module()
        self.metadata, self.format = json.loads(beside[METADATA]), f"torch.export of torch {torch.__version__}"

    def __call__(self, waveform: Tensor) -> tuple[Tensor, ...]:
        return self._run(waveform)

    @staticmethod
    def encoded(program: ExportedProgram, metadata: dict[str, str]) -> bytes:
        file = io.BytesIO()
        torch.export.save(program, file, extra_files={METADATA: json.dumps(metadata)})
        return file.getvalue()
