"""SLURM: jobs that are preempted, or reach their time limit, and go on in the same run folder."""

from __future__ import annotations

from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment


def cluster_plugins() -> list[Any]:
    """What keeps Lightning from requeueing a job of SLURM itself; nothing elsewhere.

    It would save a checkpoint within an epoch, from which a training cannot be resumed exactly, and which it prefers to
    every other one from then on.
    """
    started_by_srun = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [SLURMEnvironment(auto_requeue=False)] if started_by_srun else []
