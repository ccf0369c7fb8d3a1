"""The LightningModule that trains a detector."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.features.pretrained import Pretrained
from deepfake.metrics.classification import at_threshold, auc
from deepfake.metrics.eer import eer
from deepfake.training.finish import best_weights, finish
from deepfake.training.groups import optimizer_of
from deepfake.training.repeatable import Repeatable
from deepfake.training.setup import Setup, checkpoint_of
from deepfake.training.sharding import FullySharded, whole_detector


class Detection(Repeatable):
    """Training of a detector of spoofed clips.

    Each epoch ends with the scores of the dev partition: the raw scores, each utterance once, are in `dev_scores`, and
    their EER, AUC and accuracy (at the EER threshold) are logged as `dev/eer`, `dev/auc` and `dev/accuracy`; of a mix,
    the EER of each of its corpora as `dev/eer_<corpus>` too.

    Args:
        detector: Detector to be trained.
        loss: Loss of log-odds `[B]` and labels `[B]`.
        optimizer: Called with the parameters, see `optimizer_of`.
        scheduler: Called with the optimiser, or None. It advances with every step, one that watches a metric
            (`ReduceLROnPlateau`) with every epoch; `T_max` or `total_steps`, where it has such an argument, is filled
            with the number of steps.
        monitor: The metric that such a scheduler watches.
        seed: Seed of dropout and the like, see `Repeatable`.
        freeze: Names of parts of the detector that are not trained, including batch-norm statistics
            (`model.encoder.0`): the first layers in a fine-tuning, which also cost the most time.
        compile: Whether training steps run the network, and a pre-trained front end, compiled, see `torch.compile`.

    Raises:
        InputError: The detector has no part of such a name.
    """

    parts = ("loss", "optimizer", "scheduler")
    shardable = can_be_tried = True
    progress_metrics: ClassVar = {
        "loss": "train/loss_epoch", "dev loss": "dev/loss", "dev EER": "dev/eer", "dev AUC": "dev/auc",
    }  # fmt: skip

    def __init__(
        self,
        detector: Detector,
        loss: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        scheduler: Callable[..., Any] | None,
        *,
        monitor: str,
        seed: int,
        freeze: Sequence[str] = (),
        compile: bool = False,
    ) -> None:
        super().__init__(detector, seed)
        parts = [detector.model] + [detector.features] * isinstance(detector.features, Pretrained) if compile else []
        # of the functions, not of the modules, which checkpoints would list twice; spectra have little to gain
        compiled = [torch.compile(part.forward, dynamic=False) for part in parts]
        self._network, self._front_end = (*compiled, None, None)[:2]
        self.loss = loss
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._monitor = monitor
        self._batches: list[tuple[Tensor, ...]] = []
        self.dev_scores: tuple[np.ndarray, np.ndarray] | None = None
        parts = dict(detector.named_modules())
        if unknown := [name for name in freeze if name not in parts]:
            known = ", ".join(name for name in parts if name.count(".") in (1, 2))
            raise InputError(f"task.freeze: the detector has no {unknown[0]}; it has {known}")
        self._frozen = [parts[name].requires_grad_(False).eval() for name in freeze]

    def train(self, mode: bool = True) -> Detection:
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def fit(self, setup: Setup) -> dict[str, Any] | None:
        """Train, and write the files of the run, see `deepfake.training.finish.finish`."""
        if self._network and setup.datamodule.batch_seconds is not None:
            raise InputError(
                "task.compile=true with batch_seconds: clips of one length were expected, since a network is compiled "
                "for each: leave one of the two out"
            )
        setup.trainer.fit(self, setup.datamodule, ckpt_path=checkpoint_of(setup.config), weights_only=True)
        if not setup.trainer.is_global_zero:
            return None
        self.detector = whole_detector(setup.trainer, self.detector)
        best_weights(setup, self.detector)
        return finish(setup, self.detector, self.more_metrics(setup))

    def more_metrics(self, setup: Setup) -> dict[str, float]:
        """Further metrics of a finished run, with its best weights."""
        return {}

    def loss_of(self, batch: dict[str, Any]) -> Tensor:
        """The training loss of a batch."""
        front_end, network = self._front_end or self.detector.features, self._network or self.detector.model
        logits = network(front_end(batch["waveform"]))
        return self.loss(self.detector.log_odds(logits), batch["label"])

    def trial_step(self, batch: dict[str, Any]) -> None:
        self._network = self._front_end = None  # compiling takes a minute, and is of the original, not of this copy
        self.detector.features.normalise.mode = "none"  # its statistics are not there yet
        optimizer = optimizer_of(self._optimizer, self.train())
        self.loss_of(batch).backward()
        optimizer.step()

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss = self.loss_of(batch)
        if not torch.isfinite(loss):
            raise InputError(
                f"the training loss became {loss.item()} in epoch {self.current_epoch}: lower optimizer.lr, or set "
                "trainer.gradient_clip_val; the last complete epoch is in checkpoints/last.ckpt"
            )
        n = len(batch["label"])
        self.log("train/loss", loss, on_step=True, on_epoch=False, batch_size=n)
        self.log("train/loss_epoch", loss, on_step=False, on_epoch=True, logger=False, batch_size=n, sync_dist=True)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        logits = self.detector.logits(batch["waveform"]).float()
        score, log_odds = self.detector.score(logits), self.detector.log_odds(logits)
        self._batches.append((batch["index"], score, log_odds, batch["label"]))

    def gathered(self, batches: list[tuple[Tensor, ...]]) -> list[Tensor]:
        """Tensors of the dev batches of all ranks, each utterance once and by its index, which comes first."""
        tensors = [torch.cat(parts) for parts in zip(*batches, strict=True)]
        batches.clear()
        if self.trainer.world_size > 1:
            tensors = [self.all_gather(x).flatten(0, 1) for x in tensors]  # type: ignore[union-attr]
        _, first = np.unique(tensors[0].cpu().numpy(), return_index=True)  # ranks are padded with repeats
        return [x[first] for x in tensors]

    def on_validation_epoch_end(self) -> None:
        index, score, log_odds, label = self.gathered(self._batches)
        self.dev_scores = scores, labels = score.double().cpu().numpy(), label.cpu().numpy()
        if not np.isfinite(scores).all():
            raise InputError(
                f"{int((~np.isfinite(scores)).sum())} of {len(scores)} dev scores are not finite after epoch "
                f"{self.current_epoch}: lower optimizer.lr, or train with trainer.precision=32-true"
            )
        if len(set(labels.tolist())) < 2:  # in a sanity check of a few utterances
            return
        rate, threshold = eer(scores, labels)
        values = {
            "dev/loss": float(self.loss(log_odds, label)),
            "dev/eer": rate,
            "dev/auc": auc(scores, labels),
            "dev/accuracy": at_threshold(scores, labels, threshold)["accuracy"],
        }
        dev = self.trainer.datamodule.dev  # type: ignore[attr-defined]
        values |= eer_by_corpus(scores, labels, [dev[i].conditions.get("corpus", "") for i in index.tolist()])
        self.log_dict(values, rank_zero_only=False, sync_dist=False)

    def configure_model(self) -> None:
        """Called by the trainer before the optimiser is made: split the weights, where its strategy does that."""
        if isinstance(strategy := self.trainer.strategy, FullySharded):
            strategy.shard(self.detector, self.loss)

    def configure_optimizers(self) -> Any:
        optimizer = optimizer_of(self._optimizer, self)
        if self._scheduler is None:
            return optimizer
        n_steps = int(self.trainer.estimated_stepping_batches)
        arguments = inspect.signature(self._scheduler).parameters
        given = getattr(self._scheduler, "keywords", {})
        fill = {name: n_steps for name in ("T_max", "total_steps") if name in arguments and given.get(name) is None}
        scheduler = self._scheduler(optimizer, **fill)
        plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
        # A plateau scheduler advances with the epoch's last step, after dev was scored: with `interval: epoch` it would
        # advance after the checkpoint was written, and a resumed run would miss one step of it.
        every = math.ceil(self.trainer.num_training_batches) if plateau else 1
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": scheduler, "interval": "step", "frequency": every, "monitor": self._monitor,
                "strict": False,
            },
        }  # fmt: skip


def eer_by_corpus(scores: np.ndarray, labels: np.ndarray, corpora: Sequence[str]) -> dict[str, float]:
    """`dev/eer_<corpus>` of each named corpus that has both classes; scores, labels and names `[N]`."""
    names, values = np.array(corpora), {}
    for name in sorted(set(corpora) - {""}):
        own = names == name
        if 0 < labels[own].mean() < 1:
            values[f"dev/eer_{name}"] = eer(scores[own], labels[own])[0]
    return values
