"""ONNX: a graph that ONNX Runtime and others run, and a detector whose logits it computes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor
from torch.export import ExportedProgram

from deepfake.atomic import write_atomically
from deepfake.detector import Detector
from deepfake.export.export import export
from deepfake.export.exported import OUTPUTS, Exported, outputs

log = logging.getLogger(__name__)
ERRORS_ALONE = 3


class Onnx(Exported):
    """See `Exported`; computed by ONNX Runtime on the CPU, with as many threads as torch has."""

    def __init__(self, content: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), ERRORS_ALONE
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        self.format = f"ONNX opset {self.metadata.get('opset')}"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Their names; files of before embeddings were exported have two."""
        return tuple(output.name for output in self._session.get_outputs())

    def __call__(self, waveform: Tensor) -> tuple[Tensor, ...]:
        found: Any = self._session.run(None, {"waveform": waveform.numpy()})
        return tuple(torch.from_numpy(value) for value in found)

    @staticmethod
    def encoded(program: ExportedProgram, metadata: dict[str, str]) -> bytes:
        made = torch.onnx.export(
            program,
            (),
            dynamo=True,
            input_names=["waveform"],
            output_names=OUTPUTS[: len(program.graph_signature.user_outputs)],
            optimize=False,  # onnxscript's optimizer leaves out "+ 1e-10" below a log
            verbose=False,
        )
        assert made is not None
        for value in [value for node in made.model.graph for value in node.outputs]:
            if value.name in OUTPUTS and value not in made.model.graph.outputs:  # torch names some by their operation
                value.name = f"{value.name}_within"
        opset = {"opset": str(made.model.opset_imports[""])}
        made.model.metadata_props.update({**metadata, **opset})
        return made.model_proto.SerializeToString()


class OnnxDetector(Detector):
    """A detector whose logits and embedding ONNX Runtime computes; all else is that of the detector.

    Args:
        detector: The detector, on the CPU.
        exported: The same, exported.
    """

    def __init__(self, detector: Detector, exported: Onnx) -> None:
        super().__init__(detector.config)
        self.load_state_dict(detector.state_dict())
        self.eval()
        self._exported = exported

    def logits(self, waveform: Tensor) -> Tensor:
        return self._exported(waveform)[1]

    def logits_and_embedding(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        _, logits, embedding = self._exported(waveform)
        return logits, embedding


def onnx_detector(detector: Detector, file: Path) -> OnnxDetector:
    """The detector with its logits from a file, which is made where there is none of this very detector.

    One without the embedding that the detector's domain needs is made again, too.

    Raises:
        InputError: It cannot be exported.
    """
    try:
        exported = Onnx(file.read_bytes())
        if exported.metadata["detector_sha256"] == detector.sha256 and exported.outputs == outputs(detector):
            return OnnxDetector(detector, exported)
    except Exception:  # there is none, or it is damaged, or another program's
        pass
    log.info("%s is made: the detector as ONNX, once", file)
    content = export(detector, Onnx).content
    try:
        write_atomically(file, content)
    except OSError as error:
        log.warning("%s: %s, so that the next command will make it again", file, error.strerror)
    return OnnxDetector(detector, Onnx(content))
