"""ONNX: a graph that ONNX Runtime and others run, and a detector whose logits it computes."""

from __future__ import annotations

import logging
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor
from torch.export import ExportedProgram

from deepfake.atomic import write_atomically
from deepfake.detector import Detector
from deepfake.export.export import export
from deepfake.export.exported import Exported

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

    def __call__(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        score, logits = self._session.run(["score", "logits"], {"waveform": waveform.numpy()})
        return torch.from_numpy(score), torch.from_numpy(logits)

    @staticmethod
    def encoded(program: ExportedProgram, metadata: dict[str, str]) -> bytes:
        made = torch.onnx.export(
            program,
            (),
            dynamo=True,
            input_names=["waveform"],
            output_names=["score", "logits"],
            optimize=False,  # onnxscript's optimizer leaves out "+ 1e-10" below a log
            verbose=False,
        )
        assert made is not None
        opset = {"opset": str(made.model.opset_imports[""])}
        made.model.metadata_props.update({**metadata, **opset})
        return made.model_proto.SerializeToString()


class OnnxDetector(Detector):
    """A detector whose logits ONNX Runtime computes; all else is that of the detector.

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
        """The embedding is computed by torch: the file does not give it."""
        return self.logits(waveform), super().logits_and_embedding(waveform)[1]


def onnx_detector(detector: Detector, file: Path) -> OnnxDetector:
    """The detector with its logits from a file, which is made where there is none of this very detector.

    Raises:
        InputError: It cannot be exported.
    """
    try:
        exported = Onnx(file.read_bytes())
        if exported.metadata["detector_sha256"] == detector.sha256:
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
