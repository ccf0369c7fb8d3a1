"""Trials of a sweep: running one, and its record, which is written whether it succeeds or fails."""

from __future__ import annotations

import gc
import json
import logging
import math
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepfake.atomic import write_atomically
from deepfake.errors import InputError
from deepfake.runs.folder import RunFolder

log = logging.getLogger(__name__)

RECORD, CURVE, TRACEBACK = "trial.json", "dev_curve.json", "traceback.txt"
WORST = {"min": 1e9, "max": -1e9}  # finite, and worse than any metric or objective


@dataclass
class Trial:
    """The record of a trial, `trial.json`; a file, because launchers run trials in other processes.

    Args:
        number: Number of the trial, from 0.
        overrides: Overrides by the user or the search, as `key=value`.
        metric: Monitored dev metric.
        mode: `min` or `max`: which values of the metric are good.
        state: `running`, then `finished`, `pruned` or `failed`.
        value: Best value of the metric; None where there is none, as for a failed trial.
        seconds: Time spent on the trial, over all attempts.
        error: Why it failed, in one sentence.
        passed_over: Whether some audio files were skipped; the name is that in the file.
        folder: Folder of the trial.
    """

    number: int
    overrides: list[str]
    metric: str
    mode: str
    state: str = "running"
    value: float | None = None
    seconds: float = 0.0
    error: str = ""
    passed_over: bool = False
    folder: Path = field(default_factory=Path)

    @property
    def done(self) -> bool:
        return self.state in ("finished", "pruned")

    @property
    def scored(self) -> bool:
        """Whether it is done and has a value."""
        return self.done and self.value is not None

    @property
    def objective(self) -> float:
        """The value that the sweep compares, always finite."""
        return WORST[self.mode] if self.value is None else self.value

    def write(self) -> None:
        content = {key: value for key, value in asdict(self).items() if key != "folder"}
        write_atomically(self.folder / RECORD, json.dumps(content, indent=2) + "\n")


def read_trial(folder: Path) -> Trial:
    """Read the record of a trial.

    Raises:
        InputError: The record is missing or malformed.
    """
    path = folder / RECORD
    try:
        return Trial(**json.loads(path.read_text(encoding="utf-8")), folder=folder)
    except (OSError, ValueError, RecursionError, TypeError) as error:
        raise InputError(f"{path} is not the record of a trial: {error}") from error


def attempt(
    folder: Path,
    run: Callable[[bool], tuple[float | None, bool]],
    *,
    number: int,
    overrides: Sequence[str],
    monitor: Mapping[str, str],
    sentence: Callable[[BaseException], str | None],
) -> Trial:
    """Run a trial and record its outcome: a failure ends the trial, not the sweep.

    If the same sweep ran in this folder before, finished trials are kept and unfinished ones resumed.

    Args:
        folder: Folder of the trial.
        run: Called with whether to resume; returns the objective, and whether files were skipped.
        number: Number of the trial.
        overrides: Overrides of the trial, as `key=value`.
        monitor: Monitored `metric` and its `mode`.
        sentence: Turns an error into one sentence for the user, or None if it is a fault of the program.

    Raises:
        InputError: The folder holds another trial.
        KeyboardInterrupt: The user interrupted the sweep.
    """
    trial = Trial(number, list(overrides), monitor["metric"], monitor["mode"], folder=folder)
    begun = (folder / RECORD).is_file()
    if begun:
        earlier = read_trial(folder)
        if earlier.overrides != trial.overrides:
            words = " ".join(earlier.overrides)
            raise InputError(f"{folder} holds a trial of another sweep ({words}): set another hydra.sweep.dir")
        if earlier.done:
            log.info("trial %d is done already", number)
            return earlier
        trial.seconds = earlier.seconds
    trial.write()
    (folder / TRACEBACK).unlink(missing_ok=True)
    start = time.monotonic() - trial.seconds
    try:
        value, trial.passed_over = run(begun and RunFolder(folder).config.is_file())
        trial.value = value if value is not None and math.isfinite(value) else None
        trial.state = "pruned" if read_curve(folder).get("pruned") else "finished"
    except BaseException as error:
        trial.state, trial.error = "failed", _error_text(folder, error, sentence)
        interrupted = isinstance(error.__context__, SystemExit)  # lightning's way out of Ctrl-C
        if interrupted or not isinstance(error, Exception):
            raise
    finally:
        trial.seconds = time.monotonic() - start
        trial.write()
    if trial.error:
        print(f"error: trial {trial.number}: {trial.error}", file=sys.stderr)
        gc.collect()  # the failed trial's network, which its traceback held
    return trial


def _error_text(folder: Path, error: BaseException, sentence: Callable[[BaseException], str | None]) -> str:
    """One sentence on an error; for a fault of the program the traceback is written into the folder."""
    if (message := sentence(error)) is not None:
        return message
    write_atomically(folder / TRACEBACK, "".join(traceback.format_exception(error)))
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first} (see {folder / TRACEBACK})"


def read_curve(folder: Path) -> dict[str, Any]:
    """The monitored metric by epoch, as the callback `Pruning` writes it; empty without that callback."""
    path = folder / CURVE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
