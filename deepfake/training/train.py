"""Training: from the parts of a run to its folder."""

from __future__ import annotations

import logging
import re
import shlex
import sys
import textwrap
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import yaml
from lightning.pytorch.utilities import rank_zero_only

from deepfake.allocator import keep_freed_memory
from deepfake.atomic import named_disk, write_atomically
from deepfake.detector import Detector
from deepfake.detector_parts import part_of
from deepfake.errors import InputError, sentence
from deepfake.features.frontend import FrontEnd
from deepfake.loading.reading import LoaderDied, deaths_explained
from deepfake.runs.environment import write_environment
from deepfake.runs.folder import RunFolder
from deepfake.runs.lock import locked
from deepfake.training.checkpoints import REMEDY
from deepfake.training.events import rewind
from deepfake.training.finish import fit_normalisation
from deepfake.training.memory import fit_batch
from deepfake.training.setup import Setup, checkpoint_of, folder_of
from deepfake.training.sharding import require_shardable
from deepfake.training.task import Task
from deepfake.training.weights import init_from

log = logging.getLogger(__name__)

PEER_LOST = re.compile("gloo|NCCL|Connection (closed|reset) by peer|Broken pipe")  # in errors of torch.distributed


class Trained(NamedTuple):
    """A finished training.

    Attributes:
        metrics: Metrics of the report.
        new: False for a run that was finished already.
        skipped: Whether some files could not be used.
    """

    metrics: dict[str, Any]
    new: bool
    skipped: bool


def begin(config: Mapping[str, Any]) -> Trained | None:
    """Seed everything, unless the run is finished.

    Args:
        config: Config of the run, as plain data.

    Returns:
        The result of a resumed run that is finished, else None.

    Raises:
        InputError: The folder holds another run.
    """
    folder = folder_of(config)
    if config["resume"] and (metrics := folder.finished()) is not None:
        log.info("%s is finished already: nothing to resume", folder.path)
        return Trained(metrics, new=False, skipped=False)
    if rank_zero_only.rank == 0 and not config["resume"] and (folder.last_checkpoint.is_file() or folder.done):
        raise InputError(f"{folder.path} holds a run already: `{_resume_command(folder)}` goes on with it")
    keep_freed_memory()
    _silence_lightning()
    threading.excepthook = _on_thread_error
    lightning.seed_everything(config["seed"], verbose=False)
    return None


def new_detector(config: Mapping[str, Any]) -> Detector:
    """The detector of a run, with the weights of `features.weights` or `init_from` unless it is resumed."""
    parts = {key: config[key] for key in ("features", "model", "sample_rate", "seconds", "score")}
    features = dict(config["features"])
    target = features.pop("_target_")
    parts["features"] = {"_target_": target, **part_of(FrontEnd, target).completed(features)}
    detector = Detector(parts)
    if checkpoint_of(config):
        return detector
    if not config["init_from"]:
        detector.features.pretrain()
        return detector
    for note in init_from(detector, config["init_from"]):
        log.warning("init_from: %s", note)
    return detector


def train(task: Task, setup: Setup) -> Trained | None:
    """Train, from the beginning or from the last checkpoint.

    Args:
        task: Task with its detector.
        setup: Config, data and trainer.

    Returns:
        None on other ranks than 0.

    Raises:
        InputError: The corpus cannot be used, or training was interrupted.
    """
    require_shardable(task, setup)
    folder = setup.folder
    main = rank_zero_only.rank == 0
    on = f"`{_resume_command(folder)}` goes on from the last complete epoch"
    taken = "wait until it has ended, or train in another folder"
    with locked(folder.lock, taken) if main else nullcontext(), _logfile(folder.log if main else None):
        try:
            with named_disk(folder.path), deaths_explained():
                if main:
                    _prepare(task, setup)
                metrics = task.fit(setup)
        except (KeyboardInterrupt, SystemExit) as error:  # lightning makes the second of the first
            if isinstance(error, SystemExit) and error.code != 1:  # submitit ends a job so that is to begin again
                raise
            raise InputError(f"interrupted: {on}") from None
        except LoaderDied as error:
            raise InputError(f"{error}; {on}") from error
        except Exception as error:
            if setup.trainer.world_size > 1 and PEER_LOST.search(str(error)):
                raise InputError(f"another process of this training ended: {on}") from error
            places = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
            if sentence(error) is None and any(Path(place).stem == "checkpoint_connector" for place in places):
                reason = textwrap.shorten(str(error), 120, placeholder=" ...")
                raise InputError(f"{folder.last_checkpoint} does not fit its run ({reason}): {REMEDY}") from error
            raise
    return None if metrics is None else Trained(metrics, new=True, skipped=bool(setup.datamodule.skipped))


def _prepare(task: Task, setup: Setup) -> None:
    """On rank 0: what the folder says of the run, the corpus, and the statistics of the front end."""
    config, folder, datamodule = setup.config, setup.folder, setup.datamodule
    fit_batch(task, setup)
    if config["resume"]:
        rewind(folder)
    else:
        write_atomically(folder.config, yaml.safe_dump(dict(config), sort_keys=False))
    resumed = bool(config["resume"])
    write_environment(folder.path, sys.argv, setup.trainer.strategy.root_device, config["seed"], resumed=resumed)
    datamodule.prepare_data()
    fit_normalisation(task.detector, datamodule)
    name = config["model"]["_target_"].rpartition(".")[2]
    n_parameters = sum(p.numel() for p in task.detector.parameters())
    sizes = f"{len(datamodule.train)} training and {len(datamodule.dev)} dev utterances"
    log.info("%s on %s: %s parameters, %s", name, datamodule.corpus.name, f"{n_parameters:,}", sizes)


def _resume_command(folder: RunFolder) -> str:
    """The command that resumes a run."""
    return f"python train.py {shlex.quote(f'resume={folder.path}')}"


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


def _on_thread_error(arguments: threading.ExceptHookArgs) -> None:
    """Leave the errors of the system to the main thread, which gets them from TensorBoard's with its next value."""
    if not isinstance(arguments.exc_value, OSError):
        threading.__excepthook__(arguments)


def _silence_lightning() -> None:
    """Keep the trainer's advertisements and its notes to developers out of the log."""
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
