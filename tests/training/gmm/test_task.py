"""The task that fits mixtures: from the command's config to what a run leaves behind."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from interrupted import with_any_workers
from omegaconf import OmegaConf
from sklearn.mixture import GaussianMixture
from tiny import compose, tiny_run, write_audio, write_lines

from deepfake import cli, run
from deepfake.audio import crop_or_repeat, load
from deepfake.datasets import manifest
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.training.gmm.em import standardise
from deepfake.training.gmm.task import MixtureFit

pytestmark = pytest.mark.usefixtures("undrawn")

GMM = ("model=lfcc_gmm", "task=gmm", "model.n_components=4")


@pytest.fixture(scope="module")
def fitted(tiny_la, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    run.train(tiny_run(tiny_la, folder, *GMM))
    return folder


@pytest.fixture
def bare(monkeypatch):
    """Runs that leave a detector and no report, whose figures would take most of the time."""

    def finish(setup, detector, more):
        detector.save(setup.folder.detector)
        return {"eer": 0.0}

    monkeypatch.setattr("deepfake.training.gmm.task.finish", finish)


def weights(folder):
    return torch.load(folder / "detector.pt", weights_only=True)["state_dict"]


def frames_of(detector, folder, label):
    """The features of the training clips of a class, `[N, C]`, read from the manifest."""
    utterances = [u for u in manifest.rows(folder / "manifests" / "train.csv") if u.label == label]
    clips = torch.stack([crop_or_repeat(load(u.path, sample_rate=16000), detector.n_samples) for u in utterances])
    return detector.features(clips).transpose(1, 2).flatten(0, 1).double().numpy()


def test_a_run_leaves_what_any_other_leaves(fitted):
    metrics = json.loads((fitted / "reports" / "metrics.json").read_text())
    assert metrics["eer"] == 0 and metrics["n_spoof"] == 6 and (fitted / "scores" / "dev.csv").is_file()
    detector = Detector.load(fitted)
    assert detector.config["threshold"]["source"] == "EER threshold of asvspoof2019_la, partition dev"


def test_each_mixture_is_of_the_frames_of_its_class(fitted):
    detector = Detector.load(fitted)
    model = detector.model
    for label in (0, 1):
        frames = frames_of(detector, fitted, label)
        assert len(frames) == 306
        shares = model.log_weights[label].softmax(0)
        mean = (shares[:, None] * model.means[label]).sum(0).detach().numpy()
        np.testing.assert_allclose(mean, frames.mean(0), rtol=1e-3, atol=1e-3)  # EM keeps the mean of all
        theirs = GaussianMixture(4, covariance_type="diag", random_state=0).fit(frames).score(frames)
        features = torch.from_numpy(frames.T[None]).float()
        assert model.log_likelihoods(features)[0, :, label].mean().item() == pytest.approx(theirs, rel=0.1)


@with_any_workers
def test_an_interrupted_fit_starts_over(fitted, bare, tiny_la, tmp_path, monkeypatch, caplog, workers):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("deepfake.training.gmm.task.finish", stop)
        with pytest.raises(InputError, match=r"interrupted: .*resume="):
            run.train(tiny_run(tiny_la, tmp_path, *GMM, f"num_workers={workers}"))
    with caplog.at_level(logging.INFO):
        run.train(compose(f"resume={tmp_path}"))
    assert "it starts over" in caplog.text and "306 frames of bona fide speech, 306 of spoof" in caplog.text
    assert "bona fide: iteration 1 of at most 10, log-likelihood" in caplog.text and "spoof: iteration 2" in caplog.text
    pairs = zip(weights(fitted).values(), weights(tmp_path).values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_another_seed_is_another_fit(fitted, bare, tiny_la, tmp_path):
    run.train(tiny_run(tiny_la, tmp_path, *GMM, "seed=1"))
    assert not torch.equal(weights(fitted)["model.means"], weights(tmp_path)["model.means"])


def test_predict_evaluate_and_explain(fitted, tmp_path, capsys, caplog):
    file = write_audio(tmp_path / "a.wav", spoof=True, seed=77)
    assert cli.main(["predict", str(file), "--run", str(fitted)]) == 0
    assert "spoof" in capsys.readouterr().out
    done = run.evaluate(compose(f"run={fitted}", f"output={tmp_path}/e", "num_workers=0", config="evaluate"))
    assert done["n_spoof"] == 6
    few = ("explain.integrated_gradients.steps=16", "explain.occlusion.seconds=0.3")
    given = (f"run={fitted}", f"input={file}", f"output={tmp_path}/x", "device=cpu")
    (report,) = run.explain(compose(*given, *few, config="explain")).values()
    assert set(report["methods"]) == {"saliency", "integrated_gradients", "occlusion"}
    assert report["score"] == pytest.approx(Detector.load(fitted).score_file(file), abs=1e-4)
    assert np.load(tmp_path / "x" / "a" / "seq_saliency.npy").any()
    assert "gradcam is left out: GaussianMixtures has no last_map" in caplog.text
    with pytest.raises(InputError, match="GaussianMixtures names no map of convolutions"):
        run.explain(compose(*given, "explain=[gradcam]", config="explain"))


def test_of_more_frames_than_wanted_as_many_are_drawn_from_each_clip(bare, tiny_la, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        run.train(tiny_run(tiny_la, tmp_path, *GMM, "task.max_frames=60"))
    assert "60 frames of bona fide speech, 60 of spoof" in caplog.text


def test_an_utterance_counts_by_its_weight():
    class Weighed:
        def __init__(self, label, weight):
            self.label, self.weight = label, weight

    config = OmegaConf.to_container(compose(*GMM, "run_dir=."), resolve=True)
    detector = Detector(config)
    fit = MixtureFit(detector, seed=0, max_iterations=1, tolerance=0.0, variance_floor=1e-3, max_frames=150)
    listed = [Weighed(1, 2.0), Weighed(1, 1.0), Weighed(0, 0.3), Weighed(0, 0.0), Weighed(0, 0.3)]
    assert fit._kept(listed, 100) == [100, 50, 75, 0, 75]


def test_a_fit_can_start_from_the_mixtures_of_another(fitted):
    detector = Detector.load(fitted)
    frames = torch.from_numpy(frames_of(detector, fitted, 1)).float()
    mean, std = standardise(frames)
    fit = MixtureFit(detector, seed=0, max_iterations=1, tolerance=0.0, variance_floor=1e-3, max_frames=10**6)
    start = fit._start(1, frames, mean, std, own=True)
    assert not torch.equal(start.means, fit._start(1, frames, mean, std, own=False).means)
    np.testing.assert_allclose(start.rescaled(mean, std).means, detector.model.means[1].detach(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        start.rescaled(mean, std).log_variances, detector.model.log_variances[1].detach(), rtol=1e-4, atol=1e-4
    )


def test_what_cannot_be_fitted_is_a_sentence(tiny_la, tmp_path):
    for overrides, words in (
        (["model.n_components=307"], "306 frames of bona fide speech are too few for 307 components"),
        (["augment=[gain]"], "leave augment out"),
    ):
        with pytest.raises(InputError, match=words):
            run.train(tiny_run(tiny_la, tmp_path / words[:4], *GMM, *overrides))
    for overrides, words in (
        (["task.max_iterations=0"], "max_iterations=0: at least 1"),
        (["task.variance_floor=0"], "variance_floor=0: a share"),
    ):
        with pytest.raises((InputError, InstantiationException), match=words):
            run.train(tiny_run(tiny_la, tmp_path / words[:4], *GMM, *overrides))
    with pytest.raises(
        (InputError, InstantiationException), match="CNN: Gaussian mixtures were expected; set model=lfcc_gmm"
    ):
        run.train(tiny_run(tiny_la, tmp_path / "cnn", "model=cnn", "task=gmm"))


def test_a_file_that_cannot_be_read_stops_it_or_is_left_out(bare, tmp_path, caplog):
    lines = ["path,label,partition"]
    for partition in ("train", "dev"):
        for i in range(6):
            write_audio(tmp_path / f"{partition}{i}.wav", spoof=i % 2 == 1, seed=i)
            lines.append(f"{partition}{i}.wav,{('bonafide', 'spoof')[i % 2]},{partition}")
    (tmp_path / "train0.wav").write_bytes(b"RIFF")
    write_lines(tmp_path / "m.csv", *lines)
    small = ("seconds=0.5", "num_workers=0", "trainer.accelerator=cpu", *GMM)
    corpus = ("dataset=manifest", f"dataset.root={tmp_path}/m.csv")
    with pytest.raises(InputError, match=r"train0\.wav"):
        run.train(compose(*small, *corpus, f"run_dir={tmp_path}/a"))
    caplog.set_level(logging.INFO)
    run.train(compose(*small, *corpus, "dataset.on_bad_audio=skip", f"run_dir={tmp_path}/b"))
    assert "102 frames of bona fide speech, 153 of spoof" in caplog.text
