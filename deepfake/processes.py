"""The processes of one command, as torchrun or SLURM's srun starts them: which of them this one is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepfake.errors import InputError

NO_STEP = 0xFFFFFFF0  # from here on SLURM's numbers of what srun did not start: the batch script, an allocation


_hook = sys.unraisablehook


def end_on_signals() -> None:
    """Have SIGTERM end this process as Ctrl-C does, and both also where they come while an object is deleted.

    Python ignores the exceptions of destructors, as `soundfile` has one, and a KeyboardInterrupt with them.
    """
    global _hook
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if sys.unraisablehook is not _interrupted_again:
        _hook, sys.unraisablehook = sys.unraisablehook, _interrupted_again


def _interrupted_again(ignored: Any) -> None:
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGTERM]).start()  # when the destructor is over
    else:
        _hook(ignored)


@dataclass(frozen=True)
class Process:
    """One of the processes that run a command together.

    Args:
        rank: Its number, from 0.
        n: How many there are, on all machines.
        local_rank: Its number on its machine, by which it takes a GPU.

    Raises:
        InputError: `rank` is not among them.
    """

    rank: int = 0
    n: int = 1
    local_rank: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.n and self.local_rank >= 0):
            given = f"RANK={self.rank} WORLD_SIZE={self.n} LOCAL_RANK={self.local_rank}"
            raise InputError(f"{given}: a rank from 0 to WORLD_SIZE - 1 was expected, as torchrun sets it")

    @property
    def first(self) -> bool:
        """Whether it is the one that reports and writes results."""
        return self.rank == 0

    @classmethod
    def here(cls) -> Process:
        """This process, by torchrun's RANK, WORLD_SIZE and LOCAL_RANK; the only one where RANK is not set."""
        if "RANK" not in os.environ:
            return cls()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        try:
            numbers = [int(os.environ.get(name, default)) for name, default in zip(names, "010", strict=True)]
        except ValueError:
            given = " ".join(f"{name}={os.environ.get(name, '')}" for name in names)
            raise InputError(f"{given}: whole numbers were expected, as torchrun sets them") from None
        return cls(*numbers)


@dataclass(frozen=True)
class SlurmStep:
    """A step of a job of SLURM, which `srun` starts: the same one again after the job was requeued.

    Args:
        job: Id of the job, or `ARRAY_TASK` of one of an array.
        step: Number of the step in the job.
        rank: Number of this process in the step.
        restarts: How often the job was requeued.
    """

    job: str
    step: str
    rank: int
    restarts: int

    @classmethod
    def here(cls, variables: Mapping[str, str] = os.environ) -> SlurmStep | None:
        """The step of this process; None where it was not started by srun in a batch job."""
        step = variables.get("SLURM_STEP_ID", "")
        if not step.isdecimal() or int(step) >= NO_STEP or variables.get("SLURM_JOB_NAME") in ("bash", "interactive"):
            return None
        job = variables["SLURM_JOB_ID"]
        if "SLURM_ARRAY_JOB_ID" in variables:
            job = f"{variables['SLURM_ARRAY_JOB_ID']}_{variables['SLURM_ARRAY_TASK_ID']}"
        rank, restarts = int(variables.get("SLURM_PROCID", "0")), int(variables.get("SLURM_RESTART_COUNT", "0"))
        return cls(job, step, rank, restarts)

    @property
    def name(self) -> str:
        """Name of the run folder, the same for all processes and after a restart."""
        return f"slurm-{self.job}-{self.step}"

    def requeue_on_signal(self) -> None:
        """Have SIGUSR1, which `sbatch --signal=USR1@120` asks for, requeue the job and end this process."""
        signal.signal(signal.SIGUSR1, self._requeue)

    def _requeue(self, *_: Any) -> None:
        if self.rank == 0:
            subprocess.run(["scontrol", "requeue", self.job], check=False)
        raise KeyboardInterrupt


def folder_name(variables: Mapping[str, str] = os.environ) -> str | None:
    """Name of a new run folder that all processes of srun or torchrun have in common; None for a process of its own.

    Raises:
        InputError: torchrun has no id, so that they could not agree on one.
    """
    if step := SlurmStep.here(variables):
        return step.name
    if (launch := variables.get("TORCHELASTIC_RUN_ID")) is None:
        return None
    if launch == "none":
        raise InputError(
            "the processes of torchrun need one run folder: say hydra.run.dir=DIR, or start torchrun with --standalone "
            "or --rdzv-id ID"
        )
    return f"torchrun-{launch}"


def restarts(variables: Mapping[str, str] = os.environ) -> int:
    """How often srun's job was requeued, or torchrun has started its processes again."""
    step = SlurmStep.here(variables)
    return step.restarts if step else int(variables.get("TORCHELASTIC_RESTART_COUNT", "0"))
