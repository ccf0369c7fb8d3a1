"""WGAN-GP training: against a plain reference, stable, resumable, guarded, and what a detector takes from it."""

from __future__ import annotations

import copy
import csv
import json
import math
import warnings
from types import SimpleNamespace

import lightning
import numpy as np
import pytest
import torch
from children import python
from interrupted import train_until, train_without_report, with_any_workers
from lightning.pytorch.callbacks import Callback
from tiny import REPOSITORY, compose, tiny_run
from torch.utils.data import DataLoader

from deepfake import run
from deepfake.datasets.utterance import BONAFIDE, SPOOF
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.models.blocks.generator import Generator
from deepfake.training.warm_up import WarmUp
from deepfake.training.weights import init_from
from deepfake.training.wgan.divergence_guard import DivergenceGuard
from deepfake.training.wgan.gradient_penalty import gradient_norms
from deepfake.training.wgan.samples import waveform_of
from deepfake.training.wgan.task import WGANGP

pytestmark = pytest.mark.usefixtures("undrawn")

FEATURES = {"_target_": "deepfake.features.mel.Mel", "n_bands": 32, "n_fft": 512, "hop_length": 256}
MODEL = {"_target_": "deepfake.models.wgan_gp_critic.WGANGPCritic", "channels": [8, 8, 8], "attention_rows": 8}
SMALL = ["model.channels=[8,8,8]", "model.attention_rows=8", "features.n_bands=32", "features.n_fft=512"]
SMALL += ["features.hop_length=256"]
GAME = [*SMALL, "task.generator_channels=[8,8,8]", "task.noise_dim=4", "task.n_critic=2"]
GAME += ["experiment=wgan_gp_pretrain", "callbacks.networks.every_epochs=2"]


def detector_of(**model):
    config = {"features": FEATURES, "model": {**MODEL, "dropout": 0.0, **model}}
    return Detector({**config, "sample_rate": 16000, "seconds": 0.5, "score": "log_odds"})


def game_of(detector=None, **settings):
    torch.manual_seed(0)
    settings = {"noise_dim": 4, "generator_channels": (8, 8, 8), "generator_attention_rows": 8, **settings}
    game = WGANGP(detector or detector_of(), seconds=0.5, seed=3, **settings)
    for parameter in game.detector.model.parameters():
        if parameter.ndim == 0:
            parameter.data.fill_(0.3)  # the attention is to count
    return game


class Buzzes(lightning.LightningDataModule):
    """So many batches of buzzes in noise, the same in every epoch."""

    batch_seconds = None

    def __init__(self, n_batches, batch_size=4):
        super().__init__()
        rng = np.random.default_rng(1)
        pitch = rng.uniform(100, 300, (n_batches * batch_size, 1))
        waves = np.sign(np.sin(2 * np.pi * pitch * np.arange(8000) / 16000))
        self.waveforms = torch.tensor(waves + 0.3 * rng.standard_normal(waves.shape), dtype=torch.float32)
        self.train = [SimpleNamespace(label=SPOOF)] * len(waves)
        self.batch_size = batch_size

    def train_dataloader(self):
        rows = [{"waveform": waveform} for waveform in self.waveforms]
        return DataLoader(rows, batch_size=self.batch_size)  # type: ignore[arg-type]


def play(game, data, epochs=1, **settings):
    settings = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, **settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            accelerator="cpu", devices=1, max_epochs=epochs, enable_model_summary=False, **settings
        )
        trainer.fit(game, data)
    return game


def penalty_in_loops(critic, real, fake, epsilon):
    """Sample by sample, and its mean over the samples."""
    total, norms = 0.0, []
    for x, y, e in zip(real, fake, epsilon, strict=True):
        point = (e * x + (1 - e) * y).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(point[None])[0, 0], point, create_graph=True)
        norm = sum(gradient[c, f] ** 2 for c in range(gradient.shape[0]) for f in range(gradient.shape[1])) ** 0.5
        total = total + (norm - 1) ** 2
        norms.append(norm)
    return total / len(real), norms


