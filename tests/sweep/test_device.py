"""One device per trial, and its share of the cores."""

from __future__ import annotations

import joblib
import pytest
import torch
from omegaconf import OmegaConf

from deepfake.errors import InputError
from deepfake.sweep import device as file
from deepfake.sweep.device import default_n_jobs, threads, trial_devices

BASIC = {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}


def trainer(**keys):
    return OmegaConf.create({"devices": 1, "num_nodes": 1, "accelerator": "auto", **keys})


@pytest.mark.parametrize("devices", [1, "1", [0], [3]])
def test_one_device_is_left_as_it_is(devices):
    assert trial_devices(trainer(devices=devices), BASIC) == devices


@pytest.mark.parametrize(
    ("settings", "launcher", "named"),
    [
        ({"devices": 2}, {}, "trainer.devices=2"),
        ({"devices": -1}, {}, "trainer.devices=-1"),
        ({"devices": "auto"}, {}, "trainer.devices=auto"),
        ({"devices": [0, 1]}, {}, "trainer.devices="),
        ({"num_nodes": 2}, {}, "trainer.num_nodes=2"),
        ({}, {"nodes": 2}, "hydra.launcher.nodes=2"),
        ({}, {"nodes": 1, "tasks_per_node": 4}, "hydra.launcher.tasks_per_node=4"),
    ],
)
def test_more_are_refused_with_every_launcher(settings, launcher, named):
    with pytest.raises(InputError, match="in a multirun") as error:
        trial_devices(trainer(**settings), launcher)
    assert str(error.value).startswith(named)


def test_processes_take_the_gpus_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    taken = []
    for name in [f"LokyProcess-{i}" for i in (1, 2, 3, 4)] + ["MainProcess"]:
        monkeypatch.setattr(file, "current_process", lambda name=name: type("", (), {"name": name}))
        taken.append(trial_devices(trainer(), BASIC))
        assert trial_devices(trainer(accelerator="cpu"), BASIC) == 1
        assert trial_devices(trainer(devices=[2]), BASIC) == [2]
    assert taken == [[1], [2], [0], [1], 1]
    assert default_n_jobs() == 3
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(file, "current_process", lambda: type("", (), {"name": "LokyProcess-2"}))
    assert trial_devices(trainer(), BASIC) == 1


def test_threads_of_trials_that_start_together():
    submitit = "hydra_plugins.hydra_submitit_launcher.submitit_launcher"
    assert threads(BASIC) is None
    assert threads({"_target_": f"{submitit}.LocalLauncher", "cpus_per_task": None}) == 1
    assert threads({"_target_": f"{submitit}.LocalLauncher", "cpus_per_task": 4}) == 4
    assert threads({"_target_": f"{submitit}.SlurmLauncher", "cpus_per_task": None}) is None
    assert threads({"_target_": f"{submitit}.SlurmLauncher", "cpus_per_task": 8}) == 8


def test_without_gpus_a_trial_per_core(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert default_n_jobs() == joblib.cpu_count()
