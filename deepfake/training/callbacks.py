"""Training callbacks: progress, weight averaging, inputs in TensorBoard, the config in the checkpoint."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    ProgressBar,
    RichProgressBar,
    WeightAveraging,
)
from lightning.pytorch.loggers import TensorBoardLogger

from deepfake.errors import InputError
from deepfake.runs.folder import RunFolder
from deepfake.runs.resume import nested, relocated
from deepfake.sweep.pruning import Pruning
from deepfake.training import events
from deepfake.training.averaging import Averaging
from deepfake.training.sharding import whole_detector

log = logging.getLogger(__name__)

MEAN = re.compile("train/.*_epoch")


def _displayed(metrics: Mapping[str, torch.Tensor], task: Any) -> dict[str, tuple[str, float]]:
    """Key and value of each displayed metric, by name; for a mix, the EER of each of its corpora too."""
    of_corpora = {f"EER {key.removeprefix('dev/eer_')}": key for key in metrics if key.startswith("dev/eer_")}
    names = {**task.progress_metrics, **of_corpora}
    return {name: (key, float(metrics[key])) for name, key in names.items() if key in metrics}


class Resumable(Callback):
    """Makes a run resumable: stores in each checkpoint the config and how far the loggers' files go.

    If the run folder was moved, the paths in the checkpoint are adapted.

    Args:
        config: Config as a plain dictionary that can be loaded with `weights_only=True`.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = self.config
        for logger in trainer.loggers:
            logger.save()
        if trainer.is_global_zero:
            events.note(RunFolder(Path(self.config["run_dir"])), checkpoint["global_step"])

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log `train/..._epoch`, the means over the epoch, which the trainer itself logs after the checkpoint."""
        means = {key: float(value) for key, value in trainer.callback_metrics.items() if MEAN.fullmatch(key)}
        for logger in trainer.loggers:
            step = trainer.fit_loop.epoch_loop._batches_that_stepped - 1
            logger.log_metrics({**means, "epoch": trainer.current_epoch}, step)

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Adapt the paths in the states of the other callbacks.

        A checkpoint callback may delete the paths in its state. It deletes nothing outside its own folder, but takes a
        path with `..` or a protocol in it for one inside.

        Raises:
            InputError: There is such a path.
        """
        old, new = checkpoint["config"]["run_dir"], self.config["run_dir"]
        checkpoint["callbacks"] = relocated(checkpoint["callbacks"], old, new)
        texts = [text for keys, value in nested(checkpoint["callbacks"]) for text in (*keys, value)]
        paths = [text.removeprefix(new) for text in texts if isinstance(text, str)]
        if odd := [path for path in paths if re.search(r"::|://|(^|/)\.\.(/|$)", path)]:
            file = RunFolder(Path(new)).last_checkpoint
            raise InputError(f"{file}: {odd[0]}: paths without `..` or protocol were expected")

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """A run that had stopped early, or was pruned, stays stopped: the trainer itself does not store that."""
        stops = [c for c in trainer.callbacks if isinstance(c, EarlyStopping)]  # type: ignore[attr-defined]
        pruned = any(c.pruned for c in trainer.callbacks if isinstance(c, Pruning))  # type: ignore[attr-defined]
        trainer.should_stop = pruned or any(c.wait_count >= c.patience for c in stops)


class BestCheckpoint(ModelCheckpoint):
    """The checkpoint of the best epoch, the last of equals.

    On a small dev partition many epochs tie, the first long before the end of training. AASIST's authors keep the last
    one too.
    """

    def check_monitor_top_k(self, trainer: lightning.Trainer, current: torch.Tensor | None = None) -> bool:
        ties = current is not None and self.best_model_score is not None and bool(current == self.best_model_score)
        return ties or super().check_monitor_top_k(trainer, current)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.current_score = state_dict["current_score"]  # saved by the base class, but not loaded


def progress() -> ProgressBar:
    """Progress bars in a terminal, lines in a log."""
    return Bars(console_kwargs={"stderr": True}) if sys.stderr.isatty() else PlainProgress()


class Bars(RichProgressBar):
    """Progress bars with the loss and the dev metrics."""

    def get_metrics(
        self, trainer: lightning.Trainer, pl_module: Any
    ) -> dict[str, int | str | float | dict[str, float]]:
        return {name: round(value, 4) for name, (_, value) in _displayed(trainer.callback_metrics, pl_module).items()}


