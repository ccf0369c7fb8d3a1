"""A job of SLURM that is requeued goes on in its run folder. There is no SLURM here: its variables and its signal."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest
import torch
from children import Child, python
from interrupted import train_without_report
from tiny import REPOSITORY, TINY, tiny_run

from deepfake import run
from deepfake.processes import SlurmStep, folder_name, restarts
from deepfake.training.slurm import cluster_plugins

VARIABLES = {"SLURM_JOB_ID": "123", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}
VARIABLES |= {"SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_STEP_ID": "2"}

LONG = ("trainer.max_epochs=20", "callbacks.early_stopping=null", "logger=none")


def test_a_job_that_gets_the_signal_is_requeued_and_goes_on_in_its_folder(tiny_la, tmp_path):
    scontrol = tmp_path / "bin/scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    arguments = ["dataset=asvspoof2019_la", f"dataset.root={tiny_la}", *TINY, *LONG]
    environment = {**os.environ, **VARIABLES, "PATH": f"{scontrol.parent}:{os.environ['PATH']}"}
    command = [REPOSITORY / "train.py", *arguments]
    job = Child(*command, cwd=tmp_path, env=environment)
    folder = tmp_path / "outputs/train/default/slurm-123-2"
    while job.poll() is None and not (folder / "checkpoints/last.ckpt").is_file():
        time.sleep(0.05)
    os.kill(job.pid, signal.SIGUSR1)
    ended = job.wait(60)
    said = ended.stderr
    assert ended.returncode == 1, said
    assert (tmp_path / "asked").read_text() == "requeue 123\n"
    assert said.splitlines()[-1].startswith("error: interrupted: `python train.py resume=") and "Traceback" not in said
    assert [path.name for path in folder.glob("**/*ckpt*") if path.is_file()] == ["best.ckpt", "last.ckpt"]
    n_epochs = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["epoch"] + 1
    assert 0 < n_epochs < 20

    environment["SLURM_RESTART_COUNT"] = "1"  # the same command again, in less time
    done = python(*command, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [str(folder)]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    train_without_report(tiny_run(tiny_la, tmp_path / "whole", *LONG))
    whole, resumed = (
        torch.load(f / "detector.pt", weights_only=True)["state_dict"] for f in (tmp_path / "whole", folder)
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole if not name.startswith("domain."))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, SlurmStep("123", "2", 0, 0)),
        ({"SLURM_PROCID": "3", "SLURM_RESTART_COUNT": "2"}, SlurmStep("123", "2", 3, 2)),
        ({"SLURM_ARRAY_JOB_ID": "120", "SLURM_ARRAY_TASK_ID": "7"}, SlurmStep("120_7", "2", 0, 0)),
        ({"SLURM_JOB_NAME": "bash"}, None),
        ({"SLURM_STEP_ID": "4294967291"}, None),  # the batch script
    ],
)
def test_a_step_is_known_by_slurms_variables(more, expected):
    assert SlurmStep.here({**VARIABLES, **more}) == expected
    assert SlurmStep.here({"SLURM_JOB_ID": "123", "SLURM_PROCID": "0"}) is None  # not started by srun


def test_lightning_neither_saves_within_an_epoch_nor_requeues(monkeypatch):
    assert cluster_plugins() == []
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    (plugin,) = cluster_plugins()
    assert plugin.auto_requeue is False
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")  # torchrun below srun
    assert cluster_plugins() == []


def test_without_a_restart_a_folder_that_holds_a_run_is_refused(run_folder, tiny_la, monkeypatch):
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Exception, match="holds a run already"):
        run.train(tiny_run(tiny_la, run_folder))


def test_a_job_that_submitit_requeues_ends_as_submitit_wants(tiny_la, tmp_path, monkeypatch):
    def requeued(*_: object) -> None:
        sys.exit(144)  # by which its local executor knows that the job is to begin again

    monkeypatch.setattr("deepfake.training.repeatable.Repeatable.on_train_batch_start", requeued)
    with pytest.raises(SystemExit) as ended:
        run.train(tiny_run(tiny_la, tmp_path, "logger=none"))
    assert ended.value.code == 144


def test_the_processes_of_torchrun_share_a_folder_or_are_told_to():
    assert folder_name({}) is None and restarts({}) == 0
    assert folder_name(VARIABLES) == "slurm-123-2" and restarts({**VARIABLES, "SLURM_RESTART_COUNT": "4"}) == 4
    assert folder_name({"TORCHELASTIC_RUN_ID": "a1"}) == "torchrun-a1"
    assert restarts({"TORCHELASTIC_RUN_ID": "a1", "TORCHELASTIC_RESTART_COUNT": "3"}) == 3
    arguments = ["train.py", "dataset=asvspoof2019_la", "dataset.root=DIR"]
    environment = {**os.environ, "TORCHELASTIC_RUN_ID": "none"}
    done = python(*arguments, env=environment)
    sentence = "error: the processes of torchrun need one run folder: say hydra.run.dir=DIR, or start torchrun with "
    assert done.returncode == 1 and done.stderr == f"{sentence}--standalone or --rdzv-id ID\n"
