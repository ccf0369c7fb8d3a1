"""From the parts of a run to all that it leaves behind: what `train.py` does."""

from __future__ import annotations

import logging
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import yaml
from lightning.pytorch.utilities import rank_zero_only

from deepfake.allocator import keep_freed_memory
from deepfake.atomic import write_atomically
from deepfake.datasets.utterance import Utterance
from deepfake.detector import Detector, init_from
from deepfake.errors import InputError
from deepfake.loading.datamodule import DataModule
from deepfake.runs.environment import write_environment
from deepfake.runs.folder import RunFolder
from deepfake.scores.table import Scores
from deepfake.training.callbacks import Resumable
from deepfake.training.course import Course
from deepfake.training.finish import fit_normalisation

log = logging.getLogger(__name__)


class Trained(NamedTuple):
    """What training gave.

    Attributes:
        metrics: What stands in `reports/metrics.json`.
        new: False for a run that was finished already.
        passed_over: Some files could not be used.
    """

    metrics: dict[str, Any]
    new: bool
    passed_over: bool


def train(
    config: Mapping[str, Any],
    *,
    build: Callable[..., Any],
    corpus: Callable[[str], Iterable[Utterance]],
    segments: Callable[[str], Any],
    judged: Callable[[Scores, float], dict[str, Any]],
) -> Trained | None:
    """Train as the config says, or go on with what had been begun.

    Args:
        config: The run's, as plain data.
        build: Makes the object that a part of the config describes, with further arguments.
        corpus: `corpus(partition)` yields the utterances.
        segments: Known spoofed stretches of a partition, or None; see `Course`.
        judged: Metrics of dev scores at a threshold.

    Returns:
        None on other ranks than 0.

    Raises:
        InputError: Something in the config or in the corpus cannot be used, the folder holds another run, or training
            was interrupted.
    """
    run_dir = Path(config["run_dir"])
    folder = RunFolder(run_dir)
    last = folder.last_checkpoint
    again = f"python train.py {shlex.quote(f'resume={run_dir}')}"
    if config["resume"] and (metrics := folder.finished()) is not None:
        log.info("%s is finished already: nothing to resume", run_dir)
        return Trained(metrics, new=False, passed_over=False)
    keep_freed_memory()
    _hush()
    lightning.seed_everything(config["seed"], verbose=False)
    main = rank_zero_only.rank == 0
    if main and not config["resume"] and (last.is_file() or folder.done):
        raise InputError(f"{run_dir} holds a run already: `{again}` goes on with it")

    datamodule = datamodule_of(config, corpus, build)
    detector = Detector({key: config[key] for key in ("features", "model", "sample_rate", "seconds", "score")})
    checkpoint = str(last) if config["resume"] and last.is_file() else None
    if config["init_from"] and not checkpoint:
        for sentence in init_from(detector, config["init_from"]):
            log.warning("init_from: %s", sentence)
    loss, optimizer, scheduler = (build(config[part]) for part in ("loss", "optimizer", "scheduler"))
    task = build(config["task"], detector, loss, optimizer, scheduler, _recursive_=False)
    datamodule.supervised = getattr(task, "supervised", True)
    callbacks = [build(c) for c in config["callbacks"].values() if c] + [Resumable(dict(config))]
    trainer = build(config["trainer"], callbacks=callbacks, logger=build(config["logger"]))
    if main:
        run_dir.mkdir(parents=True, exist_ok=True)
        if not config["resume"]:
            write_atomically(folder.config, yaml.safe_dump(dict(config), sort_keys=False))
        write_environment(run_dir, sys.argv, trainer.strategy.root_device, config["seed"])
    with _logfile(folder.log if main else None):
        if main:
            datamodule.prepare_data()
            fit_normalisation(detector, datamodule)
            name = config["model"]["_target_"].rpartition(".")[2]
            n_parameters = sum(p.numel() for p in detector.parameters())
            sizes = f"{len(datamodule.train)} training and {len(datamodule.dev)} dev utterances"
            log.info("%s on %s: %s parameters, %s", name, datamodule.name, f"{n_parameters:,}", sizes)
        try:
            metrics = task.learn(Course(config, run_dir, datamodule, trainer, checkpoint, segments, judged))
        except SystemExit:  # lightning's way out of Ctrl-C
            raise InputError(f"interrupted: `{again}` goes on from the last whole epoch") from None
    return metrics and Trained(metrics, new=True, passed_over=bool(datamodule.skipped))


def datamodule_of(
    config: Mapping[str, Any], corpus: Callable[[str], Iterable[Utterance]], build: Callable[..., Any]
) -> DataModule:
    """The DataModule of a run."""
    dataset = config["dataset"]
    return DataModule(
        corpus,
        name=dataset["name"],
        sample_rate=config["sample_rate"],
        seconds=config["seconds"],
        train_seconds=config["train_seconds"],
        batch_size=config["batch_size"],
        score_batch_size=config["score_batch_size"],
        num_workers=config["num_workers"],
        seed=config["seed"],
        per_class=dataset["per_class"] or {},
        bonafide_share=config.get("bonafide_share"),
        on_bad_audio=dataset["on_bad_audio"],
        augment=[build(a) for a in (config.get("augment") or {}).values()],
        run_dir=Path(config["run_dir"]),
    )


@contextmanager
def _logfile(path: Path | None) -> Iterator[None]:
    """Write the log to a file as well, for as long as the run lasts."""
    handler = logging.FileHandler(path, delay=True) if path else logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def _hush() -> None:
    """Leave the trainer's advertisements and what is meant for its developers out of the log."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger(name).handlers.clear()
    for message in (
        "isinstance.treespec",
        "The number of training batches",
        "Checkpoint directory .* exists",
        "does not have many workers",
        "Found .* in eval mode",
        "It is recommended to use .*sync_dist",
        "ReduceLROnPlateau conditioned on metric",
    ):
        warnings.filterwarnings("ignore", message=f".*{message}")