def test_gradient_norms_against_a_loop_over_samples():
    critic = game_of().detector.model
    real, fake, epsilon = torch.randn(3, 32, 16), torch.randn(3, 32, 16), torch.rand(3)
    penalty, norms = penalty_in_loops(critic, real, fake, epsilon)
    fast = gradient_norms(critic, real, fake, epsilon)
    torch.testing.assert_close(fast, torch.stack(norms), rtol=1e-5, atol=1e-5)
    parameters = list(critic.parameters())
    slow_gradients = torch.autograd.grad(penalty, parameters, allow_unused=True, materialize_grads=True)
    loss = (fast - 1).square().mean()
    fast_gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    for a, b in zip(fast_gradients, slow_gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_gradient_norms_of_a_known_critic():
    weight = torch.randn(5, 7)
    real, fake = torch.randn(2, 3, 5, 7)
    linear = gradient_norms(lambda x: (x * weight).sum((1, 2)), real, fake, torch.rand(3))
    torch.testing.assert_close(linear, weight.norm().expand(3))
    epsilon = torch.tensor([0.0, 0.25, 1.0])
    square = gradient_norms(lambda x: x.square().sum((1, 2)) / 2, real, fake, epsilon)  # its gradient is the point
    points = torch.stack([fake[0], 0.25 * real[1] + 0.75 * fake[1], real[2]])
    torch.testing.assert_close(square, points.flatten(1).norm(dim=1))


def test_the_penalty_is_in_float32_under_autocast():
    critic = game_of().detector.model
    real, fake, epsilon = torch.randn(3, 32, 16), torch.randn(3, 32, 16), torch.rand(3)
    expected = gradient_norms(critic, real, fake, epsilon)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert critic(real).dtype == torch.bfloat16
        found = gradient_norms(critic, real.bfloat16().float(), fake, epsilon)
        assert torch.equal(gradient_norms(critic, real, fake, epsilon), expected)
    assert found.dtype == torch.float32


class PlainAdam:
    """Kingma and Ba (2015), algorithm 1, one number after the other being of no interest."""

    def __init__(self, parameters, lr, betas):
        self.parameters, self.lr, self.betas, self.t = parameters, lr, betas, 0
        self.m = [torch.zeros_like(p) for p in parameters]
        self.v = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self, gradients):
        self.t += 1
        (b1, b2), t = self.betas, self.t
        for p, g, m, v in zip(self.parameters, gradients, self.m, self.v, strict=True):
            m.copy_(b1 * m + (1 - b1) * g)
            v.copy_(b2 * v + (1 - b2) * g * g)
            p -= self.lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + 1e-8)


@pytest.mark.parametrize("betas", [(0.0, 0.9), (0.5, 0.99)])
def test_both_networks_steps_against_a_plain_reference(betas):
    """Five batches, in double precision: five steps of the critic, two of the generator, each sample by itself."""
    settings = {"n_critic": 2, "gp_weight": 7.0, "critic_lr": 1e-2, "generator_lr": 3e-3, "betas": betas}
    game, data = game_of(**settings).double(), Buzzes(5, batch_size=3)
    detector, generator = copy.deepcopy(game.detector), copy.deepcopy(game.generator).train()
    critic = detector.model
    of_critic = PlainAdam(list(critic.parameters()), 1e-2, betas)
    of_generator = PlainAdam(list(generator.parameters()), 3e-3, betas)
    play(game, data, precision="64-true")
    for batch_idx in range(5):
        seed = np.random.SeedSequence([3, 0, batch_idx, 0]).generate_state(1)[0]
        torch.manual_seed(int(seed))
        real = detector.features(data.waveforms[3 * batch_idx : 3 * batch_idx + 3].double())
        fake = generator(torch.randn(3, 4, dtype=torch.float64)).detach()
        epsilon = torch.rand(3, dtype=torch.float64)
        wasserstein = sum(critic(x[None])[0, 0] - critic(y[None])[0, 0] for x, y in zip(real, fake, strict=True)) / 3
        penalty, _ = penalty_in_loops(critic, real, fake, epsilon)
        of_critic.step(torch.autograd.grad(7.0 * penalty - wasserstein, of_critic.parameters))
        if batch_idx in (1, 3):
            fakes = generator(torch.randn(3, 4, dtype=torch.float64))
            loss = -sum(critic(y[None])[0, 0] for y in fakes) / 3
            of_generator.step(torch.autograd.grad(loss, of_generator.parameters))
    for name, (ours, theirs) in {
        "critic": (game.detector.model, critic),
        "generator": (game.generator, generator),
    }.items():
        for (key, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5, msg=lambda m, at=f"{name}.{key}": f"{at}: {m}")
    moved = (game.detector.model.head.weight - game_of(**settings).detector.model.head.weight).abs().max()
    assert moved > 1e-2  # a step that does nothing would pass too


