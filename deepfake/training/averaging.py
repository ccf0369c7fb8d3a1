"""Weights that are a mean over epochs: the mean of the best ones, and what every mean needs after training."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from deepfake.atomic import save_atomically
from deepfake.errors import InputError

log = logging.getLogger(__name__)


class Averaging(Callback):
    """Base of what replaces the trained weights by a mean of earlier ones, when training has ended."""

    def average(self, pl_module: lightning.LightningModule) -> str | None:
        """Put the mean into the module.

        Returns:
            What it is the mean of, for the log; None where there is nothing, and the module stays as it is.
        """
        raise NotImplementedError

    @torch.no_grad()
    def apply(self, pl_module: lightning.LightningModule, clips: Iterable[dict[str, Any]]) -> None:
        """Put the average into the module and fit the batch-norm statistics of its trained parts to the clips.

        No network had the averaged weights in training, so its statistics fit none of them (Izmailov et al., UAI 2018).
        """
        if (averaged := self.average(pl_module)) is None:
            return
        pl_module.train()
        norms = [m for m in pl_module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        for batch in clips:
            pl_module.detector(batch["waveform"].to(pl_module.device))  # type: ignore[operator,union-attr]
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        log.info("averaged the weights of %s", averaged)


class BestAveraging(Averaging):
    """The mean of the weights of the best epochs by a dev metric, of equals the later ones.

    The weights that are trained lie in a file an epoch, `epoch_0007.pt`, beside the checkpoints. A file is deleted when
    the checkpoint that no longer needs it is there: a run that is killed at any moment finds those of the checkpoint
    that it goes on from, and at most one more than `k` files are on the disk.

    Args:
        monitor: Dev metric.
        mode: `min` or `max`.
        folder: Folder of the files.
        k: Number of epochs; all of them where the training has fewer.

    Raises:
        InputError: `k` is not a whole number from 1.
    """

    def __init__(self, monitor: str, mode: str, folder: str, k: int = 5) -> None:
        if type(k) is not int or k < 1:
            raise InputError(f"callbacks.averaging.k={k}: a whole number of epochs, at least 1, was expected")
        self.monitor, self.sign = monitor, 1.0 if mode == "min" else -1.0
        self.folder, self.k = Path(folder), k
        self.best: dict[int, float] = {}
        self._scored = False

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._scored = True

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """The checkpoint of the epoch before is written."""
        if trainer.is_global_zero:
            self._delete_others()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep the weights that dev was scored with, if they are among the best; without dev scores, none are."""
        if not self._scored:
            return
        self._scored = False
        epoch = int(trainer.current_epoch)
        self.best[epoch] = float(trainer.callback_metrics[self.monitor])
        chosen = sorted(self.best, key=lambda e: (self.sign * self.best[e], -e))[: self.k]
        self.best = {e: self.best[e] for e in sorted(chosen)}
        if epoch in self.best and trainer.is_global_zero:
            save_atomically(self._file(epoch), {name: p.detach() for name, p in _trained(pl_module).items()})

    def average(self, pl_module: lightning.LightningModule) -> str | None:
        if not self.best:
            return None
        self._delete_others()
        weights = [self._read(epoch) for epoch in self.best]
        for name, parameter in _trained(pl_module).items():
            parameter.copy_(torch.stack([state[name].double() for state in weights]).mean(dim=0))
        words = ", ".join(f"{epoch + 1} ({value:.4f})" for epoch, value in self.best.items())
        return f"the best epochs by {self.monitor}: {words}"

    def state_dict(self) -> dict[str, Any]:
        return {"best": dict(self.best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of the epochs of a checkpoint those whose files are there: one that is copied back may have lost some."""
        best = state_dict["best"]
        self.best = {epoch: value for epoch, value in best.items() if self._file(epoch).is_file()}
        if lost := best.keys() - self.best.keys():
            words = ", ".join(str(epoch + 1) for epoch in sorted(lost))
            log.warning("%s: the weights of epoch %s are not there, and will not be averaged", self.folder, words)

    def _file(self, epoch: int) -> Path:
        return self.folder / f"epoch_{epoch + 1:04d}.pt"

    def _delete_others(self) -> None:
        needed = {self._file(epoch) for epoch in self.best}
        for file in set(self.folder.glob("epoch_*.pt")) - needed:
            file.unlink()

    def _read(self, epoch: int) -> Mapping[str, Tensor]:
        """The weights of an epoch, mapped from the disk."""
        file = self._file(epoch)
        try:
            return torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except (OSError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
            reason = str(error).split("\n")[0]
            raise InputError(
                f"{file}: the weights of epoch {epoch + 1} were expected, to be averaged ({reason}): delete it, and "
                "resume the run to average the others"
            ) from error


def _trained(pl_module: Any) -> dict[str, nn.Parameter]:
    """The parameters of the detector that are trained, by name."""
    return {name: p for name, p in pl_module.detector.named_parameters() if p.requires_grad}
