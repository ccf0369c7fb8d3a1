"""What a training is asked to choose and to obey: its best epoch, threshold, schedule, seeds, weights and score."""

from __future__ import annotations

import itertools
import math
import types

import numpy as np
import pytest
import torch
from interrupted import train_without_report
from omegaconf import OmegaConf
from small_detectors import noise, small
from tiny import compose, tiny_run

from deepfake import run
from deepfake.datasets.corpus import Corpus
from deepfake.datasets.utterance import Utterance
from deepfake.losses.bce import BCE
from deepfake.scores.table import read_scores
from deepfake.training.callbacks import SnapshotAveraging
from deepfake.training.detection import Detection
from deepfake.training.finish import best_weights, objective
from deepfake.training.localisation import Localisation
from deepfake.training.repeatable import Repeatable
from deepfake.training.train import begin

pytestmark = pytest.mark.usefixtures("undrawn")


def state(path):
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    ("monitor", "by_epoch"), [("eer", [0.3, 0.1, 0.4]), ("auc", [0.7, 0.9, 0.6]), ("accuracy", [0.6, 0.7, 0.5])]
)
def test_the_detector_has_the_weights_of_the_best_epoch_and_a_threshold_from_its_dev_scores(
    tiny_la, tmp_path, monkeypatch, monitor, by_epoch
):
    given = iter(by_epoch)
    named = {"eer": ("eer", lambda *_: (next(given), 0.0)), "auc": ("auc", lambda *_: next(given))}
    named["accuracy"] = ("at_threshold", lambda *_: {"accuracy": next(given)})
    name, metric = named[monitor]
    monkeypatch.setattr(f"deepfake.training.detection.{name}", metric)
    train_without_report(tiny_run(tiny_la, tmp_path, f"monitor={monitor}", "trainer.max_epochs=3"))
    best, last = (state(tmp_path / "checkpoints" / f"{name}.ckpt") for name in ("best", "last"))
    assert (best["epoch"], last["epoch"]) == (1, 2)
    detector = state(tmp_path / "detector.pt")
    weights = detector["state_dict"]
    assert all(torch.equal(value, best["state_dict"][f"detector.{key}"]) for key, value in weights.items())
    name = "model.blocks.0.0.weight"
    assert not torch.equal(weights[name], last["state_dict"][f"detector.{name}"])

    dev = read_scores(tmp_path / "scores" / "dev.csv")
    bonafide, spoof = dev.scores[dev.labels == 1], dev.scores[dev.labels == 0]

    def gap(threshold):
        return abs(np.mean(spoof > threshold) - np.mean(bonafide <= threshold))

    threshold = detector["config"]["threshold"]["value"]
    assert gap(threshold) <= min(gap(value) for value in dev.scores) < gap(0.0)
    assert dev.scores.min() <= threshold <= dev.scores.max()


@pytest.mark.parametrize("accumulated", [1, 3])
def test_a_schedule_lasts_as_long_as_the_training(tiny_la, tmp_path, accumulated):
    extra = ("optimizer.lr=0.001", f"trainer.accumulate_grad_batches={accumulated}", "scheduler.eta_min=0.0002")
    train_without_report(tiny_run(tiny_la, tmp_path, *extra))
    last = state(tmp_path / "checkpoints" / "last.ckpt")
    assert last["lr_schedulers"][0]["T_max"] == 6 // accumulated  # 12 utterances by 4, two epochs
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0.0002)


def test_a_schedule_by_total_steps_is_filled_and_one_that_is_given_is_kept():
    def sgd(parameters):
        return torch.optim.SGD(parameters, lr=0.5)

    module = Detection(torch.nn.Linear(1, 1), BCE(), sgd, None, monitor="dev/eer", seed=0)  # type: ignore[arg-type]
    steps = {"estimated_stepping_batches": 40, "num_training_batches": 10}
    module._trainer = types.SimpleNamespace(**steps)  # type: ignore[assignment]
    lengths = []
    for scheduler in (
        lambda optimizer, total_steps: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=total_steps),
        lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 7),
    ):
        module._scheduler = scheduler
        made = module.configure_optimizers()["lr_scheduler"]
        lengths.append(getattr(made["scheduler"], "total_steps", None))
        assert (made["interval"], made["frequency"]) == ("step", 1)
    assert lengths == [40, None]
    module._scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau
    made = module.configure_optimizers()["lr_scheduler"]
    assert (made["frequency"], made["monitor"]) == (10, "dev/eer")


