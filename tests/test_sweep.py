"""Sweeps through the entry script: what becomes of each trial, the table, the best one."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml
from children import python
from hydra.core.global_hydra import GlobalHydra
from tiny import REPOSITORY, TINY

import deepfake.training.train
import train
from deepfake import run
from deepfake.atomic import write_atomically
from deepfake.errors import InputError
from deepfake.training.train import Trained


class Sweep(NamedTuple):
    code: int
    lines: list[str]
    stderr: str
    rows: list[dict[str, str]]


@pytest.fixture
def sweep(tmp_path, monkeypatch, capsys):
    """`train.py -m` in this process, with a function of the config in the place of training."""

    def go(outcome, *overrides):
        def stub(config):
            folder = Path(config["run_dir"])
            write_atomically(folder / "config.yaml", yaml.safe_dump(config))
            value = outcome(config)
            metrics = {"eer": value, "auc": 1 - value}
            write_atomically(folder / "reports" / "metrics.json", json.dumps(metrics))
            return Trained(metrics, new=False, skipped=config["seed"] == 77)

        monkeypatch.setattr(deepfake.training.train, "begin", stub)
        monkeypatch.setitem(run._state, "failed", False)
        monkeypatch.setitem(run._state, "skipped", False)
        arguments = [f"{REPOSITORY}/train.py", "-m", f"hydra.sweep.dir={tmp_path}/sweep", *overrides]
        monkeypatch.setattr(sys, "argv", arguments)
        GlobalHydra.instance().clear()
        at_exit = []
        monkeypatch.setattr(run.atexit, "register", lambda *call: at_exit.append(call))
        monkeypatch.setattr(run.atexit, "unregister", lambda function: at_exit.clear())
        try:
            train.main()
            code = run.exit_code()
        except SystemExit as error:
            code = error.code
        for function, *given in at_exit:
            function(*given)
        with (tmp_path / "sweep" / "results.csv").open() as file:
            rows = list(csv.DictReader(file))
        done = capsys.readouterr()
        return Sweep(code, done.out.splitlines(), done.err, rows)

    return go


def test_a_grid_names_its_best_trial_last(sweep, tmp_path):
    done = sweep(lambda config: config["optimizer"]["lr"], "optimizer.lr=0.3,0.1", "seed=1,2")
    assert done.code == 0 and done.lines[-1] == f"{tmp_path}/sweep/2"
    assert [row["dev/eer"] for row in done.rows] == ["0.3", "0.3", "0.1", "0.1"]
    assert {row["state"] for row in done.rows} == {"finished"}
    page = (tmp_path / "sweep" / "results.md").read_text()
    assert (
        "Best: trial 2 in `2`, dev/eer 0.1000 (min)." in page
        and "| optimizer.lr=0.1 | dev/eer | 2 | 0 | 0.1000 | 0.0000 |" in page
    )


def test_the_best_has_the_largest_value_where_large_is_good(sweep, tmp_path):
    done = sweep(lambda config: config["optimizer"]["lr"], "optimizer.lr=0.3,0.1", "monitor=auc")
    assert done.lines[-1] == f"{tmp_path}/sweep/1"
    assert [row["dev/auc"] for row in done.rows] == ["0.7", "0.9"]


def fails(config):
    error = {
        1: InputError("got this, wanted that"),
        2: RuntimeError("a fault\nof the program"),
        3: torch.cuda.OutOfMemoryError("CUDA out of memory"),
    }
    if config["seed"] in error:
        raise error[config["seed"]]
    return float("nan") if config["seed"] == 4 else 0.25


def test_a_trial_that_fails_is_recorded_and_the_others_run(sweep, tmp_path):
    done = sweep(fails, "seed=1,2,3,4,5")
    assert done.code == 1 and done.lines[-1] == f"{tmp_path}/sweep/4"
    assert [row["state"] for row in done.rows] == ["failed"] * 3 + ["finished"] * 2
    assert [row["dev/eer"] for row in done.rows] == ["", "", "", "1.0", "0.25"]
    assert done.rows[0]["error"] == "got this, wanted that"
    assert done.rows[1]["error"].startswith("RuntimeError: a fault (see ")
    assert "a smaller batch_size" in done.rows[2]["error"]
    folder = tmp_path / "sweep"
    assert "of the program" in (folder / "1" / "traceback.txt").read_text()
    assert not (folder / "0" / "traceback.txt").exists() and not (folder / "2" / "traceback.txt").exists()
    assert "error: trial 0: got this, wanted that" in done.stderr and "Traceback" not in done.stderr
    assert "3 failed" in (folder / "results.md").read_text()


def test_nothing_is_best_where_every_trial_failed(sweep):
    done = sweep(fails, "seed=1,2")
    assert done.code == 1 and done.lines == [] and "there is no best trial" in done.stderr


def test_files_passed_over_in_any_trial_are_told_by_the_exit_code(sweep):
    done = sweep(lambda config: 0.5, "seed=77,1")
    assert done.code == 3


def test_ctrl_c_ends_the_sweep_and_leaves_a_table(sweep, tmp_path):
    def interrupted(config):
        if config["seed"] == 1:
            return 0.5
        try:
            raise SystemExit(1)
        except SystemExit:
            raise InputError("interrupted: `...` goes on") from None

    done = sweep(interrupted, "seed=1,2,3")
    assert done.code == 1 and done.lines[-1] == f"{tmp_path}/sweep/0"
    assert [row["error"] for row in done.rows] == ["", "interrupted: `...` goes on"]


def test_a_sweep_goes_on_in_its_folder(sweep, tmp_path):
    first = sweep(fails, "seed=5,2,6")
    resumed = []
    again = sweep(lambda config: resumed.append(config["resume"]) or 0.125, "seed=5,2,6")
    assert resumed == [f"{tmp_path}/sweep/1"] and not (tmp_path / "sweep/1/traceback.txt").exists()
    assert again.code == 0 and [row["dev/eer"] for row in again.rows] == ["0.25", "0.125", "0.25"]
    assert (again.rows[0], again.rows[2]) == (first.rows[0], first.rows[2])
    other = sweep(fails, "seed=8,9")
    assert other.code == 1 and "holds a trial of another sweep (seed=5)" in other.stderr and other.rows == again.rows


def test_several_devices_are_refused(sweep):
    done = sweep(lambda config: 0.0, "trainer.devices=1,2")
    assert done.code == 1 and [row["state"] for row in done.rows] == ["finished", "failed"]
    assert "trainer.devices=2 in a multirun" in done.rows[1]["error"]


@pytest.mark.parametrize("monitor", ["eer", "auc"])
def test_tpe_searches_the_space_for_the_best(sweep, tmp_path, monitor):
    arguments = "sweep=tpe", f"monitor={monitor}", "hydra.sweeper.n_trials=3"
    done = sweep(lambda config: config["optimizer"]["lr"] * 10, *arguments)
    assert done.code == 0 and len(done.rows) == 3
    rates = [float(row["eer"]) for row in done.rows]
    best = rates.index(min(rates))
    assert len(set(rates)) == 3 and all(0.001 <= rate <= 0.1 for rate in rates)
    assert done.lines[-1] == f"{tmp_path}/sweep/{best}"
    assert all("batch_size=" in row["overrides"] and "optimizer.weight_decay=" in row["overrides"] for row in done.rows)
    found = yaml.safe_load((tmp_path / "sweep" / "optimization_results.yaml").read_text())
    assert found["best_value"] == float(done.rows[best][f"dev/{monitor}"])


def test_tpe_goes_on_after_failures(sweep):
    done = sweep(lambda config: 1 / 0, "sweep=tpe", "hydra.sweeper.n_trials=2")
    assert done.code == 1 and [row["state"] for row in done.rows] == ["failed"] * 2


def test_trials_run_side_by_side_each_on_its_share_of_the_cores(tiny_la, tmp_path):
    arguments = ["dataset=asvspoof2019_la", f"dataset.root={tiny_la}", *TINY, f"hydra.sweep.dir={tmp_path}"]
    arguments += ["sweep=grid", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "trainer.max_epochs=1"]
    arguments += ["features=mel,raw", "-m"]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = python("train.py", *arguments, env=environment)
    assert done.returncode == 1, done.stderr[-3000:]
    assert done.stdout.splitlines() == [f"{tmp_path}/0"] * 2  # the trial's own line, and the best one's
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["finished", "failed"] and rows[1]["error"]
    assert 0 <= float(rows[0]["dev/eer"]) <= 1 and rows[0]["dev/eer"] == rows[0]["eer"]
    threads = json.loads((tmp_path / "0" / "environment.json").read_text())["threads"]
    assert threads == max(1, len(os.sched_getaffinity(0)) // 2)
    curve = json.loads((tmp_path / "0" / "dev_curve.json").read_text())
    assert list(curve["values"]) == ["0"] and not curve["pruned"]
