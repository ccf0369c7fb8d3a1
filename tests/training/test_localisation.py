from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from interrupted import train_until, train_without_report, with_any_workers
from omegaconf import OmegaConf
from sklearn.metrics import roc_auc_score
from tiny import TINY, compose, tiny_run, write_audio

from deepfake import run
from deepfake.datasets.corpus import Corpus
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.training.detection import Detection
from deepfake.training.localisation import bonafide_frames, frame_metrics

pytestmark = pytest.mark.usefixtures("undrawn")

FRAMES = ("model=frame_cnn", "task=localisation", "monitor=frame_eer", "optimizer.lr=1e-2")


@pytest.fixture(scope="module")
def located(tiny_la, tmp_path_factory):
    folder = tmp_path_factory.mktemp("located")
    run.train(tiny_run(tiny_la, folder, *FRAMES, "trainer.max_epochs=4"))
    return folder


def test_a_run_leaves_a_detector_that_judges_frames(located):
    detector = Detector.load(located)
    metrics = json.loads((located / "reports" / "metrics.json").read_text())
    assert detector.locates and detector.frames(torch.randn(2, 8000)).shape == (2, 25)
    assert metrics["frame_eer"] < 0.3 and 0.7 < metrics["frame_auc"] <= 1 and metrics["n_spoof"] == 6
    source = detector.config["frame_threshold"]["source"]
    assert source == "EER threshold of frames of asvspoof2019_la, partition dev"


@with_any_workers
def test_stopped_and_resumed_the_weights_are_the_same(located, tiny_la, tmp_path, workers):
    overrides = (*FRAMES, "trainer.max_epochs=4", f"num_workers={workers}")
    train_until(tiny_run(tiny_la, tmp_path, *overrides), epoch=2)
    train_without_report(compose(f"resume={tmp_path}"))
    ours, theirs = (torch.load(f / "detector.pt", weights_only=True) for f in (located, tmp_path))
    assert all(torch.equal(ours["state_dict"][name], theirs["state_dict"][name]) for name in ours["state_dict"])
    assert ours["config"]["frame_threshold"] == theirs["config"]["frame_threshold"]


def test_known_stretches_of_a_corpus_are_learnt(tmp_path):
    lines = ["file,start_s,end_s,system"]
    for partition in ("train", "dev"):
        for i in range(6):
            write_audio(tmp_path / partition / f"{partition}{i}.wav", spoof=i % 2 == 1, seed=i)
            lines.append(f"{partition}/{partition}{i}.wav,{'0.1,0.4,A01' if i % 2 else ',,-'}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    settings = ("dataset=spliced", f"dataset.root={tmp_path}", "seconds=0.5", "batch_size=4", "num_workers=0")
    cpu = ("trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.log_every_n_steps=1")
    run.train(compose(*settings, *cpu, *FRAMES, f"run_dir={tmp_path}/run"))
    assert Detector.load(tmp_path / "run").locates
    text = (tmp_path / "labels.csv").read_text()
    (tmp_path / "labels.csv").write_text("\n".join(line for line in text.splitlines() if "dev" not in line) + "\n")
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(InputError, match="no dev files"):
        run.train(compose(*settings, *cpu, *FRAMES, f"run_dir={tmp_path}/run"))


def test_in_a_mix_each_part_and_partition_keeps_its_own_stretches(tiny_la, tmp_path, monkeypatch):
    stretch = {"train": "0.1,0.3", "dev": "0.2,0.5"}  # of files that have the same names in both partitions
    lines = [f"{p}/x{i}.wav,{f'{stretch[p]},A01' if i % 2 else ',,-'}" for p in stretch for i in range(4)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,start_s,end_s,system", *lines]) + "\n")
    for partition in stretch:
        for i in range(4):
            write_audio(tmp_path / partition / f"x{i}.wav", spoof=False, seed=i, seconds=0.6)
    parts = ("+dataset@dataset.parts.cut=spliced", "+dataset@dataset.parts.la=asvspoof2019_la")
    roots = (f"dataset.parts.cut.root={tmp_path}", f"dataset.parts.la.root={tiny_la}")
    cfg = compose("dataset=mix", *parts, *roots, *TINY, *FRAMES, "seconds=0.6", f"run_dir={tmp_path}/run")
    config = OmegaConf.to_container(cfg, resolve=True)
    task, setup = run._composed(config, Corpus.of(config["dataset"]))
    monkeypatch.setattr(Detection, "fit", lambda self, setup: None)
    task.fit(setup)
    data = setup.datamodule
    data.prepare_data()
    for partition, loader in (("train", data.train_clips()), ("dev", data.dev_clips())):
        start, end = (round(100 * float(second)) for second in stretch[partition].split(","))
        (batch,) = loader
        for u, spoofed in zip(getattr(data, partition), batch["spoofed"].tolist(), strict=True):
            cut = [start <= i < end for i in range(60)] if u.id.startswith("cut-") else [True] * 60
            assert spoofed == (cut if u.label == 0 else [False] * 60), u.id


def test_a_network_of_whole_clips_is_refused(tiny_la, tmp_path):
    with pytest.raises(InstantiationException, match="CNN: a network of frames was expected; set model=frame_cnn"):
        run.train(tiny_run(tiny_la, tmp_path, "task=localisation"))


@pytest.mark.parametrize("augment", ["speed", "mixup"])
def test_what_changes_when_speech_is_spoofed_is_refused(tiny_la, tmp_path, augment):
    with pytest.raises(InputError, match=f"{augment.capitalize()} changes when speech is spoofed"):
        run.train(tiny_run(tiny_la, tmp_path, *FRAMES, f"augment=[{augment}]"))


def test_a_frame_is_spoofed_if_any_unit_of_it_is():
    spoofed = torch.zeros(1, 51, dtype=torch.bool)
    spoofed[0, 10] = spoofed[0, 50] = True
    labels = bonafide_frames(spoofed, 25)
    expected = [0 if any(int(np.floor(i * 51 / 25)) <= u < np.ceil((i + 1) * 51 / 25) for u in (10, 50)) else 1
                for i in range(25)]  # fmt: skip
    assert labels[0].tolist() == expected


def test_metrics_of_frames_are_those_of_all_of_them_in_one_pool():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (5, 40))
    frames = rng.normal(size=(5, 40)) + labels
    values, threshold = frame_metrics(frames, labels)
    assert values["frame_auc"] == pytest.approx(roc_auc_score(labels.ravel(), frames.ravel()))
    misses = np.mean(frames[labels == 1] <= threshold)
    assert values["frame_eer"] == pytest.approx(misses, abs=0.02)
