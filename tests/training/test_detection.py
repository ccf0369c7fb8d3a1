"""Training: the same seed twice, stop and resume, every dev utterance once, losses, schedules, averaging."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from children import python
from interrupted import Stop, stop_at_once, train_until, train_without_report, with_any_workers
from ranks import two_fresh_ranks
from small_detectors import SMALL, sizes
from tiny import REPOSITORY, TINY, compose, tiny_run

from deepfake import run
from deepfake.datasets.utterance import Utterance
from deepfake.detector import Detector
from deepfake.errors import InputError, sentence
from deepfake.losses.bce import BCE
from deepfake.scores.compute import score
from deepfake.scores.table import read_scores
from deepfake.training.detection import eer_by_corpus

pytestmark = pytest.mark.usefixtures("undrawn")


def weights(folder, name="detector.pt"):
    return torch.load(folder / name, weights_only=True)["state_dict"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_folder_is_complete(run_folder):
    expected = (
        "config.yaml environment.json detector.pt checkpoints/best.ckpt checkpoints/last.ckpt manifests/train.csv"
    )
    expected += " manifests/dev.csv scores/dev.csv reports/metrics.json reports/report.html reports/figures/det.png"
    assert [p for p in expected.split() if not (run_folder / p).is_file()] == []
    metrics = json.loads((run_folder / "reports" / "metrics.json").read_text())
    assert metrics["n_bonafide"] == metrics["n_spoof"] == 6 and metrics["min_tdcf"] is not None
    config = yaml.safe_load((run_folder / "config.yaml").read_text())
    assert (
        config["model"]["_target_"] == "deepfake.models.cnn.CNN"
        and "${" not in (run_folder / "config.yaml").read_text()
    )
    environment = json.loads((run_folder / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0] and environment["seed"] == 0
    for name in ("best", "last"):
        checkpoint = torch.load(run_folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert checkpoint["config"] == config


def test_dev_scores_are_those_of_the_detector_file(run_folder):
    written = read_scores(run_folder / "scores" / "dev.csv")
    detector = Detector.load(run_folder)
    from deepfake.datasets.manifest import utterances

    dev = utterances("dev", root=str(run_folder / "manifests"))
    again, _, seconds = score(detector, dev, batch_size=32)
    assert written.ids == [u.id for u in dev] and seconds == len(dev) * 0.5  # of the clips
    np.testing.assert_allclose(written.scores, again.scores, atol=1e-6)
    assert detector.config["threshold"]["source"] == "EER threshold of asvspoof2019_la, partition dev"


def test_tensorboard_holds_what_it_should(run_folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = list((run_folder / "tensorboard").rglob("events*"))
    tags: dict[str, set[str]] = {}
    for file in files:
        board = EventAccumulator(str(file)).Reload()
        for kind, names in board.Tags().items():
            tags.setdefault(kind, set()).update(names if isinstance(names, list) else [])
    assert {"train/loss", "dev/loss", "dev/eer", "dev/auc", "lr-Adam", "dev_final/eer"} <= tags["scalars"]
    assert {"dev_scores/spoof", "dev_scores/bonafide"} <= tags["histograms"]
    assert {"dev_final/det", "dev_final/roc", "input/0_bonafide"} <= tags["images"]
    assert "input/0_bonafide" in tags["audio"]
    assert "config/text_summary" in tags["tensors"]


def test_the_same_seed_twice_gives_the_same_weights(tiny_la, tmp_path):
    runs = [tmp_path / n for n in ("a", "b", "c")]
    objectives = [
        train_without_report(tiny_run(tiny_la, r, f"seed={seed}", "num_workers=1"))
        for r, seed in zip(runs, (7, 7, 8), strict=True)
    ]
    assert same(weights(runs[0]), weights(runs[1])) and objectives[0] == objectives[1]
    assert not same(weights(runs[0]), weights(runs[2]))


AUGMENTATIONS = sorted(path.stem for path in (REPOSITORY / "conf" / "augment").glob("*.yaml"))


@pytest.fixture(scope="module")
def uninterrupted(request, tiny_la, tmp_path_factory):
    """The overrides of a run without loader processes, and its folder."""
    overrides = (*request.param, "trainer.max_epochs=4", "model.dropout=0.3", "features.normalise=train_stats")
    folder = tmp_path_factory.mktemp("whole")
    train_without_report(tiny_run(tiny_la, folder, *overrides))
    return overrides, folder


@with_any_workers
@pytest.mark.parametrize(
    "uninterrupted",
    [
        ("scheduler=cosine",),
        ("scheduler=plateau", "scheduler.patience=0", "optimizer=adamw"),
        ("callbacks=snapshot_averaging",),
        ("model=lcnn", *SMALL["lcnn"], "trainer.check_val_every_n_epoch=3"),
        ("model=bimodal", *SMALL["bimodal"]),
        ("model=ssl_linear", *sizes("xlsr_300m"), "features.freeze=first_1", "features.pool=gate"),
        (f"augment=[{','.join(AUGMENTATIONS)}]", "bonafide_share=0.5", "augment.codec.codecs=[mulaw,g722]"),
    ],
    ids="-".join,
    indirect=True,
)
def test_stopped_and_resumed_ends_with_the_weights_of_an_uninterrupted_run(uninterrupted, tiny_la, tmp_path, workers):
    overrides, whole = uninterrupted
    halved, moved = tmp_path / "halved", tmp_path / "moved, elsewhere"
    train_until(tiny_run(tiny_la, halved, *overrides, f"num_workers={workers}"), epoch=2, step=1)
    assert not (halved / "detector.pt").exists()
    halved.rename(moved)
    train_without_report(compose(f"resume='{moved}'"))
    assert same(weights(whole), weights(moved))
    assert same(weights(whole, "checkpoints/last.ckpt"), weights(moved, "checkpoints/last.ckpt"))
    assert not halved.exists()


@with_any_workers
def test_stopped_before_the_first_checkpoint_a_run_still_starts_from_its_weights(
    tiny_la, tmp_path, run_folder, workers
):
    overrides = (f"init_from={run_folder}", "trainer.max_epochs=1", f"num_workers={workers}")
    train_without_report(tiny_run(tiny_la, tmp_path / "whole", *overrides))
    train_until(tiny_run(tiny_la, tmp_path / "stopped", *overrides), epoch=0)
    train_without_report(compose(f"resume={tmp_path}/stopped"))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))


@with_any_workers
@pytest.mark.parametrize(
    "uninterrupted",
    [("callbacks=snapshot_averaging",), ("callbacks.early_stopping.patience=1", "optimizer.lr=1e-9")],
    ids="-".join,
    indirect=True,
)
def test_stopped_behind_the_last_epoch_a_run_ends_as_if_it_had_not_been(
    uninterrupted, tiny_la, tmp_path, monkeypatch, workers
):
    overrides, whole = uninterrupted
    with monkeypatch.context() as patch:
        patch.setattr("deepfake.training.detection.finish", stop_at_once)
        with pytest.raises(Stop):
            run.train(tiny_run(tiny_la, tmp_path, *overrides, f"num_workers={workers}"))
    train_without_report(compose(f"resume={tmp_path}"))
    for name in ("detector.pt", "checkpoints/last.ckpt"):
        assert same(weights(whole, name), weights(tmp_path, name))
    resumed = json.loads((tmp_path / "environment.json").read_text())["resumed"]
    assert len(resumed) == 1


def test_a_resumed_run_refuses_another_corpus(tiny_la, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("deepfake.training.detection.finish", stop_at_once)
        with pytest.raises(Stop):
            run.train(tiny_run(tiny_la, tmp_path, "trainer.max_epochs=1"))
    manifest = tmp_path / "manifests" / "train.csv"
    manifest.write_text("\n".join(manifest.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(InputError, match="no longer gives the utterances"):
        run.train(compose(f"resume={tmp_path}"))


def test_a_folder_that_holds_a_run_is_not_written_over(tiny_la, run_folder):
    with pytest.raises(InputError, match=r"holds a run already: `python train.py resume="):
        run.train(tiny_run(tiny_la, run_folder))


def test_a_finished_run_is_not_trained_again(run_folder, capsys):
    before = (run_folder / "detector.pt").stat().st_mtime_ns
    assert (
        run.train(compose(f"resume='{run_folder}'"))
        == json.loads((run_folder / "reports/metrics.json").read_text())["eer"]
    )
    assert (run_folder / "detector.pt").stat().st_mtime_ns == before
    assert capsys.readouterr().out.splitlines()[-1] == str(run_folder)


@pytest.mark.parametrize("loss", ["cross_entropy", "bce", "focal", "oc_softmax"])
def test_every_loss_trains(tiny_la, tmp_path, loss):
    longer = ("trainer.max_epochs=6", "optimizer.lr=1e-2")
    assert train_without_report(tiny_run(tiny_la, tmp_path, f"loss={loss}", *longer)) == 0.0


@pytest.mark.parametrize(
    "model",
    [
        "aasist_l",
        "cnn_bilstm",
        "frame_cnn",
        "lcnn",
        "bimodal",
        "wgan_gp_critic",
        "rawnet2",
    ],
)
def test_every_model_trains_and_is_judged(tiny_la, tmp_path, model):
    overrides = (f"model={model}", *SMALL[model], "trainer.max_epochs=1", "seconds=0.6")
    train_without_report(tiny_run(tiny_la, tmp_path, *overrides))
    metrics = run.evaluate(compose(f"run={tmp_path}", "num_workers=0", "bootstrap.n=0", config="evaluate"))
    assert metrics["n_spoof"] == 6 and set(metrics["by_attack"]) == {"A07"}


@pytest.mark.parametrize(("monitor", "key"), [("auc", "auc"), ("accuracy", "accuracy")])
def test_the_objective_is_the_monitored_metric(tiny_la, tmp_path, monitor, key):
    value = run.train(tiny_run(tiny_la, tmp_path, f"monitor={monitor}", "trainer.max_epochs=1"))
    assert value == json.loads((tmp_path / "reports/metrics.json").read_text())[key]


def test_mixed_precision_accumulation_and_clipping_train(tiny_la, tmp_path):
    extra = ("trainer.precision=bf16-mixed", "trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=1.0")
    longer = ("trainer.max_epochs=6", "optimizer.lr=1e-2")
    assert train_without_report(tiny_run(tiny_la, tmp_path, *extra, *longer)) == 0.0
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 12  # of 3 batches an epoch two make a step, and the third alone


def test_a_runs_manifests_are_a_corpus(tiny_la, tmp_path):
    train_without_report(
        tiny_run(tiny_la, tmp_path / "a", "dataset.per_class={train: 4, dev: 3}", "trainer.max_epochs=1")
    )
    listed = ("dataset=manifest", f"dataset.root={tmp_path}/a/manifests", f"run_dir={tmp_path}/b", *TINY)
    train_without_report(compose(*listed, "trainer.max_epochs=1"))
    assert weights(tmp_path / "a").keys() and same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert len(read_scores(tmp_path / "b" / "scores" / "dev.csv")) == 6


def test_init_from_starts_from_another_runs_weights(tiny_la, tmp_path, run_folder):
    train_without_report(
        tiny_run(tiny_la, tmp_path, f"init_from={run_folder}", "optimizer.lr=1e-12", "trainer.max_epochs=1")
    )
    old, new = weights(run_folder), weights(tmp_path)
    learnt = [k for k in old if k.endswith("weight")]
    assert all(torch.allclose(old[k], new[k], atol=1e-6) for k in learnt)


def test_of_equally_good_epochs_the_last_is_best(tiny_la, tmp_path):
    train_without_report(
        tiny_run(tiny_la, tmp_path, "optimizer.lr=1e-12", "task.freeze=[model.blocks]", "trainer.max_epochs=3")
    )
    assert torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)["epoch"] == 2


def test_dev_may_be_scored_less_often_than_each_epoch(tiny_la, tmp_path):
    extra = ("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=4", "callbacks=snapshot_averaging")
    train_without_report(
        tiny_run(tiny_la, tmp_path, *extra, "optimizer.lr=1e-9")
    )  # dev ties, so each time it is scored counts
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]["SnapshotAveraging"]
    assert state["n_snapshots"] == 2


def test_frozen_parts_stay_as_they_are(tiny_la, tmp_path, run_folder):
    run.train(tiny_run(tiny_la, tmp_path, f"init_from={run_folder}", "task.freeze=[model.blocks.0,model.blocks.1]"))
    old, new = weights(run_folder), weights(tmp_path)
    for name in old:
        frozen = name.startswith(("model.blocks.0", "model.blocks.1"))
        assert frozen == torch.equal(old[name], new[name]), name
    with pytest.raises(Exception, match=r"task\.freeze: the detector has no model\.nothing; it has .*model\.blocks"):
        run.train(tiny_run(tiny_la, tmp_path / "b", "task.freeze=[model.nothing]"))


def test_a_diverging_run_stops_with_advice(tiny_la, tmp_path):
    with pytest.raises(InputError, match=r"optimizer\.lr"):
        run.train(tiny_run(tiny_la, tmp_path, "optimizer.lr=1e30", "trainer.max_epochs=5"))


def test_two_cpu_processes_score_each_dev_utterance_once(tiny_la, tmp_path):
    arguments = ["dataset=asvspoof2019_la", f"dataset.root={tiny_la}", f"hydra.run.dir={tmp_path}/a, run", *TINY]
    arguments += ["trainer=ddp", "trainer.devices=2", "batch_size=2", "trainer.max_epochs=1"]
    arguments += ["features.normalise=train_stats"]
    done = python("train.py", *arguments)  # which starts the other process as it starts any
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == f"{tmp_path}/a, run"
    folder = Path(done.stdout.splitlines()[-1])
    assert len(read_scores(folder / "scores" / "dev.csv")) == 12
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3  # 12 utterances, 2 processes, 2 each


def test_dev_is_gathered_without_the_repeats_that_pad_the_ranks():
    from deepfake.training.detection import Detection

    module = Detection(torch.nn.Identity(), BCE(), None, None, monitor="dev/eer", seed=0)  # type: ignore[arg-type]
    module.log_dict = lambda values, **_: logged.update(values)  # type: ignore[method-assign]
    dev = [Utterance(str(i), "", None) for i in range(3)]
    module._trainer = type("T", (), {"world_size": 1, "datamodule": type("D", (), {"dev": dev})})()
    logged: dict[str, float] = {}
    module._batches = [
        (torch.tensor([0, 2, 1, 0]), s := torch.tensor([1.0, -2.0, 0.5, 1.0]), s, torch.tensor([1, 0, 0, 1]))
    ]
    module.on_validation_epoch_end()
    assert module.dev_scores[0].tolist() == [1.0, 0.5, -2.0] and logged["dev/eer"] == 0.0


def test_the_eer_of_each_corpus_of_a_mix_is_its_own():
    scores = np.array([3.0, 1.0, 2.0, 0.0, 5.0, 4.0])
    labels, names = np.array([1, 0, 0, 1, 1, 1]), ["a", "a", "b", "b", "c", ""]
    assert eer_by_corpus(scores, labels, names) == {"dev/eer_a": 0.0, "dev/eer_b": 1.0}


RANK = """
import sys
from interrupted import train_until, train_without_report
from tiny import compose, tiny_run

