"""What each trial of a sweep computes with: one device, and its share of the cores."""

from __future__ import annotations

import re
from collections.abc import Mapping
from multiprocessing import current_process
from typing import Any

from deepfake.errors import InputError


def own_device(trainer: Mapping[str, Any], launcher: Mapping[str, Any]) -> Any:
    """The `trainer.devices` of a trial: as asked for; of several GPUs the next one in each of joblib's processes.

    Lightning's processes run the command line again: in a sweep each would start the whole sweep.

    Args:
        trainer: `devices`, `num_nodes`, `accelerator`.
        launcher: What starts the trials; a cluster's also has `nodes` and `tasks_per_node`.

    Raises:
        InputError: More than one device.
    """
    devices = trainer["devices"]
    one = devices in (1, "1") or (not isinstance(devices, int | str) and len(devices) == 1)
    counts = {"trainer.devices": 1 if one else devices, "trainer.num_nodes": trainer["num_nodes"]}
    counts |= {f"hydra.launcher.{key}": launcher.get(key, 1) for key in ("nodes", "tasks_per_node")}
    if several := [f"{key}={count}" for key, count in counts.items() if count != 1]:
        raise InputError(
            f"{several[0]} in a multirun: with several devices each process would start the sweep anew with other "
            "settings; use trainer.devices=1 per trial, or run the trials one by one"
        )
    worker = re.fullmatch(r"LokyProcess-(\d+)", current_process().name)  # numbered, and as long-lived as the sweep
    if worker and devices in (1, "1") and trainer["accelerator"] in ("auto", "gpu", "cuda"):
        import torch

        if (n_gpus := torch.cuda.device_count()) > 1:
            return [int(worker[1]) % n_gpus]
    return devices


def at_once() -> int:
    """How many trials run side by side on this machine where nothing is said: one per GPU, or else per core."""
    import joblib
    import torch

    return torch.cuda.device_count() or joblib.cpu_count()


def threads(launcher: Mapping[str, Any]) -> int | None:
    """Threads of a trial, None where that is seen to: joblib shares the cores out, a single trial may have them all.

    Submitit starts all trials at once and, on one machine, limits none.
    """
    local = str(launcher.get("_target_")).endswith("submitit_launcher.LocalLauncher")
    return launcher.get("cpus_per_task") or (1 if local else None)