class PlainProgress(ProgressBar):
    """One line per epoch, and one every `every_seconds` within a long one.

    Args:
        every_seconds: Seconds between two lines within an epoch.
    """

    def __init__(self, every_seconds: float = 30.0) -> None:
        super().__init__()
        self.every_seconds = every_seconds
        self._last = self._start = time.monotonic()
        self._scored = False

    def disable(self) -> None:
        """Called by Lightning on all ranks but the first."""
        self.every_seconds = float("inf")

    def enable(self) -> None:
        """Called by Lightning, but progress is never switched on again."""

    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        self._last = self._start = time.monotonic()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if time.monotonic() - self._last > self.every_seconds:
            self._last = time.monotonic()
            found = trainer.callback_metrics
            loss = found.get("train/loss", found.get("train/critic_loss", float("nan")))
            where = f"epoch {trainer.current_epoch + 1}, step {batch_idx + 1} of {self.total_train_batches}"
            log.info("%s, loss %.4f", where, loss)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self._scored = True

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if self.every_seconds == float("inf"):
            return
        words = [f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"]
        for name, (key, value) in _displayed(trainer.callback_metrics, pl_module).items():
            if self._scored or not key.startswith("dev/"):
                words.append(f"{name} {value:.4f}")
        self._scored = False
        log.info("%s, %.1f s", ", ".join(words), time.monotonic() - self._start)


class SnapshotAveraging(Averaging, WeightAveraging):
    """AASIST's weight averaging: snapshots whenever the dev metric ties or improves, and their mean at the end.

    Jung et al. (ICASSP 2022) train with it. Dev is scored with the current weights, not with the average, and the
    learning-rate schedule stays as it is.

    Args:
        monitor: Dev metric.
        mode: `min` or `max`.
    """

    def __init__(self, monitor: str, mode: str) -> None:
        super().__init__(use_buffers=False)
        self.monitor = monitor
        self.sign = 1.0 if mode == "min" else -1.0
        self.best = float("inf")
        self.n_snapshots = 0
        self._trainer: lightning.Trainer | None = None
        self._scored = False

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._trainer = trainer

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        if epoch_idx is None or self._trainer is None or not self._scored:
            return False
        self._scored = False  # in an epoch without dev scores there is nothing to compare
        value = self.sign * float(self._trainer.callback_metrics[self.monitor])
        if value > self.best:
            return False
        self.best = value
        self.n_snapshots += 1
        return True

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Dev is scored with the current weights."""

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """No weights were swapped, so none are swapped back."""
        self._scored = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """`apply` does this, also where a run was stopped between its last epoch and its end."""

    def average(self, pl_module: lightning.LightningModule) -> str | None:
        if self.n_snapshots == 0:
            return None
        super()._copy_average_to_current(pl_module)
        return f"{self.n_snapshots} snapshots"

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best": self.best, "n_snapshots": self.n_snapshots}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.best, self.n_snapshots = state_dict["best"], state_dict["n_snapshots"]


class Pictures(Callback):
    """Logs the detector's input and the distributions of its scores to TensorBoard.

    At the start of training the first dev clips of each class as audio and as features, after each epoch the
    histograms of the dev scores by class.

    Args:
        n_clips: Number of clips, half of them of each class.
    """

    def __init__(self, n_clips: int = 4) -> None:
        self.n_clips = n_clips

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        board = board_of(trainer)
        if board is None or trainer.global_step > 0:  # a resumed run has them
            return
        dev: Any = trainer.datamodule.val_dataloader().dataset  # type: ignore[attr-defined]
        labels, half = [u.label for u in dev.utterances], -(-self.n_clips // 2)
        first = [i for label in (1, 0) for i in [i for i, own in enumerate(labels) if own == label][:half]]
        items = [item for i in first if "waveform" in (item := dev[i, None])]
        detector = whole_detector(trainer, pl_module.detector)  # split weights would need the other ranks
        for i, item in enumerate(items):
            clip, tag = item["waveform"], f"input/{i}_{('spoof', 'bonafide')[int(item['label'])]}"
            board.add_audio(tag, clip.cpu(), trainer.global_step, sample_rate=detector.sample_rate)
            with torch.no_grad():
                feature = detector.features(clip.unsqueeze(0).to(detector.device))[0].float()  # [C, L]
            if feature.shape[0] > 1:
                add_feature(board, tag, feature, trainer.global_step)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Behind `on_validation_epoch_end`, in which the task puts the scores together."""
        board = board_of(trainer)
        if board is None or pl_module.dev_scores is None:
            return
        scores, labels = pl_module.dev_scores
        for label, word in enumerate(("spoof", "bonafide")):
            if (labels == label).any():
                board.add_histogram(f"dev_scores/{word}", scores[labels == label], trainer.global_step)


def add_feature(board: Any, tag: str, feature: torch.Tensor, step: int) -> None:
    """Log a feature `[C, L]` to TensorBoard as an image, from its smallest to its largest value."""
    low, high = feature.min(), feature.max()
    picture = (feature - low) / (high - low).clamp(min=1e-12)
    board.add_image(tag, picture.flip(0).unsqueeze(0).cpu(), step)  # low bands at the bottom


def board_of(trainer: lightning.Trainer) -> Any:
    """TensorBoard's writer, on rank 0 and where the run has one, else None."""
    writers = [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
    return writers[0] if writers and trainer.is_global_zero else None
