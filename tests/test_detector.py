"""Every model with every front end it accepts, built from the real configs: one score, whatever happens to the file."""

from __future__ import annotations

import math
import re
import shutil

import numpy as np
import pytest
import soundfile
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf
from small_detectors import ACCEPTED, BUILT, MODELS, REFUSED, default_front_end, front_end_class, network_class, sizes
from tiny import compose, write_audio

from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.features.frontend import FrontEnd
from deepfake.metrics.calibration import Calibration
from deepfake.training.weights import init_from


def detector_of(*overrides):
    features = next((o.removeprefix("features=") for o in overrides if o.startswith("features=")), "raw")
    cfg = OmegaConf.to_container(compose("run_dir=.", *overrides, *sizes(features)), resolve=True)
    return Detector({key: cfg[key] for key in ("features", "model", "sample_rate", "seconds", "score")})


@pytest.mark.parametrize(("model", "features"), BUILT)
def test_every_pair_learns_saves_and_loads_to_the_same_score(model, features, tmp_path):
    torch.manual_seed(0)
    detector = detector_of(f"model={model}", f"features={features}", "features.normalise=train_stats", "seconds=1.0")
    waveform = 0.1 * torch.randn(3, 16000)
    detector.features.normalise.update(detector.features.extract(waveform))
    detector.features.normalise.finish()
    detector.log_odds(detector.train().logits(waveform)).sum().backward()
    without = [n for n, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    detector.eval()
    detector.set_threshold(0.25, "a test")
    with torch.inference_mode():
        score = detector(waveform)
    assert score.shape == (3,) and score.isfinite().all()
    detector.save(tmp_path / "detector.pt")
    loaded = Detector.load(tmp_path)
    with torch.inference_mode():
        assert torch.equal(loaded(waveform), score)
    assert loaded.threshold == 0.25 and loaded.config == detector.config


@pytest.mark.parametrize(("model", "features"), REFUSED)
def test_a_model_that_cannot_use_a_front_end_names_those_that_it_can(model, features):
    with pytest.raises(InputError, match="choose features=") as refusal:
        detector_of(f"model={model}", f"features={features}")
    advised = re.findall(r"\w+", str(refusal.value).rpartition("features=")[2].replace(" or ", " "))
    assert advised and {(model, other) for other in advised} <= set(ACCEPTED)


def test_what_each_model_takes_is_what_its_layers_can_use():
    """A list by hand: the tests of pairs follow what the classes say, which this is to notice the change of."""
    spectrum, frames = ("spectrum",), ("spectrum", "embedding")
    wanted = {"aasist": ("raw audio", *frames), "lfcc_gmm": frames, "rawnet2": ("raw audio",)}
    wanted |= dict.fromkeys(("aasist_ssl", "conformer", "mhfa", "nes2net_x", "sls", "ssl_linear"), frames)
    wanted |= dict.fromkeys(("bimodal", "cnn", "cnn_bilstm", "frame_cnn", "lcnn", "wgan_gp_critic"), spectrum)
    assert {model: network_class(model).takes for model in wanted} == wanted


class Embedding(FrontEnd):
    def __init__(self) -> None:
        super().__init__(n_channels=80, frames_per_second=50)


def test_channels_without_an_order_are_no_picture(monkeypatch):
    """As many channels as a spectrogram has, which convolutions over bands must not slide over."""
    monkeypatch.setattr(Embedding, "__module__", "deepfake.features.linear")
    monkeypatch.setattr("deepfake.features.linear.LinearBands", Embedding)
    config = {"features": {"_target_": "deepfake.features.linear.LinearBands"}, "sample_rate": 16000, "seconds": 1.0}
    config |= {"score": "log_odds", "model": {"_target_": "deepfake.models.cnn.CNN"}}
    with pytest.raises(InputError, match=r"CNN, .* embedding: .* choose features=mel, lfcc or linear"):
        Detector(config)
    detector = Detector({**config, "model": {"_target_": "deepfake.models.gmm.GaussianMixtures", "n_components": 2}})
    assert detector.features.band_edges_hz is None and detector.model.in_channels == 80


@pytest.mark.parametrize(
    ("overrides", "features"),
    [
        *(([f"model={model}"], default_front_end(model)) for model in MODELS),
        (["model=aasist", "features=lfcc"], "lfcc"),
    ],
)
def test_a_model_brings_its_front_end_and_the_command_line_wins(overrides, features):
    assert get_class(compose(*overrides).features._target_) is front_end_class(features)


def test_a_file_is_scored_from_beginning_to_end_at_any_rate_and_channel_count(tmp_path):
    detector = detector_of("model=cnn", "seconds=0.5").eval()
    samples = torch.from_numpy(soundfile.read(write_audio(tmp_path / "a.wav", spoof=True, seed=0), dtype="float32")[0])
    clips = [samples[i : i + 8000] for i in (0, len(samples) - 8000)]
    with torch.inference_mode():
        expected = [detector(clip[None]).item() for clip in clips]
        assert detector.score_file(tmp_path / "a.wav") == sum(expected) / 2
        soundfile.write(tmp_path / "short.wav", samples[:3000].numpy(), 16000, "FLOAT")
        assert detector.score_file(tmp_path / "short.wav") == detector(samples[:3000].repeat(3)[None, :8000]).item()
    for channels, rate in ((2, 8000), (8, 44100), (1, 192000), (3, 4000)):
        noise = np.random.default_rng(0).standard_normal((rate, channels)) * 0.1
        soundfile.write(tmp_path / "b.wav", noise, rate)
        assert math.isfinite(detector.score_file(tmp_path / "b.wav"))


def test_p_fake_and_verdict_turn_at_the_threshold():
    detector = detector_of("model=cnn")
    detector.set_threshold(2.0, "a test")
    assert detector.p_fake(2.0) == 0.5
    assert detector.p_fake(3.0) == pytest.approx(1 / (1 + math.e)) and detector.p_fake(1e6) < 1e-300
    assert detector.p_fake(-1e6) == 1.0
    assert [detector.verdict(s) for s in (1.9, 2.0, 2.1)] == ["spoof", "spoof", "bonafide"]


def test_aasist_can_score_as_its_authors_do():
    detector = detector_of("model=aasist_l", "score=bonafide_logit").eval()
    waveform = 0.1 * torch.randn(1, 16000)
    with torch.inference_mode():
        logits = detector.logits(waveform)
        assert torch.allclose(detector(waveform), logits[:, 1])
        assert torch.allclose(detector.log_odds(logits), logits[:, 1] - logits[:, 0])


@pytest.mark.parametrize(
    "target",
    [
        "deepfake.audio.waveform.os.system",
        "os.system",
        "torch.nn.Linear",
        "deepfake.nothing.X",
        "deepfake.features.mel.torch.nn.Linear",
    ],
)
def test_a_detector_file_builds_nothing_but_our_networks(tmp_path, target):
    detector = detector_of("model=cnn")
    detector.config["model"]["_target_"] = target
    detector.save(tmp_path / "detector.pt")
    with pytest.raises(InputError, match="not a network of this package"):
        Detector.load(tmp_path)


def test_a_file_with_a_pickle_in_it_is_refused(tmp_path):
    torch.save({"format": 1, "config": {}, "state_dict": shutil.rmtree}, tmp_path / "detector.pt")
    with pytest.raises(InputError, match="is not a detector"):
        Detector.load(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path):
    detector_of("model=cnn").save(tmp_path / "a.pt")
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    del content["sha256"]
    content["state_dict"].pop(next(n for n in content["state_dict"] if n.startswith("model.")))
    torch.save(content, tmp_path / "b.pt")
    with pytest.raises(InputError, match=r"weights do not fit deepfake\.models\.cnn\.CNN"):
        Detector.load(tmp_path / "b.pt")
    with pytest.raises(InputError, match="another model"):
        init_from(detector_of("model=aasist_l"), tmp_path / "a.pt")
    with pytest.raises(InputError, match="does not exist"):
        Detector.load(tmp_path / "c.pt")
    (tmp_path / "d.pt").write_text("no tensor")
    with pytest.raises(InputError, match="is not a detector"):
        Detector.load(tmp_path / "d.pt")


def test_init_from_takes_the_weights_and_says_what_it_left(tmp_path):
    source = detector_of("model=aasist_l")
    source.save(tmp_path / "detector.pt")
    same = detector_of("model=aasist_l")
    assert init_from(same, tmp_path) == []
    assert all(torch.equal(a, b) for a, b in zip(source.state_dict().values(), same.state_dict().values(), strict=True))
    other = detector_of("model=aasist_l", "model.head=cosine")
    left = init_from(other, tmp_path)
    assert any("not taken over: model.out_layer.bias" in s for s in left) and any(
        "left as initialised" in s for s in left
    )
    with pytest.raises(InputError, match="another model"):
        init_from(detector_of("model=aasist"), tmp_path)


def test_a_calibration_is_carried_along(tmp_path):
    detector = detector_of("model=cnn")
    detector.set_threshold(1.0, "a test")
    detector.save(tmp_path / "before.pt")
    old = Detector.load(tmp_path / "before.pt")  # as those are that were saved before there was calibration
    assert "calibration" not in old.config and old.calibration is None and old.p_fake(1.0) == 0.5
    detector.set_calibration(Calibration(2.0, -3.0, -4.0, 5.0, 70, 900), "other speech")
    detector.save(tmp_path / "after.pt")
    loaded = Detector.load(tmp_path / "after.pt")
    assert loaded.calibration == detector.calibration == Calibration(2.0, -3.0, -4.0, 5.0, 70, 900)
    assert loaded.config["calibration"]["source"] == "other speech"
    for score, llr in ((1.5, 0.0), (2.0, 1.0), (-100.0, -4.0), (1e300, 5.0)):
        assert loaded.p_fake(score) == pytest.approx(1 / (1 + math.exp(llr)))
    assert loaded.verdict(1.01) == "bonafide" and loaded.threshold == 1.0  # decisions stay those of the threshold


def test_init_from_takes_a_model_without_a_head(tmp_path):
    detector_of("model=lfcc_gmm", "model.n_components=2").save(tmp_path / "detector.pt")
    assert init_from(detector_of("model=lfcc_gmm", "model.n_components=2"), tmp_path) == []


def test_a_critic_is_no_detector(tmp_path):
    detector = detector_of("model=wgan_gp_critic")
    detector.config["kind"] = "critic"
    detector.save(tmp_path / "critic.pt")
    with pytest.raises(InputError, match=r"is a critic, no detector: train\.py with init_from="):
        Detector.load(tmp_path / "critic.pt")


def test_a_loaded_detector_convolves_in_single_precision_on_a_gpu(run_folder):
    torch.backends.cudnn.allow_tf32 = True  # torch's default
    Detector.load(run_folder)
    assert torch.backends.cudnn.allow_tf32 is False


def test_the_likelihood_ratio_is_that_of_spoof_and_capped_to_what_the_calibration_supports():
    detector = detector_of("model=cnn", "seconds=0.5")
    assert detector.llr(1.0) is None and detector.seconds == 0.5
    detector.set_calibration(Calibration(2.0, 0.0, -3.0, 3.0, 10, 10), "a test")
    assert detector.llr(1.0) == (pytest.approx(-2 / math.log(10)), False)
    assert detector.llr(-4.0) == (pytest.approx(3 / math.log(10)), True)


@pytest.mark.parametrize(("score", "plain", "calibrated"), [("log_odds", 6.0, 11.5), ("bonafide_logit", 6.0, -6.5)])
def test_evidence_for_spoof_is_that_of_the_score_that_was_calibrated(score, plain, calibrated):
    """The logits of spoof and bona fide are 9 and 3: log-odds of -6; the map is 2 times the score and 0.5."""
    detector = detector_of("model=aasist", "seconds=1.0", f"score={score}")
    logits = torch.tensor([[9.0, 3.0]])
    assert detector.spoof(logits).tolist() == [plain]
    detector.set_calibration(Calibration(2.0, 0.5, -5.0, 5.0, 10, 10), "a test")
    assert detector.spoof(logits).tolist() == [calibrated]
