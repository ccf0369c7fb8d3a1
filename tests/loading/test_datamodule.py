from __future__ import annotations

import csv
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from interrupted import train_until, train_without_report, with_any_workers
from omegaconf import OmegaConf
from tiny import TINY, compose, tiny_run, write_audio

from deepfake import run
from deepfake.datasets.corpus import Corpus
from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError
from deepfake.loading.item import Clips, collate

pytestmark = pytest.mark.usefixtures("undrawn")


def data_of(cfg):
    plain = OmegaConf.to_container(cfg, resolve=True)
    _, setup = run._composed(plain, Corpus.of(plain["dataset"]))
    return setup.datamodule


def module(tiny_la, tmp_path, *overrides):
    return data_of(tiny_run(tiny_la, tmp_path / "run", *overrides))


def test_batches_are_clips_of_the_right_length(tiny_la, tmp_path):
    data = module(tiny_la, tmp_path, "train_seconds=0.3")
    data.prepare_data()
    batch = next(iter(data.train_dataloader()))
    assert batch["waveform"].shape == (4, 4800) and batch["waveform"].dtype == torch.float32
    assert len(list(data.train_dataloader())) == 3
    dev = list(data.val_dataloader())
    assert dev[0]["waveform"].shape == (12, 8000)
    assert dev[0]["index"].tolist() == list(range(12)) and dev[0]["label"].tolist() == [1, 0] * 6


def test_the_number_of_workers_changes_nothing(tiny_la, tmp_path):
    batches = []
    for workers in (0, 2):
        data = module(tiny_la, tmp_path, f"num_workers={workers}", "train_seconds=0.3")
        data.prepare_data()
        loader = data.train_dataloader()
        loader.sampler.set_epoch(3)
        batches.append(list(loader))
    for one, other in zip(*batches, strict=True):
        assert torch.equal(one["waveform"], other["waveform"]) and torch.equal(one["index"], other["index"])


def test_a_partition_smaller_than_a_batch_still_trains(tiny_la, tmp_path):
    data = module(tiny_la, tmp_path, "batch_size=100")
    data.prepare_data()
    (batch,) = data.train_dataloader()
    assert len(batch["label"]) == 12


def test_the_eval_partition_is_not_read(tiny_la, tmp_path):
    shutil.copytree(tiny_la, tmp_path / "LA")
    shutil.rmtree(tmp_path / "LA" / "ASVspoof2019_LA_eval")
    data = module(tmp_path / "LA", tmp_path)
    data.prepare_data()
    assert sorted(p.name for p in (tmp_path / "run" / "manifests").iterdir()) == ["dev.csv", "train.csv"]


def test_balanced_subsets_land_in_the_manifests(tiny_la, tmp_path):
    data = module(tiny_la, tmp_path, "dataset.per_class.train=2")
    data.prepare_data()
    rows = list(csv.DictReader((tmp_path / "run" / "manifests" / "train.csv").open()))
    assert sorted(row["label"] for row in rows) == ["0", "0", "1", "1"]


@pytest.fixture
def damaged(tiny_la, tmp_path):
    shutil.copytree(tiny_la, tmp_path / "LA")
    soundfile.write(tmp_path / "LA/ASVspoof2019_LA_train/flac/LA_T_1000003.flac", np.zeros(0), 16000)
    return tmp_path / "LA"


def test_bad_audio_is_skipped_counted_and_listed(damaged, tmp_path):
    data = module(damaged, tmp_path, "dataset.on_bad_audio=skip", "num_workers=1")
    data.prepare_data()
    assert len(data.train) == 11 and len(data.dev) == 12
    (row,) = csv.DictReader((tmp_path / "run" / "skipped.csv").open())
    assert row["utterance"] == "LA_T_1000003" and "LA_T_1000003.flac" in row["error"]


def test_bad_audio_stops_training_with_one_sentence(damaged, tmp_path):
    with pytest.raises(InputError, match=r"LA_T_1000003.flac.*on_bad_audio=skip"):
        run.train(tiny_run(damaged, tmp_path / "run", "num_workers=1"))


def test_one_class_only_is_refused(tiny_la, tmp_path):
    shutil.copytree(tiny_la, tmp_path / "LA")
    protocol = tmp_path / "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt"
    protocol.write_text("".join(line for line in protocol.read_text().splitlines(True) if "bonafide" in line))
    with pytest.raises(InputError, match="partition train: all 6 utterances are of one class, none is spoofed"):
        module(tmp_path / "LA", tmp_path).prepare_data()


