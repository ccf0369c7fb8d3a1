"""The mean of the weights of the best epochs: which ones, their mean, and runs that are killed on the way."""

from __future__ import annotations

import types

import pytest
import torch
from interrupted import Stop, stop_at_once, train_until, train_without_report
from tiny import compose, tiny_run

from deepfake import run
from deepfake.errors import InputError
from deepfake.training.averaging import BestAveraging

BEST = "callbacks=best_averaging"


class Line(torch.nn.Module):
    """A detector of one weight and one that is not trained."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self.frozen = torch.nn.Parameter(torch.ones(1), requires_grad=False)


class Trained(torch.nn.Module):
    device = "cpu"

    def __init__(self):
        super().__init__()
        self.detector = Line()


def train(averaging, module, values, start=0):
    """Epochs whose weights are (2^epoch, 1) and whose dev values are given; None where dev is not scored."""
    for epoch, value in enumerate(values, start):
        trainer = types.SimpleNamespace(
            current_epoch=epoch, is_global_zero=True, callback_metrics={"dev/x": torch.tensor(value or 0.0)}
        )
        averaging.on_train_epoch_start(trainer, module)
        module.detector.weight.data = torch.tensor([2.0**epoch, 1.0])
        if value is not None:
            averaging.on_validation_epoch_end(trainer, module)
        averaging.on_train_epoch_end(trainer, module)


@pytest.mark.parametrize(
    ("mode", "k", "values", "epochs"),
    [
        ("min", 2, [0.3, 0.1, 0.2, 0.4], [1, 2]),
        ("max", 2, [0.3, 0.1, 0.2, 0.4], [0, 3]),
        ("min", 2, [0.2, 0.2, 0.2, 0.3], [1, 2]),  # of equals the later ones
        ("min", 9, [0.3, None, 0.2], [0, 2]),  # fewer epochs than k, one of them without dev scores
        ("min", 1, [0.3, 0.1, 0.1], [2]),
    ],
)
def test_the_mean_is_that_of_the_best_epochs(tmp_path, caplog, mode, k, values, epochs):
    averaging, module = BestAveraging("dev/x", mode, str(tmp_path), k), Trained()
    train(averaging, module, values)
    assert len([*tmp_path.iterdir()]) <= k + 1
    with caplog.at_level("INFO"):
        averaging.apply(module, [])  # type: ignore[arg-type]
    assert module.detector.weight.tolist() == pytest.approx([sum(2.0**e for e in epochs) / len(epochs), 1.0])
    words = ", ".join(f"{e + 1} ({values[e]:.4f})" for e in epochs)
    assert f"averaged the weights of the best epochs by dev/x: {words}" in caplog.text
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"epoch_000{e + 1}.pt" for e in epochs]
    assert torch.load(tmp_path / f"epoch_000{epochs[0] + 1}.pt", weights_only=True).keys() == {"weight"}


def test_without_dev_scores_the_weights_stay_as_they_are(tmp_path):
    averaging, module = BestAveraging("dev/x", "min", str(tmp_path)), Trained()
    train(averaging, module, [None, None])
    averaging.apply(module, [])  # type: ignore[arg-type]
    assert module.detector.weight.tolist() == [2.0, 1.0] and not [*tmp_path.iterdir()]


def test_files_that_are_gone_are_left_out_and_a_damaged_one_is_named(tmp_path, caplog):
    averaging, module = BestAveraging("dev/x", "min", str(tmp_path), 3), Trained()
    train(averaging, module, [0.3, 0.2, 0.1])
    state = averaging.state_dict()
    (tmp_path / "epoch_0002.pt").unlink()
    resumed = BestAveraging("dev/x", "min", str(tmp_path), 3)
    resumed.load_state_dict(state)
    assert "the weights of epoch 2 are not there" in caplog.text
    resumed.apply(module, [])  # type: ignore[arg-type]
    assert module.detector.weight.tolist() == [(1 + 4) / 2, 1.0]
    (tmp_path / "epoch_0003.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"epoch_0003\.pt: the weights of epoch 3 were expected.*resume the run"):
        resumed.apply(module, [])  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_a_number_of_epochs_is_expected(k):
    with pytest.raises(InputError, match=rf"callbacks\.averaging\.k={k}: a whole number of epochs"):
        BestAveraging("dev/x", "min", ".", k)


@pytest.fixture(scope="module")
def whole(tiny_la, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    overrides = (BEST, "callbacks.averaging.k=2", "trainer.max_epochs=4", "optimizer.lr=1e-5", "model.dropout=0.3")
    train_without_report(tiny_run(tiny_la, folder, *overrides))
    return overrides, folder


def state(folder, name="detector.pt"):
    return torch.load(folder / name, weights_only=True)


def assert_same_run(whole, other):
    ours, theirs = (state(folder)["state_dict"] for folder in (whole, other))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    best = [state(folder, "checkpoints/last.ckpt")["callbacks"]["BestAveraging"]["best"] for folder in (whole, other)]
    assert best[0] == best[1]
    files = [sorted(p.name for p in (folder / "checkpoints").glob("epoch_*")) for folder in (whole, other)]
    assert files[0] == files[1] and len(files[0]) == 2


def test_the_mean_of_a_run_is_its_detector_with_batch_norm_statistics_of_its_own(whole):
    _, folder = whole
    weights = state(folder)["state_dict"]
    files = [torch.load(file, weights_only=True) for file in (folder / "checkpoints").glob("epoch_*.pt")]
    for name in files[0]:
        torch.testing.assert_close(weights[name], (files[0][name] + files[1][name]) / 2)
    last = state(folder, "checkpoints/last.ckpt")["state_dict"]
    assert not any(
        torch.equal(weights[name], last[f"detector.{name}"]) for name in weights if name.endswith("running_mean")
    )


def test_killed_within_an_epoch_a_run_ends_as_if_it_had_not_been(whole, tiny_la, tmp_path):
    overrides, folder = whole
    train_until(tiny_run(tiny_la, tmp_path, *overrides), epoch=3, step=1)
    train_without_report(compose(f"resume={tmp_path}"))
    assert_same_run(folder, tmp_path)


def test_killed_before_the_checkpoint_of_an_epoch_whose_weights_are_kept(whole, tiny_la, tmp_path, monkeypatch):
    """The file that has to make room is still there, since the checkpoint needs it."""
    overrides, folder = whole

    def keep(self, trainer, module, end=BestAveraging.on_train_epoch_end):
        end(self, trainer, module)
        if trainer.current_epoch == 2:
            raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(BestAveraging, "on_train_epoch_end", keep)
        run.train(tiny_run(tiny_la, tmp_path, *overrides))
    assert {"epoch_0001.pt", "epoch_0002.pt"} <= {p.name for p in (tmp_path / "checkpoints").iterdir()}
    train_without_report(compose(f"resume={tmp_path}"))
    assert_same_run(folder, tmp_path)


def test_killed_behind_the_last_epoch_a_run_ends_as_if_it_had_not_been(whole, tiny_la, tmp_path, monkeypatch):
    overrides, folder = whole
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr("deepfake.training.detection.finish", stop_at_once)
        run.train(tiny_run(tiny_la, tmp_path, *overrides))
    train_without_report(compose(f"resume={tmp_path}"))
    assert_same_run(folder, tmp_path)
