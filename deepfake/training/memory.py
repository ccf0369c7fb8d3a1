"""Memory of a training step: the batch size that fits into what is free, and an error before one that does not."""

from __future__ import annotations

import copy
import logging
import math
import multiprocessing
import resource
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from deepfake.errors import InputError
from deepfake.training.setup import Setup
from deepfake.training.sharding import FullySharded
from deepfake.training.task import Task

log = logging.getLogger(__name__)

TRIED = 2, 4, 8  # clips of the steps that are measured: two of the three
MARGIN = 1.25  # of an estimate: freed memory lies in pieces, loader processes and dev clips take some too
BULKIEST = 10_000  # values that a step keeps for a sample of its batch: more than any network here
TIMEOUT = 600  # seconds
FEWER = "fewer trainer.devices and a shorter train_seconds need less"


def fit_batch(task: Task, setup: Setup) -> None:
    """Lower the batch size of a run whose step would not fit into free memory, or stop it.

    With `batch_size=auto` it is lowered from the recipe's, to which the learning rate belongs, and never raised. The
    number goes into the run's config, so that a resumed run has the same batches. A number of the user's own is refused
    on a CPU where the kernel would kill the run for certain, and warned of where it might; a GPU has an error for that.

    Args:
        task: Task before its training.
        setup: Its setup, whose config and data get the number.

    Raises:
        InputError: There is no memory for the batch, or for any.
    """
    device, n_local = setup.trainer.strategy.root_device, setup.trainer.num_devices
    tried = task.can_be_tried and not isinstance(setup.trainer.strategy, FullySharded)
    seconds, own = setup.config["train_seconds"], setup.config.get("batch_seconds")
    if setup.auto_batch and (own is not None or not tried):
        why = "batch_seconds" if own is not None else "this task or trainer"
        raise InputError(f"batch_size=auto with {why}: a number was expected, since no step is tried there")
    n = setup.config["batch_size"] if own is None else int(own // seconds)
    if not tried or device.type not in ("cpu", "cuda") or (device.type == "cuda" and not setup.auto_batch):
        return
    free = float(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else _share(n_local)
    n_samples = round(seconds * setup.config["sample_rate"])
    weights = sum(p.nbytes for p in task.detector.parameters())
    if not setup.auto_batch and (n < TRIED[0] or 4 * (n * n_samples * BULKIEST + weights) < free):
        return
    two = _taken(task, setup, TRIED[0], n_samples)
    if two is None:
        log.log(logging.WARNING if setup.auto_batch else logging.DEBUG, "batch_size=%d: its memory is not known", n)
        return
    most = max(two, two * n / TRIED[0])  # for what does not grow with a batch is counted more than once
    if most * MARGIN <= free:
        _decide(setup, n, n, most, free, "at most")
        return
    n_more = TRIED[2] if two * TRIED[2] / TRIED[0] <= free else TRIED[1]
    more = _taken(task, setup, n_more, n_samples) if two * MARGIN <= free else None
    each = math.inf if more is None else max(1.0, (more - two) / (n_more - TRIED[0]))  # bytes of a further clip
    left = free / MARGIN - two
    fits = TRIED[0] + math.floor(left / each) if left >= 0 or not math.isinf(each) else 0
    _decide(setup, n, min(n, fits), max(two, two + (n - TRIED[0]) * each), free)


def _decide(setup: Setup, n: int, fits: int, need: float, free: float, how: str = "about") -> None:
    """Set the batch size to `fits`, at most n, of which a step takes `need` bytes; or refuse it; or nothing."""
    n_local, config = setup.trainer.num_devices, setup.config
    takes = "more than there is" if math.isinf(need) else f"{how} {need / 2**30:.1f} GiB"
    free_words = f"{free / 2**30:.1f} GiB are free" + (f" for each of {n_local} processes" if n_local > 1 else "")
    facts = f"a training step of {n} clips takes {takes} of memory, and {free_words}"
    if not setup.auto_batch:
        if need > free * MARGIN:
            own, seconds = config.get("batch_seconds"), config["train_seconds"]
            given = (
                f"batch_size={n}: at most {fits}" if own is None else f"batch_seconds={own}: at most {fits * seconds}"
            )
            raise InputError(f"{given} was expected, since {facts}; {FEWER}")
        if need > free:
            log.warning("the run may be killed for want of memory: %s; %s", facts, FEWER)
    elif fits < min(n, TRIED[0]):
        raise InputError(f"batch_size=auto: room for {TRIED[0]} clips was expected, but {facts}; {FEWER}")
    elif fits == n:
        log.info("batch_size=auto: %d, as in the recipe; %s", n, facts)
    else:
        log.warning(
            "batch_size=auto: %d instead of the recipe's %d, since %s; optimizer.lr stays that of the recipe, "
            "trainer.accumulate_grad_batches=%d would make up for it",
            fits, n, facts, -(-n * config["trainer"]["accumulate_grad_batches"] // fits),
        )  # fmt: skip
        config["batch_size"] = setup.datamodule.batch_size = fits


# ---------------------------------------------------------------- one step


def _taken(task: Task, setup: Setup, n: int, n_samples: int) -> float | None:
    """Bytes that a step of n clips takes: infinite where there are not so many, None where it cannot be known."""
    device = setup.trainer.strategy.root_device
    if device.type == "cuda":
        return _taken_on_gpu(task, setup, n, n_samples, device)
    if not sys.platform.startswith("linux"):
        return None
    context = multiprocessing.get_context("fork")  # the peak of a process of its own, which has the parent's weights
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(theirs, task, setup, n, n_samples), daemon=True)
    child.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(TIMEOUT) else None
    except EOFError:
        return math.inf  # it was killed
    finally:
        child.kill()
        child.join()


def _child(to: Connection, task: Task, setup: Setup, n: int, n_samples: int) -> None:
    torch.set_num_threads(1)  # those of the parent do not live here
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # the first to be killed where memory is short
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        _step(task, setup, n, n_samples)
        to.send(1024.0 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
    except (MemoryError, RuntimeError) as error:
        to.send(math.inf if "memory" in str(error) else None)
    except Exception:  # the training itself will say what is wrong
        to.send(None)


def _taken_on_gpu(task: Task, setup: Setup, n: int, n_samples: int, device: torch.device) -> float:
    """As `_taken`, by a copy of the task in this process; its random numbers are not the run's."""
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    try:
        with torch.random.fork_rng([device]):
            _step(copy.deepcopy(task).to(device), setup, n, n_samples)  # type: ignore[attr-defined]
        return float(torch.cuda.max_memory_allocated(device) - before)
    except torch.OutOfMemoryError:
        return math.inf
    finally:
        torch.cuda.empty_cache()


def _step(task: Task, setup: Setup, n: int, n_samples: int) -> None:
    device = setup.trainer.strategy.root_device
    batch = {
        "waveform": 0.1 * torch.randn(n, n_samples, device=device),
        "label": torch.arange(n, device=device) % 2,
        "spoofed": torch.zeros(n, 2, dtype=torch.bool, device=device),
    }
    with setup.trainer.precision_plugin.forward_context():
        task.trial_step(batch)


# ---------------------------------------------------------------- free memory


def _share(n_local: int) -> float:
    """Bytes that one of n processes of this machine may take beyond what this one has; the others begin like it."""
    if not sys.platform.startswith("linux"):
        return math.inf  # nothing is measured there
    own = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() if n_local > 1 else 0
    return max(0.0, (free_bytes() + own) / n_local - own)


def free_bytes(root: Path = Path("/")) -> float:
    """Memory that this machine and this process's control groups (of a container, of a SLURM job) have left.

    Args:
        root: Where `proc` and `sys` are.
    """
    with (root / "proc/meminfo").open() as file:
        available = next(line.split()[1] for line in file if line.startswith("MemAvailable"))
    found = [1024.0 * int(available)]
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            found += _left(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes")
        elif not controllers:
            found += _left(root / "sys/fs/cgroup", path, "memory.max", "memory.current")
    return min(found)


def _left(mount: Path, path: str, limit: str, usage: str) -> list[float]:
    """What the group at a path and those above it have left; in a container the path may be that outside of it."""
    group, left = mount / path.lstrip("/"), []
    for folder in (group, *group.parents):
        if (folder / limit).is_file() and (bound := (folder / limit).read_text().strip()) != "max":
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            cached = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))  # given up on demand
            left.append(float(int(bound) - int((folder / usage).read_text()) + cached))
        if folder == mount:
            break
    return left