def test_the_seed_decides_the_first_weights_the_dropout_and_the_draws(tiny_la, tmp_path):
    """Each alone, since any one of them makes two runs differ."""

    def parts(seed):
        config = OmegaConf.to_container(tiny_run(tiny_la, tmp_path / str(seed), f"seed={seed}"), resolve=True)
        corpus = Corpus.of(config["dataset"])
        begin(config)
        task, setup = run._composed(config, corpus)
        assert task._seed == setup.datamodule.seed == seed
        setup.datamodule.prepare_data()
        weights = next(task.detector.model.parameters()).detach().clone()
        return weights, list(setup.datamodule.train_dataloader().sampler)

    (weights, order), (again, same_order), (others, other_order) = (parts(seed) for seed in (3, 3, 4))
    assert torch.equal(weights, again) and order == same_order
    assert not torch.equal(weights, others) and order != other_order


def test_dropout_is_seeded_by_seed_epoch_step_and_rank():
    def drawn(seed, epoch, step, rank):
        module = Repeatable(torch.nn.Identity(), seed)  # type: ignore[arg-type]
        module._trainer = types.SimpleNamespace(current_epoch=epoch, global_rank=rank)  # type: ignore[assignment]
        module.on_train_batch_start(None, step)
        return torch.rand(1).item()

    places = list(itertools.product((0, 1), repeat=4))
    first = [drawn(*place) for place in places]
    assert first == [drawn(*place) for place in places] and len(set(first)) == 16


def test_the_subset_of_a_class_is_drawn_by_the_seed(tiny_la, tmp_path):
    def chosen(seed):
        cfg = tiny_run(tiny_la, tmp_path, f"seed={seed}", "dataset.per_class.train=2")
        data = run._composed(plain := OmegaConf.to_container(cfg, resolve=True), Corpus.of(plain["dataset"]))[
            1
        ].datamodule
        data._read()
        return tuple(u.id for u in data.train)

    assert chosen(1) == chosen(1) and len({chosen(seed) for seed in range(6)}) > 1


def test_averaged_weights_get_batch_norm_statistics_of_the_training_clips():
    module = Detection(small("cnn", "lfcc"), BCE(), torch.optim.SGD, None, monitor="dev/eer", seed=0)  # type: ignore[arg-type]
    averaging = SnapshotAveraging("dev/eer", "min")
    averaging._average_model = torch.optim.swa_utils.AveragedModel(module, use_buffers=False)
    averaging.n_snapshots = 1
    with torch.no_grad():  # the snapshot's first layer is that of the module times three
        first = averaging._average_model.module.detector.model.blocks[0][0]
        first.weight.mul_(3), first.bias.mul_(3) if first.bias is not None else None
    norm = next(m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d))
    momentum, seen = norm.momentum, []
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    clips = [{"waveform": level * noise(2.0, seed).view(4, 8000)} for seed, level in ((1, 1.0), (2, 4.0))]
    averaging.apply(module, clips)
    assert len(seen) == 2 and norm.momentum == momentum
    mean = sum(x.mean((0, 2, 3)) for x in seen) / 2
    variance = sum(x.var((0, 2, 3)) for x in seen) / 2
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(module.detector.model.blocks[0][0].weight, first.weight)


@pytest.mark.parametrize("clip_weight", [0.0, 0.3, 2.0])
def test_the_loss_of_localisation_is_that_of_frames_plus_clip_weight_times_that_of_clips(clip_weight):
    detector = small("frame_cnn", "lfcc")
    settings = {"monitor": "dev/eer", "seed": 0, "share": 0.7, "seconds": (0.2, 2.0)}
    module = Localisation(detector, BCE(), torch.optim.SGD, None, clip_weight=clip_weight, **settings).eval()
    waveform = 0.1 * torch.randn(3, 8000, generator=torch.Generator().manual_seed(0))
    spoofed = torch.zeros(3, 50, dtype=torch.bool)
    spoofed[1, 20:] = True
    with torch.no_grad():
        loss = module.loss_of({"waveform": waveform, "label": torch.tensor([1, 0, 1]), "spoofed": spoofed})
        frames = detector.frames(waveform).double()
        clips = detector.model.pooled(frames.float())[:, 0].double()
    bonafide = torch.ones(3, frames.shape[1])
    bonafide[1, int(20 * frames.shape[1] / 50) :] = 0
    of_frames = np.mean(np.logaddexp(0, np.where(bonafide == 1, -frames, frames)))
    of_clips = np.mean(np.logaddexp(0, np.where([True, False, True], -clips, clips)))
    assert float(loss) == pytest.approx(of_frames + clip_weight * of_clips, rel=1e-5)


