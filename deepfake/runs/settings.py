"""The settings of a command that its parts would reject late, or not at all, checked before anything is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from deepfake.errors import InputError

GROUPS = (
    "dataset", "features", "task", "model", "loss", "optimizer", "scheduler", "monitor", "trainer", "callbacks",
    "logger",
)  # fmt: skip


def _whole(low: int, high: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


COUNT = _whole(1), "a whole number above zero was expected"
SECONDS = lambda value: isinstance(value, int | float) and 0 < value < math.inf, "something above zero was expected"

RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "seed": (_whole(0, 2**32 - 1), "a whole number from 0 to 4294967295 was expected"),
    "sample_rate": COUNT,
    "seconds": SECONDS,
    "train_seconds": SECONDS,
    "batch_size": COUNT,
    "batch_seconds": (lambda value: value is None or SECONDS[0](value), "something above zero, or null, was expected"),
    "score_batch_size": COUNT,
    "num_workers": (_whole(0), "a whole number from 0 was expected; 0 reads without loader processes"),
    "trainer.max_epochs": (
        lambda value: value is None or _whole(0)(value),
        "a whole number was expected; trainer.max_epochs=1 is the shortest training",
    ),
    "trainer.precision": (
        lambda value: not str(value).endswith("16-true"),
        "32-true, bf16-mixed or 16-mixed was expected, since spectra are computed in single precision",
    ),
    "trainer.overfit_batches": (
        lambda value: not value,
        "0 was expected, since each run draws its clips itself; dataset.per_class.train=8 trains on a few utterances",
    ),
    "trainer.limit_train_batches": (lambda value: value != 0, "something above zero was expected"),
    "trainer.limit_val_batches": (
        lambda value: value != 0,
        "something above zero was expected, since the dev scores select the best epoch; dataset.per_class.dev=8 scores "
        "a few utterances",
    ),
}


def check_settings(config: Mapping[str, Any], groups: tuple[str, ...] = ()) -> None:
    """Check what `RULES` says of the keys that a config has.

    Args:
        config: Config of a command, as plain data.
        groups: Groups of configs without which the command cannot do.

    Raises:
        InputError: A value is not as expected, or a group was deleted.
    """
    for group in groups:
        if group not in config:
            remedy = "logger=none switches logging off" if group == "logger" else f"choose another with {group}=..."
            raise InputError(f"~{group}: training needs this part of the config; {remedy}")
    for key, (fits, expected) in RULES.items():
        section: Any = config
        *parents, last = key.split(".")
        for parent in parents:
            section = section.get(parent) or {}
        if last in section and not fits(section[last]):
            value = "null" if section[last] is None else section[last]
            raise InputError(f"{key}={value}: {expected}")
