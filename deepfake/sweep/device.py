"""Devices and threads of the trials of a sweep: one device each, and a share of the cores."""

from __future__ import annotations

import re
from collections.abc import Mapping
from multiprocessing import current_process
from typing import Any

from deepfake.errors import InputError


def trial_devices(trainer: Mapping[str, Any], launcher: Mapping[str, Any]) -> Any:
    """The `trainer.devices` of a trial: as configured, except that joblib's processes are spread over the GPUs.

    With several devices Lightning's processes run the command line again: each would start the whole sweep.

    Args:
        trainer: The trainer's config: `devices`, `num_nodes`, `accelerator`.
        launcher: The Hydra launcher's config; a cluster's also has `nodes` and `tasks_per_node`.

    Raises:
        InputError: A trial would use more than one device.
    """
    devices = trainer["devices"]
    one = devices in (1, "1") or (not isinstance(devices, int | str) and len(devices) == 1)
    counts = {"trainer.devices": 1 if one else devices, "trainer.num_nodes": trainer["num_nodes"]}
    counts |= {f"hydra.launcher.{key}": launcher.get(key, 1) for key in ("nodes", "tasks_per_node")}
    if several := [f"{key}={count}" for key, count in counts.items() if count != 1]:
        raise InputError(
            f"{several[0]} in a multirun: one device per trial was expected, since each process would start the whole "
            "sweep again; set trainer.devices=1, or run the trials one by one without -m"
        )
    worker = re.fullmatch(r"LokyProcess-(\d+)", current_process().name)  # numbered, and as long-lived as the sweep
    if worker and devices in (1, "1") and trainer["accelerator"] in ("auto", "gpu", "cuda"):
        import torch

        if (n_gpus := torch.cuda.device_count()) > 1:
            return [int(worker[1]) % n_gpus]
    return devices


def default_n_jobs() -> int:
    """The default number of parallel trials on this machine: one per GPU, or per core where there is no GPU."""
    import joblib
    import torch

    return torch.cuda.device_count() or joblib.cpu_count()


def threads(launcher: Mapping[str, Any]) -> int | None:
    """Threads of a trial; None leaves them alone: joblib limits its processes, and a single trial may use all cores.

    Submitit starts all trials at once and, on one machine, does not limit their threads.
    """
    local = str(launcher.get("_target_")).endswith("submitit_launcher.LocalLauncher")
    return launcher.get("cpus_per_task") or (1 if local else None)
