"""Runs that are interrupted, to be resumed."""

from __future__ import annotations

import pytest
from omegaconf import DictConfig

from deepfake import run
from deepfake.training.repeatable import Repeatable

with_any_workers = pytest.mark.parametrize("workers", [0, 2])


class Stop(Exception):
    """The interruption."""


def stop_at_once(*_: object, **__: object) -> None:
    """Put in place of the function at which a run is to be interrupted."""
    raise Stop


def train_until(cfg: DictConfig, epoch: int, step: int = 0) -> None:
    """Train, and interrupt the run before a step of an epoch, both counted from 0."""
    start = Repeatable.on_train_batch_start

    def start_or_stop(self: Repeatable, batch: object, batch_idx: int) -> None:
        if (self.current_epoch, batch_idx) == (epoch, step):
            raise Stop
        start(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Repeatable, "on_train_batch_start", start_or_stop)
        run.train(cfg)


def train_without_report(cfg: DictConfig) -> float | None:
    """Train to the end without the report, whose pictures take most of a tiny run's time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("write_report", "summaries"):
            patch.setattr(f"deepfake.training.finish.{name}", lambda *_, **__: ())
        return run.train(cfg)