def test_two_hundred_steps_stay_stable_and_the_generator_learns():
    game, data = game_of(critic_lr=2e-3, generator_lr=2e-3, n_critic=2), Buzzes(50)
    real = game.detector.features(data.waveforms).mean((0, 2))

    def gap():
        torch.manual_seed(1)
        with torch.no_grad():
            return float((game.generator(game.noise(32)).mean((0, 2)) - real).norm())

    before = gap()
    play(game, data, epochs=4)
    assert len(game.history) == 4 and gap() < 0.5 * before
    assert all(p.isfinite().all() for p in game.parameters())
    for row in game.history:
        assert all(math.isfinite(value) for value in row.values())
        assert abs(row["wasserstein"]) < 20 and 0 < row["gradient_norm"] < 2
    assert game.history[-1]["penalty"] < game.history[0]["penalty"]
    assert game.history[-1]["gradient_norm"] == pytest.approx(1, abs=0.3)


def test_mixed_precision_plays_too():
    game = play(game_of(), Buzzes(6), precision="bf16-mixed")
    assert game.detector.model.head.weight.dtype == torch.float32 and math.isfinite(game.history[0]["penalty"])


@pytest.fixture(scope="module")
def stage1(tiny_la, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stage1")
    objective = run.train(tiny_run(tiny_la, folder, *GAME, "trainer.max_epochs=4"))
    return folder, objective


def test_a_game_leaves_both_networks_its_figures_and_no_detector(stage1):
    folder, objective = stage1
    expected = "config.yaml critic.pt generator.pt checkpoints/last.ckpt reports/metrics.json reports/history.csv"
    expected += " reports/figures/losses.png"
    for n in ("0002", "0004"):
        expected += f" checkpoints/critic-{n}.pt checkpoints/generator-{n}.pt"
    assert [name for name in expected.split() if not (folder / name).is_file()] == []
    assert not (folder / "detector.pt").exists() and not (folder / "checkpoints" / "best.ckpt").exists()
    metrics = json.loads((folder / "reports" / "metrics.json").read_text())
    rows = list(csv.DictReader((folder / "reports" / "history.csv").open()))
    assert [row["epoch"] for row in rows] == list("0123")
    assert objective == metrics["objective"] == metrics["wasserstein"] == float(rows[-1]["wasserstein"])
    assert metrics["n_real"] == 6 and metrics["real_class"] == "spoof"  # of 12
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert len(checkpoint["optimizer_states"]) == 2
    assert checkpoint["global_step"] == 4 + 2  # the critic's and the generator's
    file = torch.load(folder / "generator.pt", weights_only=True)
    generator = Generator(**file["config"])
    generator.load_state_dict(file["state_dict"])
    assert generator(torch.randn(2, 4)).shape == (2, 32, 32)  # as the front end gives for 0.5 s
    critic = torch.load(folder / "critic.pt", weights_only=True)
    assert critic.keys() == {"format", "config", "state_dict", "sha256"} and critic["config"]["kind"] == "critic"
    assert critic["state_dict"]["features.normalise.fitted"]
    last = torch.load(folder / "checkpoints" / "critic-0004.pt", weights_only=True)
    assert all(torch.equal(critic["state_dict"][key], value) for key, value in last["state_dict"].items())


def test_tensorboard_shows_the_game(stage1):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tags: dict[str, set[str]] = {}
    for file in (stage1[0] / "tensorboard").rglob("events*"):
        for kind, names in EventAccumulator(str(file)).Reload().Tags().items():
            tags.setdefault(kind, set()).update(names if isinstance(names, list) else [])
    figures = ("critic_loss", "generator_loss", "wasserstein", "gradient_norm", "penalty")
    assert {f"train/{name}{end}" for name in figures for end in ("", "_epoch")} <= tags["scalars"]
    shown = {f"{tag}/{i}" for tag in ("real", "generated") for i in range(4)}
    assert shown <= tags["images"] and shown <= tags["audio"] and "game/losses" in tags["images"]


@with_any_workers
def test_stopped_and_resumed_a_game_ends_with_the_weights_of_an_uninterrupted_one(stage1, tiny_la, tmp_path, workers):
    overrides = (*GAME, "trainer.max_epochs=4", f"num_workers={workers}")
    train_until(tiny_run(tiny_la, tmp_path / "a", *overrides), epoch=2)
    assert not (tmp_path / "a" / "critic.pt").exists()
    (tmp_path / "a").rename(tmp_path / "b")
    assert run.train(compose(f"resume={tmp_path}/b")) == stage1[1]
    for name in ("critic.pt", "generator.pt", "checkpoints/last.ckpt"):
        whole, resumed = (torch.load(folder / name, weights_only=True) for folder in (stage1[0], tmp_path / "b"))
        assert all(torch.equal(value, resumed["state_dict"][key]) for key, value in whole["state_dict"].items())
    assert (tmp_path / "b/reports/history.csv").read_bytes() == (stage1[0] / "reports/history.csv").read_bytes()


@pytest.mark.parametrize(("real_class", "labels"), [("bonafide", {BONAFIDE}), ("all", {BONAFIDE, SPOOF})])
def test_the_real_side_is_the_class_that_was_asked_for(real_class, labels):
    game = game_of(real_class=real_class)
    utterances = [SimpleNamespace(label=label) for label in (SPOOF, BONAFIDE, SPOOF)]
    corpus = SimpleNamespace(name="x")
    game._trainer = SimpleNamespace(datamodule=SimpleNamespace(train=utterances, corpus=corpus, batch_seconds=None))
    game.setup("fit")
    assert {u.label for u in game._trainer.datamodule.train} == labels
    game._trainer.datamodule.train = utterances[:1]
    if real_class == "bonafide":
        with pytest.raises(InputError, match=r"no utterance is of task\.real_class=bonafide"):
            game.setup("fit")


def test_the_guard_stops_at_once_or_after_its_patience():
    guard = DivergenceGuard(("w", "n"), limit=10.0, patience=3)
    for w in (11.0, -12.0, 9.0, 11.0, -11.0):
        guard.check({"w": w, "n": 1.0, "loss": 1e9}, epoch=0)
        guard.check({"generator_loss": 1e9}, epoch=0)  # says nothing of what is watched
    with pytest.raises(
        InputError, match=r"the n is 50 in epoch 4, after 3 steps beyond task\.limit=10, .*task\.critic_lr"
    ):
        guard.check({"w": 11.0, "n": 50.0}, epoch=4)
    with pytest.raises(InputError, match="the critic loss became nan in epoch 1: lower"):
        guard.check({"w": 0.0, "n": 0.0, "critic_loss": math.nan}, epoch=1)
    with pytest.raises(InputError, match="above zero"):
        DivergenceGuard((), limit=0.0, patience=1)


def test_a_game_without_measure_stops_and_leaves_no_weight_that_is_not_finite(tiny_la, tmp_path):
    with pytest.raises(InputError, match=r"task\.critic_lr"):
        run.train(tiny_run(tiny_la, tmp_path, *GAME, "trainer.max_epochs=20", "task.critic_lr=1e38"))
    assert not (tmp_path / "critic.pt").exists()
    for file in (tmp_path / "checkpoints").glob("*"):
        state = torch.load(file, weights_only=True)["state_dict"]
        assert all(value.isfinite().all() for value in state.values()), file


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_no_step_is_taken_where_something_is_not_finite(what, monkeypatch):
    game = game_of()
    before = copy.deepcopy(game.state_dict())
    figures = WGANGP.critic_figures

    def spoilt(self, real):
        found = figures(self, real)
        loss = found["critic_loss"]
        if what == "gradient":  # a loss of finite value whose slope is not finite
            zero = self.detector.model.head.weight.sum() * 0
            return {**found, "critic_loss": loss + zero.abs().sqrt()}
        return {**found, "critic_loss": loss * math.inf}

    monkeypatch.setattr(WGANGP, "critic_figures", spoilt)
    with pytest.raises(InputError, match=f"the {'gradient of the ' if what == 'gradient' else ''}critic loss became"):
        play(game, Buzzes(1))
    for key, value in game.detector.model.state_dict().items():
        assert torch.equal(value, before[f"detector.model.{key}"])


@pytest.mark.parametrize(
    "wrong", [{"real_class": "fake"}, {"n_critic": 0}, {"critic_lr": 0.0}, {"gp_weight": -1.0}, {"betas": (0.9,)}]
)
def test_bad_settings(wrong):
    with pytest.raises(InputError, match=r"task\."):
        game_of(**wrong)


def test_another_model_and_a_bounded_head_are_refused():
    cnn = {"_target_": "deepfake.models.cnn.CNN", "channels": [4]}
    other = Detector({**detector_of().config, "model": cnn})
    for detector in (other, detector_of(head="cosine")):
        with pytest.raises(InputError, match=r"model=wgan_gp_critic with model\.head=linear was expected"):
            game_of(detector)


@pytest.mark.parametrize(
    "features",
    [
        {**FEATURES, "n_bands": 80, "n_fft": 1024},
        {**FEATURES, "n_bands": 80, "n_fft": 1024, "scale": "log", "normalise": "train_stats"},
        {"_target_": "deepfake.features.linear.LinearBands"},
    ],
)
def test_audio_out_of_features_has_them_again(features):
    front_end = Detector({**detector_of().config, "features": features}).features
    t = torch.arange(8000) / 16000
    waveform = 0.5 * torch.sin(2 * math.pi * torch.tensor([[440.0], [2500.0]]) * t)
    if front_end.normalise.mode == "train_stats":
        front_end.normalise.update(front_end.extract(waveform + 0.1 * torch.randn_like(waveform)))
        front_end.normalise.finish()
    audio = waveform_of(front_end, front_end(waveform))
    assert audio.abs().amax(1).tolist() == pytest.approx([0.9, 0.9])
    loudest = torch.fft.rfft(audio).abs().argmax(1) * 16000 / audio.shape[1]
    assert loudest.tolist() == pytest.approx([440, 2500], rel=0.1)


def test_features_that_have_no_way_back_give_no_audio():
    config = detector_of().config
    lfcc = Detector({**config, "features": {"_target_": "deepfake.features.lfcc.LFCC"}}).features
    own = Detector({**config, "features": {**FEATURES, "normalise": "utterance"}}).features
    assert waveform_of(lfcc, torch.randn(1, 60, 9)) is None and waveform_of(own, torch.randn(1, 32, 9)) is None


# ---------------------------------------------------------------- stage 2


def test_a_critic_gives_all_but_its_head(stage1, tmp_path):
    folder = stage1[0]
    critic = torch.load(folder / "critic.pt", weights_only=True)
    detectors = [Detector(critic["config"]) for _ in range(2)]
    for detector, source in zip(detectors, (folder, folder / "critic.pt"), strict=True):
        own = copy.deepcopy(detector.state_dict())
        left = init_from(detector, source)
        assert "model.head.weight" in " ".join(left)
        for name, value in detector.state_dict().items():
            expected = own if name.startswith("model.head.") else critic["state_dict"]
            assert torch.equal(value, expected[name]), name
    plain = Detector({k: v for k, v in critic["config"].items() if k != "kind"})
    plain.load_state_dict(critic["state_dict"])
    plain.save(tmp_path / "detector.pt")  # of a detector the head is taken
    assert init_from(detectors[0], tmp_path) == []
    assert torch.equal(detectors[0].model.head.weight, critic["state_dict"]["model.head.weight"])


FINE = ["experiment=wgan_gp_finetune", *SMALL, "trainer.max_epochs=3", "callbacks.warm_up.epochs=2"]


@pytest.fixture(scope="module")
def fine_tuned(stage1, tiny_la, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fine")
    return folder, run.train(tiny_run(tiny_la, folder, *FINE, f"init_from={stage1[0]}"))


def test_a_fine_tuned_critic_is_a_detector(stage1, fine_tuned):
    folder, auc = fine_tuned
    whole = torch.load(folder / "detector.pt", weights_only=True)
    assert "kind" not in whole["config"] and 0 <= auc <= 1
    assert auc == json.loads((folder / "reports/metrics.json").read_text())["auc"]
    mean = torch.load(stage1[0] / "critic.pt", weights_only=True)["state_dict"]["features.normalise.mean"]
    assert torch.equal(whole["state_dict"]["features.normalise.mean"], mean)


@with_any_workers
def test_a_fine_tuning_resumes_exactly(stage1, fine_tuned, tiny_la, tmp_path, workers):
    overrides = (*FINE, f"init_from={stage1[0]}", f"num_workers={workers}")
    train_until(tiny_run(tiny_la, tmp_path, *overrides), epoch=1, step=1)  # within the warm-up
    train_without_report(compose(f"resume={tmp_path}"))
    for name in ("detector.pt", "checkpoints/last.ckpt"):
        a, b = (torch.load(folder / name, weights_only=True) for folder in (fine_tuned[0], tmp_path))
        assert all(torch.equal(value, b["state_dict"][key]) for key, value in a["state_dict"].items())


class Kept(Callback):
    def __init__(self):
        self.weights = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.weights.append(copy.deepcopy(pl_module.detector.state_dict()))

    def on_train_end(self, trainer, pl_module):
        self.on_train_epoch_start(trainer, pl_module)


class Learner(lightning.LightningModule):
    """A convolution with batch norm, and a head."""

    def __init__(self):
        super().__init__()
        cnn = {"_target_": "deepfake.models.cnn.CNN", "channels": [4], "dropout": 0.0}
        self.detector = Detector({**detector_of().config, "model": cnn})

    def training_step(self, batch, batch_idx):
        return self.detector.logits(batch["waveform"]).square().mean() + self.detector.logits(batch["waveform"]).mean()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2, weight_decay=0.1)


@pytest.mark.parametrize("epochs", [0, 2])
def test_while_it_warms_up_the_head_alone_moves(epochs):
    kept = Kept()
    play(Learner(), Buzzes(2), epochs=3, callbacks=[kept, WarmUp(epochs)], gradient_clip_val=1.0)
    for i, (before, after) in enumerate(zip(kept.weights, kept.weights[1:], strict=False)):
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert {"model.head.weight", "model.head.bias"} <= changed
        rest = {name for name in changed if not name.startswith("model.head.")}
        if i < epochs:
            assert not rest
        else:
            assert rest == {name for name in before if not name.startswith("model.head.")}


# ---------------------------------------------------------------- several processes

DDP = """
import sys, copy, lightning, numpy as np, torch
sys.path.insert(0, {tests!r})
from training.wgan.test_task import Buzzes, game_of
from torch.utils.data import DataLoader

class Shards(Buzzes):
    def train_dataloader(self):
        rows = [{{"waveform": w}} for w in self.waveforms[self.trainer.global_rank :: 2]]
        return DataLoader(rows, batch_size=2)

class Out(lightning.Callback):
    def on_train_end(self, trainer, game):
        mine = torch.nn.utils.parameters_to_vector(game.parameters())
        torch.save((mine, game.history), f"{out}/{{trainer.global_rank}}.pt")

trainer = lightning.Trainer(
    accelerator="cpu", devices=2, strategy="ddp_fork", max_epochs=1, logger=False, enable_checkpointing=False,
    enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, callbacks=[Out()],
)
trainer.fit(game_of(n_critic=2, critic_lr=1e-2, generator_lr=1e-2), Shards(2))
"""


def test_two_processes_step_down_the_mean_of_their_gradients(tmp_path):
    code = DDP.format(tests=str(REPOSITORY / "tests"), out=tmp_path)
    done = python("-c", code)
    assert done.returncode == 0, done.stderr[-3000:]
    (first, history), (second, other) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert torch.equal(first, second) and history == other
    game, data = game_of(n_critic=2, critic_lr=1e-2, generator_lr=1e-2), Buzzes(2)
    of_critic = PlainAdam(list(game.detector.model.parameters()), 1e-2, (0.0, 0.9))
    of_generator = PlainAdam(list(game.generator.parameters()), 1e-2, (0.0, 0.9))
    for batch_idx in range(2):
        states = []

        def mean(adam, figures, n, states=states, batch_idx=batch_idx):
            total = None
            for rank in (0, 1):
                if n == 0:
                    seed = np.random.SeedSequence([3, 0, batch_idx, rank]).generate_state(1)[0]
                    torch.manual_seed(int(seed))
                else:
                    torch.set_rng_state(states[rank])
                loss = figures(rank)
                states.append(torch.get_rng_state())
                gradients = torch.autograd.grad(loss, adam.parameters)
                total = gradients if total is None else [a + b for a, b in zip(total, gradients, strict=True)]
            adam.step([g / 2 for g in total])

        def critic_loss(rank, batch_idx=batch_idx):
            real = game.detector.features(data.waveforms[rank::2][2 * batch_idx : 2 * batch_idx + 2])
            return game.critic_figures(real)["critic_loss"]

        mean(of_critic, critic_loss, 0)
        if batch_idx == 1:
            mean(of_generator, lambda rank: game.generator_figures(2)["generator_loss"], 1)
    expected = torch.nn.utils.parameters_to_vector(game.parameters())
    assert (first - expected).abs().quantile(
        0.99
    ) < 1e-5  # Adam's first steps blow rounding up where a slope is nearly 0