def test_speakers_in_both_partitions_are_warned_about(tiny_la, tmp_path, caplog):
    shutil.copytree(tiny_la, tmp_path / "LA")
    protocol = tmp_path / "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.dev.trl.txt"
    protocol.write_text(protocol.read_text().replace("LA_1000", "LA_0000"))
    module(tmp_path / "LA", tmp_path).prepare_data()
    assert "1 speakers are in both train and dev (LA_0000" in caplog.text


def test_an_unknown_policy_is_refused(tiny_la, tmp_path):
    with pytest.raises(InputError, match="raise or skip"):
        module(tiny_la, tmp_path, "dataset.on_bad_audio=ignore")


def mixed(tiny_la, tmp_path, *overrides):
    """The tiny corpus and a folder of eight other files, of which one in three draws is to be."""
    for partition in ("train", "dev", "eval"):
        for i in range(8):
            name = f"{partition}/{'fake' if i % 2 else 'real'}/{i}.wav"
            write_audio(tmp_path / "folder" / name, spoof=i % 2 == 1, seed=i + len(partition))
    parts = [f"+dataset@dataset.parts.{name}={corpus}" for name, corpus in (("la", "asvspoof2019_la"), ("f", "folder"))]
    roots = [f"dataset.parts.la.root={tiny_la}", f"dataset.parts.f.root={tmp_path / 'folder'}"]
    mix = ("dataset=mix", *parts, *roots, "dataset.weights={la: 1, f: 0.5}")
    return compose(f"run_dir={tmp_path / 'run'}", *mix, *TINY, *overrides)


def test_a_mix_is_drawn_by_its_weights_with_any_number_of_workers(tiny_la, tmp_path):
    epochs = []
    for workers in (0, 2):
        data = data_of(mixed(tiny_la, tmp_path, f"num_workers={workers}", "train_seconds=0.3"))
        data.prepare_data()
        loader = data.train_dataloader()
        loader.sampler.set_epoch(1)
        epochs.append(list(loader))
    for one, other in zip(*epochs, strict=True):
        assert torch.equal(one["waveform"], other["waveform"]) and torch.equal(one["index"], other["index"])
    indices = torch.cat([batch["index"] for batch in epochs[0]]).tolist()
    assert len(indices) == 20 and len(set(indices)) < 20  # as many draws as utterances, with replacement
    assert sum(len(batch["index"]) for batch in data.val_dataloader()) == 20
    rows = list(csv.DictReader((tmp_path / "run" / "manifests" / "train.csv").open()))
    shares = {name: sum(float(r["weight"]) for r in rows if r["corpus"] == name) for name in ("la", "f")}
    assert shares["la"] == pytest.approx(2 * shares["f"]) and rows[0]["id"] == "la-LA_T_1000000"


def test_what_is_never_drawn_does_not_count_as_training_data(tiny_la, tmp_path):
    write_audio(tmp_path / "real.wav", spoof=False, seed=0)
    write_audio(tmp_path / "fake.wav", spoof=True, seed=0)
    (tmp_path / "m.csv").write_text("path,label,weight\nreal.wav,1,0\nfake.wav,0,1\n")
    data = data_of(compose("dataset=manifest", f"dataset.root={tmp_path}/m.csv", f"run_dir={tmp_path}", *TINY))
    with pytest.raises(InputError, match="partition train: all 1 utterances are of one class, none is bona fide"):
        data.prepare_data()


@with_any_workers
def test_a_run_on_a_mix_resumes_exactly(tiny_la, tmp_path, workers):
    train_without_report(mixed(tiny_la, tmp_path, f"run_dir={tmp_path / 'whole'}"))
    train_until(mixed(tiny_la, tmp_path, f"num_workers={workers}"), epoch=1)
    train_without_report(compose(f"resume={tmp_path / 'run'}"))
    whole, resumed = (torch.load(tmp_path / f"{name}/detector.pt", weights_only=True) for name in ("whole", "run"))
    assert all(torch.equal(value, resumed["state_dict"][key]) for key, value in whole["state_dict"].items())


def test_a_run_on_a_mix_is_evaluated(tiny_la, tmp_path):
    train_without_report(mixed(tiny_la, tmp_path, "trainer.max_epochs=1"))
    metrics = run.evaluate(compose(f"run={tmp_path / 'run'}", "num_workers=0", config="evaluate"))
    assert (metrics["n_bonafide"], metrics["n_spoof"], metrics["dataset"]) == (10, 10, "mix")
    assert metrics["min_tdcf"] is not None


