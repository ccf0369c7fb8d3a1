"""Pruning: early stopping of the unpromising trials of a sweep."""

from __future__ import annotations

import json
import logging
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from deepfake.atomic import write_atomically
from deepfake.errors import InputError
from deepfake.sweep.trial import CURVE, RECORD, read_curve, read_trial

log = logging.getLogger(__name__)


class Pruning(Callback):
    """The median stopping rule: a trial stops early if most others had a better value by the same epoch.

    Golovin et al. ("Google Vizier", KDD 2017, section 3.2.2) stop a trial whose best value is worse than the median
    over the other trials. Here that is the median of their best values by that epoch; Vizier takes their running
    averages, Optuna's `MedianPruner` their values at that epoch. Trials exchange values through files alone: each
    writes its metric by epoch into its folder, so that the rule also works across processes and machines. A stopped
    trial is finished as usual, with the detector of its best epoch, and marked `pruned`.

    Outside a sweep the callback does nothing.

    Args:
        run_dir: Folder of the trial; those of the other trials lie beside it.
        monitor: Dev metric that is compared.
        mode: `min` or `max`: which values of the metric are good.
        warm_up_epochs: Epochs before which no trial is stopped.
        min_trials: Fewest other trials to compare with.

    Raises:
        InputError: A number below 1, or another mode.
    """

    def __init__(self, run_dir: str, *, monitor: str, mode: str, warm_up_epochs: int = 3, min_trials: int = 4) -> None:
        if warm_up_epochs < 1 or min_trials < 1:
            got = f"warm_up_epochs={warm_up_epochs}, min_trials={min_trials}"
            raise InputError(f"callbacks.pruning: {got}: numbers from 1 were expected")
        if mode not in ("min", "max"):
            raise InputError(f"callbacks.pruning.mode={mode}: min or max was expected")
        self.folder = Path(run_dir)
        self.monitor = monitor
        self.mode = mode
        self.warm_up_epochs = warm_up_epochs
        self.min_trials = min_trials
        self.pruned = False

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        metrics = trainer.callback_metrics
        if trainer.sanity_checking or self.monitor not in metrics or not (self.folder / RECORD).is_file():
            return
        epoch = trainer.current_epoch
        # a resumed run trains later epochs again: their earlier values are dropped
        values = {k: value for k, value in _values(self.folder).items() if k < epoch}
        values[epoch] = float(metrics[self.monitor])
        if epoch + 1 >= self.warm_up_epochs:
            self.pruned = worse_than_median(values, self._others(), epoch, mode=self.mode, min_trials=self.min_trials)
        if trainer.is_global_zero:
            content = {"metric": self.monitor, "values": values, "pruned": self.pruned}
            write_atomically(self.folder / CURVE, json.dumps(content) + "\n")
        if self.pruned:
            log.info("pruned after epoch %d: most trials of the sweep had a better value by then", epoch + 1)
            trainer.should_stop = True

    def _others(self) -> list[tuple[dict[int, float], bool]]:
        """Metric by epoch of each other trial of the sweep, and whether it finished."""
        folders = sorted(path.parent for path in self.folder.parent.glob(f"*/{RECORD}"))
        return [(_values(f), read_trial(f).state == "finished") for f in folders if f != self.folder]

    def state_dict(self) -> dict[str, Any]:
        return {"pruned": self.pruned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.pruned = state_dict["pruned"]


def _values(folder: Path) -> dict[int, float]:
    """Metric by epoch of a trial."""
    return {int(epoch): value for epoch, value in read_curve(folder).get("values", {}).items()}


def worse_than_median(
    own: Mapping[int, float],
    others: Sequence[tuple[Mapping[int, float], bool]],
    epoch: int,
    *,
    mode: str,
    min_trials: int,
) -> bool:
    """Whether a trial's best value by an epoch is worse than the median of the other trials' best values by then.

    Other trials count if they have reached that epoch or finished before it. NaN is worse than any value.

    Args:
        own: The trial's metric by epoch, from 0.
        others: Metric by epoch of each other trial, and whether it finished.
        epoch: Current epoch of the trial.
        mode: `min` or `max`: which values of the metric are good.
        min_trials: With fewer other trials the answer is False.
    """
    sign = 1.0 if mode == "min" else -1.0

    def best(values: Mapping[int, float]) -> float:
        return min((sign * v for e, v in values.items() if e <= epoch and math.isfinite(v)), default=math.inf)

    reached = [best(values) for values, finished in others if values and (finished or max(values) >= epoch)]
    return len(reached) >= min_trials and best(own) > statistics.median(reached)
