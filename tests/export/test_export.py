"""An exported file gives the detector's scores without this package, and states what they mean."""

from __future__ import annotations

import io
import json

import onnxruntime
import pytest
import torch
from small_detectors import ACCEPTED, FRONT_ENDS, MODELS, default_front_end, noise, small, tone, with_domain

from deepfake.errors import InputError
from deepfake.export import export as exporting
from deepfake.export.export import export
from deepfake.export.onnx import Onnx
from deepfake.export.torch_export import TorchExport
from deepfake.metrics.calibration import Calibration

DEFAULT = [(m, default_front_end(m)) for m in MODELS]
OTHERS = [("cnn", f) for f in FRONT_ENDS if f not in dict(DEFAULT).values() and ("cnn", f) in ACCEPTED]
ONE_AT_A_TIME = {"cnn_bilstm"}


def session(content):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def clips(detector):
    n = detector.n_samples
    loud = 5 * noise(detector.seconds, seed=2)
    return torch.stack([noise(detector.seconds), loud, tone(n, 440.0, 0.1, 0.4), 0.01 * noise(detector.seconds, 3)])


def assert_same(found, expected):
    """To one part in fifty of what the scores of different clips differ by: small networks say little."""
    spread = expected.max() - expected.min()
    assert spread > 0
    assert (found - expected).abs().max() < 0.02 * spread


@pytest.mark.parametrize(("model", "features"), DEFAULT + OTHERS)
def test_onnx_runtime_gives_the_scores_of_every_model(model, features):
    published = ["score=bonafide_logit"] if model == "aasist_l" else []
    detector = with_domain(small(model, features, *published))
    made = export(detector, Onnx)
    assert made.any_batch == (model not in ONE_AT_A_TIME)
    assert made.difference < 1e-4
    run, domain = session(made.content), detector.domain
    waveform = clips(detector)
    assert domain is not None
    with torch.no_grad():
        expected, (logits, embedding) = detector(waveform), detector.logits_and_embedding(waveform)
        distances = domain(waveform, embedding)
    batches = [waveform[:3], waveform[3:]] if made.any_batch else waveform.split(1)
    found = [run.run(["score", "logits", "embedding"], {"waveform": batch.numpy()}) for batch in batches]
    scores, outs, embeddings = (torch.cat([torch.from_numpy(x) for x in given]) for given in zip(*found, strict=True))
    assert_same(scores, expected)
    assert_same(outs[:, 0], logits[:, 0])
    assert embeddings.shape == embedding.shape
    torch.testing.assert_close(domain(waveform, embeddings), distances, rtol=2e-3, atol=1e-4)  # of a clip 40 dB softer


@pytest.mark.parametrize("model", ["cnn", "cnn_bilstm"])
def test_torch_runs_what_it_exported(model, recwarn):
    detector = small(model, "mel", "features.denoise=0.5")
    made = export(detector, TorchExport)
    beside = {"metadata.json": ""}
    program = torch.export.load(io.BytesIO(made.content), extra_files=beside).module()
    waveform = clips(detector)
    with torch.no_grad():
        found = torch.cat([program(clip)[0] for clip in waveform.split(4 if made.any_batch else 1)])
        assert_same(found, detector(waveform))
    assert json.loads(beside["metadata.json"])["detector_sha256"] == detector.sha256


def test_the_file_states_what_its_scores_mean():
    detector = small("cnn", "mel", "score=log_odds")
    detector.set_threshold(1.25, "the EER of dev")
    detector.set_calibration(Calibration(0.5, -0.25, -3.0, 3.0, 20, 30), "dev")
    stated = session(export(detector, Onnx).content).get_modelmeta().custom_metadata_map
    assert stated["detector_sha256"] == detector.sha256
    assert (stated["sample_rate"], stated["n_samples"], stated["opset"]) == ("16000", "8000", "20")
    assert (stated["score"], stated["larger_score_means"]) == ("log_odds", "bonafide")
    assert json.loads(stated["threshold"]) == {"value": 1.25, "source": "the EER of dev"}
    calibration = {"weight": 0.5, "offset": -0.25, "low": -3.0, "high": 3.0, "n_bonafide": 20, "n_spoof": 30}
    assert json.loads(stated["calibration"]) == {**calibration, "source": "dev"}


def test_what_cannot_be_exported_is_one_sentence():
    with pytest.raises(InputError, match=r"^CNN on Mel cannot be exported as Onnx, score it with torch: [^\n]+$"):
        export(small("cnn", "mel", "features.denoise=0.5"), Onnx)


@pytest.mark.parametrize("off", [1e-3, float("nan")])
@pytest.mark.parametrize("batches", [{1, 6}, {1}, {6}], ids=["always", "single clips", "several at once"])
def test_a_file_that_scores_otherwise_is_refused(off, batches, monkeypatch):
    call = TorchExport.__call__

    def otherwise(self, clips):
        score, *others = call(self, clips)
        return (score + off * (len(clips) in batches), *others)

    monkeypatch.setattr(TorchExport, "__call__", otherwise)
    with pytest.raises(InputError, match=r"^CNN on Mel as torch.export of torch .*: scores differ by (0.001|nan) "):
        export(small("cnn", "mel"), TorchExport)


def test_a_missing_package_is_named(monkeypatch):
    def encoded(*_):
        raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")

    monkeypatch.setattr(Onnx, "encoded", encoded)
    with pytest.raises(InputError, match=r'^onnxscript is not installed: pip install "deepfake\[export\]"$'):
        export(small("cnn", "mel"), Onnx)


def test_the_clips_compared_are_speech_like_and_silence():
    waveform = exporting._clips(small("cnn", "mel"), ())
    assert waveform.shape == (6, 8000)
    assert (waveform[:5].abs().amax(dim=1) > 0.02).all()
    assert len({clip.sum().item() for clip in waveform}) == 6
    assert (waveform[4, 4000:] == 0).all() and (waveform[5] == 0).all()