tiny_la, folder, *overrides = sys.argv[1:]
train_without_report(tiny_run(tiny_la, f"{folder}/whole", *overrides))
for workers in (0, 2):
    run_dir = f"{folder}/{workers}"
    train_until(tiny_run(tiny_la, run_dir, *overrides, f"num_workers={workers}"), epoch=1, step=1)
    train_without_report(compose(f"resume={run_dir}"))
"""


def test_two_processes_resume_exactly(tiny_la, tmp_path):
    overrides = ["trainer=ddp", "trainer.accelerator=cpu", "batch_size=2", "augment=[gain,mixup]", "model.dropout=0.3"]
    two_fresh_ranks(RANK, str(tiny_la), str(tmp_path), *overrides)
    for workers in "02":
        for name in ("detector.pt", "checkpoints/last.ckpt"):
            assert same(weights(tmp_path / "whole", name), weights(tmp_path / workers, name)), workers


@pytest.mark.parametrize(
    ("overrides", "parts"), [([], ["CNN"]), (["model=ssl_linear", *sizes("xlsr_300m")], ["SSLLinear", "SSL"])]
)
def test_a_compiled_network_trains_and_its_checkpoint_names_it_once(
    overrides: list[str], parts: list[str], tiny_la: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[object] = []

    def compile_(function, **settings):  # what it makes of the network is torch's affair, and takes it a minute
        compiled.append((function.__self__, settings))
        return function

    monkeypatch.setattr(torch, "compile", compile_)
    for name, more in {"eager": [], "compiled": ["task.compile=true"]}.items():
        train_without_report(tiny_run(tiny_la, tmp_path / name, "trainer.max_epochs=1", *overrides, *more))
    eager, ours = (weights(tmp_path / name) for name in ("eager", "compiled"))
    assert same(eager, ours)
    assert [(type(part).__name__, settings) for part, settings in compiled] == [(p, {"dynamic": False}) for p in parts]
    checkpoint = torch.load(tmp_path / "compiled" / "checkpoints" / "last.ckpt", weights_only=True)
    assert [name for name in checkpoint["state_dict"] if not name.startswith("detector.")] == []


@pytest.mark.parametrize("text", ["InductorError: CppCompileError: C++ compile error", "InvalidCxxCompiler: none"])
def test_where_nothing_can_be_compiled_one_sentence_says_so(text: str) -> None:
    assert sentence(RuntimeError(text)) == (
        "task.compile=true: torch.compile fails here, for want of a compiler or of one that it can use: leave it out"
    )