def test_both_classes_are_drawn_as_asked_for_in_each_epoch_anew(tiny_la, tmp_path):
    protocol = (
        shutil.copytree(tiny_la, tmp_path / "LA") / "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt"
    )
    lines = protocol.read_text().splitlines()
    protocol.write_text(
        "\n".join([line for line in lines if "spoof" in line] + lines[:1]) + "\n"
    )  # one bona fide, 6 spoof
    epochs = []
    for share in ("null", "0.2", "0.5"):
        data = module(tmp_path / "LA", tmp_path / share, f"bonafide_share={share}", "batch_size=7")
        data.prepare_data()
        sampler = data.train_dataloader().sampler
        drawn = []
        for epoch in range(60):
            sampler.set_epoch(epoch)
            drawn.append([data.train[i].label for i, _ in sampler])
        epochs.append(drawn)
    assert all(sum(drawn) == 1 for drawn in epochs[0])
    assert [np.mean(drawn) for drawn in epochs[1:]] == pytest.approx([0.2, 0.5], abs=0.1)
    assert len({tuple(d) for d in epochs[2]}) > 30
    with pytest.raises(InputError, match=r"bonafide_share=1\.0"):
        module(tiny_la, tmp_path / "x", "bonafide_share=1.0")


def test_augmentations_are_a_function_of_the_item_and_leave_scoring_alone(tiny_la, tmp_path):
    data = module(tiny_la, tmp_path)
    data.prepare_data()
    plain = [batch["waveform"] for batch in data.val_dataloader()]
    data.in_loader = [lambda clip, rng: clip + rng.normal(), lambda clip, rng: 2 * clip]
    first, again = (next(iter(data.train_dataloader())) for _ in range(2))
    assert torch.equal(first["waveform"], again["waveform"])
    data.in_loader = []
    before = next(iter(data.train_dataloader()))
    expected = [2 * (x + np.random.default_rng([int(seed), 1]).normal()) for x, seed in zip(*(before[k] for k in (
        "waveform", "seed")), strict=True)]  # fmt: skip
    torch.testing.assert_close(first["waveform"], torch.stack(expected).float())
    assert all(torch.equal(a, b["waveform"]) for a, b in zip(plain, data.val_dataloader(), strict=True))


@pytest.mark.parametrize("column", ["id", "label"])
def test_a_resumed_run_wants_the_very_utterances_and_classes_that_it_began_with(tiny_la, tmp_path, column):
    module(tiny_la, tmp_path).prepare_data()
    module(tiny_la, tmp_path).prepare_data()  # the same ones are welcome
    manifest = tmp_path / "run" / "manifests" / "dev.csv"
    header, *rows = csv.reader(manifest.open())
    rows[3][header.index(column)] = {"id": "LA_D_9", "label": "1"}[column]
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    with pytest.raises(InputError, match=r"dev\.csv: the corpus no longer gives the utterances that this run"):
        module(tiny_la, tmp_path).prepare_data()


def test_a_clip_of_an_unknown_class_is_labelled_minus_one(tmp_path):
    path = str(write_audio(tmp_path / "a.wav", spoof=False, seed=0))
    clips = Clips([Utterance("a", path, label) for label in (None, 0, 1)], n_samples=160, sample_rate=16000)
    assert collate([clips[i, None] for i in range(3)])["label"].tolist() == [-1, 0, 1]


def test_augmentations_on_the_device_draw_from_each_clips_own_seed_and_in_training_alone(tiny_la, tmp_path):
    data, drawn = module(tiny_la, tmp_path), []

    def augment(waveform, label, rngs):
        drawn.append([rng.normal() for rng in rngs])
        return 2 * waveform, label

    data.on_device = [augment]
    for training in (True, False):
        data.trainer = SimpleNamespace(training=training)
        batch = {"waveform": torch.ones(2, 3), "label": torch.tensor([1, 0]), "seed": torch.tensor([7, 9])}
        made = data.on_after_batch_transfer(batch, 0)["waveform"]
        assert torch.equal(made, torch.full((2, 3), 2.0 if training else 1.0))
    assert drawn == [[np.random.default_rng([seed, 2]).normal() for seed in (7, 9)]]


def test_what_does_not_fill_a_batch_is_left_out_of_training_but_not_of_scoring(tiny_la, tmp_path):
    data = module(tiny_la, tmp_path, "batch_size=5", "score_batch_size=5")
    data.prepare_data()
    assert [len(batch["label"]) for batch in data.train_dataloader()] == [5, 5]
    assert [len(batch["label"]) for batch in data.val_dataloader()] == [5, 5, 2]
