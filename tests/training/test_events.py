"""TensorBoard after an interruption: no step twice, none missing."""

import csv
import inspect

import hydra
import pytest
from interrupted import Stop, stop_at_once, train_until, train_without_report
from lightning.pytorch.loggers import MLFlowLogger, WandbLogger
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tiny import compose, tiny_run

from deepfake import run
from deepfake.runs.folder import RunFolder
from deepfake.training import events
from deepfake.training.checkpoints import read_checkpoint
from deepfake.training.events import rewind

pytestmark = pytest.mark.usefixtures("undrawn")


def values(folder):
    """Every scalar and picture: tag, step, and the scalar's value."""
    found = []
    for file in sorted(RunFolder(folder).tensorboard.rglob("events*")):
        for event in EventFileLoader(str(file)).Load():
            found += [(v.tag, event.step, tuple(v.tensor.float_val)) for v in event.summary.value]
    return sorted(found)


@pytest.fixture(scope="module", params=["detection", "wgan"])
def whole(request, tiny_la, tmp_path_factory):
    """Overrides, and the values of a run that was not interrupted."""
    folder, overrides = tmp_path_factory.mktemp("whole"), ["trainer.max_epochs=3", "trainer.log_every_n_steps=1"]
    if request.param == "wgan":
        overrides += ["experiment=wgan_gp_pretrain", "batch_size=2", "task.n_critic=2", "model.channels=[8,8,8]"]
        overrides += [
            "task.generator_channels=[8,8,8]",
            "features.n_bands=32",
            "features.n_fft=512",
            "features.hop_length=256",
        ]
    run.train(tiny_run(tiny_la, folder, *overrides))
    return request.param, overrides, values(folder)


def test_a_run_without_interruption_logs_each_step_once(whole):
    kind, _, found = whole
    steps = [(tag, step) for tag, step, _ in found if tag.startswith(("train/", "dev/"))]
    assert len(steps) == len(set(steps))
    loss = "train/critic_loss" if kind == "wgan" else "train/loss"
    n = 9  # steps in three epochs
    assert [step for tag, step in steps if tag == loss] == list(range(n))
    assert [step for tag, step in steps if tag == f"{loss}_epoch"] == [n // 3 - 1, 2 * n // 3 - 1, n - 1]
    histograms = [step for tag, step, _ in found if tag == "dev_scores/spoof"]
    assert histograms == ([] if kind == "wgan" else [n // 3, 2 * n // 3, n])


@pytest.mark.parametrize(("epoch", "step"), [(0, 1), (1, 0), (2, 1)])
def test_interrupted_in_an_epoch(whole, tiny_la, tmp_path, epoch, step):
    _, overrides, expected = whole
    train_until(tiny_run(tiny_la, tmp_path, *overrides), epoch, step)
    run.train(compose(f"resume={tmp_path}"))
    found = values(tmp_path)
    assert [v for v in found if v not in expected] == [v for v in expected if v not in found] == []
    assert len(found) == len(expected)


def test_two_equal_runs_have_equal_checkpoints(tiny_la, tmp_path):
    for name in "ab":
        train_until(tiny_run(tiny_la, tmp_path / name), 1, 0)
    one, other = (read_checkpoint(RunFolder(tmp_path / name).last_checkpoint) for name in "ab")
    assert one.keys() == other.keys() and "event" not in " ".join(map(str, one))


def test_what_was_logged_stays_where_its_size_is_not_known(tiny_la, tmp_path):
    train_until(tiny_run(tiny_la, tmp_path), 1, 0)
    folder = RunFolder(tmp_path)
    before = values(tmp_path)
    for text in ("{}", "[]", "not JSON", '{"x": {}}', '{"3": []}'):
        folder.logged.write_text(text)
        rewind(folder)
        assert values(tmp_path) == before
    folder.last_checkpoint.unlink()
    rewind(folder)
    assert values(tmp_path) == []


def test_interrupted_before_the_run_counts_as_finished(whole, tiny_la, tmp_path, monkeypatch):
    kind, overrides, expected = whole
    last = "wgan.report.write_networks" if kind == "wgan" else "finish.Detector.save"
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(f"deepfake.training.{last}", stop_at_once)
        run.train(tiny_run(tiny_la, tmp_path, *overrides))
    run.train(compose(f"resume={tmp_path}"))
    assert values(tmp_path) == expected


def table(folder):
    """Every value of the CSV log: name, step, value."""
    with RunFolder(folder).csv_log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return sorted((k, int(row["step"]), float(v)) for row in rows for k, v in row.items() if v and k != "step")


@pytest.fixture(scope="module")
def whole_table(tiny_la, tmp_path_factory):
    """The CSV log of a run that was not interrupted."""
    folder = tmp_path_factory.mktemp("csv")
    train_without_report(tiny_run(tiny_la, folder, "logger=csv", "trainer.max_epochs=3"))
    assert not RunFolder(folder).tensorboard.exists()
    return table(folder)


def test_the_csv_log_has_each_step_once_and_the_final_values(whole_table):
    assert [step for key, step, _ in whole_table if key == "train/loss"] == list(range(9))
    assert [step for key, step, _ in whole_table if key == "dev/eer"] == [2, 5, 8]
    final = [key for key, step, _ in whole_table if step == 9]
    assert final == ["final/accuracy", "final/auc", "final/eer", "final/f1"]
    logged = [(key, step) for key, step, _ in whole_table if key != "epoch"]
    assert len({*logged}) == len(logged)


@pytest.mark.parametrize(("epoch", "step"), [(0, 1), (1, 2)])
def test_the_csv_log_of_a_resumed_run_is_that_of_an_uninterrupted_one(whole_table, tiny_la, tmp_path, epoch, step):
    train_until(tiny_run(tiny_la, tmp_path, "logger=csv", "trainer.max_epochs=3"), epoch, step)
    with RunFolder(tmp_path).csv_log.open("a") as file:  # flushed after the last checkpoint
        file.write("0,0,0,0,0,0,99\n")
    train_without_report(compose(f"resume={tmp_path}"))
    assert table(tmp_path) == whole_table


def test_without_a_logger_nothing_is_logged_and_the_run_is_resumed(tiny_la, tmp_path):
    train_until(tiny_run(tiny_la, tmp_path, "logger=none"), 1, 1)
    run.train(compose(f"resume={tmp_path}"))
    assert RunFolder(tmp_path).done and RunFolder(tmp_path).report.figures.is_dir()
    assert not RunFolder(tmp_path).tensorboard.exists() and not RunFolder(tmp_path).csv_log.parent.exists()


@pytest.mark.parametrize("name, made", [("wandb", WandbLogger), ("mlflow", MLFlowLogger)])
def test_loggers_of_other_packages_take_their_settings(name, made, tmp_path):
    config = compose(f"logger={name}", f"run_dir={tmp_path}").logger
    assert {*config} - {"_target_"} <= {*inspect.signature(made).parameters}
    assert str(config.save_dir).startswith(str(tmp_path))  # or its runs could not be resumed, see `refuse_unknown`


@pytest.mark.parametrize("server", [None, "http://localhost:5000"])
def test_mlflow_writes_a_database_in_the_run_folder_or_asks_a_server(server, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    made = {}
    monkeypatch.setattr(events, "MLFlowLogger", lambda **settings: made.update(settings))
    hydra.utils.instantiate(compose("logger=mlflow", f"run_dir={tmp_path}", "name=x").logger)
    own = {"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db", "artifact_location": f"{tmp_path}/mlflow"}
    assert made == {"experiment_name": "deepfake", "run_name": "x"} | ({} if server else own)
