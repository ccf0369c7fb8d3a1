"""Training with the weights, gradients and optimiser states of a detector split over the processes (FSDP)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.fsdp import fully_shard

from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.features.pretrained import Pretrained
from deepfake.training.averaging import Averaging
from deepfake.training.checkpoints import read_checkpoint
from deepfake.training.setup import Setup
from deepfake.training.task import Task


class FullySharded(ModelParallelStrategy):
    """Fully sharded data parallelism (Zhao et al., VLDB 2023) by torch's `fully_shard`, over all processes.

    Each process holds its share of every tensor that is trained. The whole of a part is put together for as long as its
    forward or backward pass takes: of each layer of a pre-trained front end, of what else is in the front end, of the
    network, and of a loss that has weights. Checkpoints are whole, in one file, as with one process, and may be resumed
    with another number of them. It runs on CPUs too, which Lightning's own `fsdp` does not.

    Attributes:
        unsharded: On rank 0 the detector before it was split, on the CPU; None elsewhere.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)
        self.unsharded: Detector | None = None

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def shard(self, detector: Detector, loss: Any) -> None:
        """Split a detector, and a loss that has weights, in place.

        Args:
            detector: On the CPU, the same on all ranks.
            loss: Its loss.
        """
        if self.unsharded is None and self.is_global_zero:
            self.unsharded = copy.deepcopy(detector)
        for parameter in detector.parameters():
            parameter.data = parameter.data.contiguous()  # those with channels last cannot be split
        mesh = self.device_mesh["data_parallel"]
        layers = detector.features.blocks if isinstance(detector.features, Pretrained) else ()
        for part in (*layers, detector.features, detector.model, loss):
            fully_shard(part, mesh=mesh, reshard_after_forward=True)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        read_checkpoint(Path(checkpoint_path))  # refuses a damaged one
        return super().load_checkpoint(checkpoint_path, weights_only=True)


def whole_detector(trainer: Any, detector: Detector) -> Detector:
    """The detector that is trained or, where its weights are split, on rank 0, its copy from before."""
    strategy = trainer.strategy
    return (strategy.unsharded if isinstance(strategy, FullySharded) else None) or detector


def require_shardable(task: Task, setup: Setup) -> None:
    """Refuse what works on whole weights, where a training would split them.

    Raises:
        InputError: The task does, the network is to be compiled, weights are averaged, or one has no axis to split.
    """
    if not isinstance(setup.trainer.strategy, FullySharded):
        return
    if not task.shardable:
        raise InputError(
            f"trainer=fsdp, {type(task).__name__}: task=detection was expected; trainer=ddp takes any task"
        )
    if setup.config["task"].get("compile"):
        raise InputError("trainer=fsdp, task.compile=true: task.compile=false was expected")
    if any(isinstance(callback, Averaging) for callback in setup.trainer.callbacks):  # type: ignore[attr-defined]
        raise InputError("trainer=fsdp, averaged weights: callbacks=default was expected")
    if scalars := [name for name, p in task.detector.named_parameters() if p.ndim == 0]:
        raise InputError(f"trainer=fsdp, {scalars[0]}: weights with an axis to split were expected; use trainer=ddp")