@pytest.mark.parametrize(("score", "rate"), [("log_odds", 0.0), ("bonafide_logit", 1.0)])
def test_dev_is_judged_by_the_score_that_is_configured_and_its_loss_by_the_log_odds(score, rate):
    detector = small("aasist", "raw", f"score={score}")
    module = Detection(detector, BCE(), None, None, monitor="dev/eer", seed=0)  # type: ignore[arg-type]
    logits = torch.tensor([[-9.0, -3.0], [-5.0, -1.0], [2.0, 0.0], [9.0, 1.0]])  # spoof, bona fide
    labels = torch.tensor([1, 1, 0, 0])
    detector.logits = lambda waveform: logits  # type: ignore[method-assign]
    logged: dict[str, float] = {}
    module.log_dict = lambda values, **_: logged.update(values)  # type: ignore[method-assign]
    data = types.SimpleNamespace(dev=[Utterance(str(i), "", None) for i in range(4)])
    module._trainer = types.SimpleNamespace(world_size=1, datamodule=data)  # type: ignore[assignment]
    module.validation_step({"waveform": torch.zeros(4, 8), "index": torch.arange(4), "label": labels}, 0)
    module.on_validation_epoch_end()
    assert logged["dev/eer"] == rate and logged["dev/auc"] == 1 - rate
    losses = [math.log1p(math.exp(-margin)) for margin in (6, 4, 2, 8)]
    assert logged["dev/loss"] == pytest.approx(sum(losses) / 4, rel=1e-5)


def test_clips_weigh_three_tenths_of_frames_unless_asked_otherwise():
    config = compose("task=localisation", "model=frame_cnn", "run_dir=.").task
    assert (config.clip_weight, config.share, [*config.seconds]) == (0.3, 0.7, [0.2, 2.0])


@pytest.mark.parametrize(
    ("mode", "taken"), [("min", [True, True, False, True, False]), ("max", [True, True, True, False, False])]
)
def test_a_snapshot_is_taken_wherever_dev_ties_or_improves(mode, taken):
    averaging, found = SnapshotAveraging("dev/x", mode), []
    for value in (0.3, 0.3, 0.4, 0.2):
        averaging._trainer = types.SimpleNamespace(callback_metrics={"dev/x": value})  # type: ignore[assignment]
        averaging.on_validation_epoch_end(None, None)
        found.append(averaging.should_update(epoch_idx=0))
    found.append(averaging.should_update(epoch_idx=1))  # dev was not scored again
    assert found == taken and averaging.n_snapshots == 3


def test_a_metric_that_is_not_there_counts_as_the_worst_for_a_sweep():
    for value in (None, math.nan, math.inf):
        assert objective({"eer": value}, "dev/eer") == objective({"frame_eer": value}, "dev/frame_eer") == 1.0
        assert objective({"auc": value}, "dev/auc") == objective({"accuracy": value}, "dev/accuracy") == 0.0
    assert objective({"eer": 0.25, "auc": 0.75}, "dev/auc") == 0.75
    assert objective({"objective": 2.5}, "dev/eer") == 2.5


def test_averaged_weights_are_fitted_to_the_training_clips_and_win_over_the_best_checkpoint(tmp_path, monkeypatch):
    averaging, fitted = SnapshotAveraging("dev/eer", "min"), []
    monkeypatch.setattr(averaging, "apply", lambda module, clips: fitted.append((module, clips)))
    trainer = types.SimpleNamespace(callbacks=[averaging], lightning_module="task")
    data = types.SimpleNamespace(train_clips=lambda: "train", dev_clips=lambda: "dev")
    (tmp_path / "best.ckpt").write_bytes(b"never read")
    folder = types.SimpleNamespace(best_checkpoint=tmp_path / "best.ckpt")
    setup = types.SimpleNamespace(folder=folder, trainer=trainer, datamodule=data, config={"seed": 0})
    best_weights(setup, torch.nn.Identity())  # type: ignore[arg-type]
    assert fitted == [("task", "train")]
