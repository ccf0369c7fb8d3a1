"""Wiring: composes a run from a config. The only file of the package that imports hydra."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from deepfake import CONF, commandline
from deepfake.errors import InputError, printable, sentence
from deepfake.processes import SlurmStep, end_on_signals, folder_name, restarts

if TYPE_CHECKING:  # torch and lightning take seconds to import: `--help` and `--cfg job` go without
    from deepfake.commands.outcome import Outcome
    from deepfake.datasets.corpus import Corpus
    from deepfake.training.setup import Setup
    from deepfake.training.task import Task

log = logging.getLogger(__name__)

_state = {"skipped": False, "failed": False}


def _run_folder(name: str, resume: str | None, check: bool) -> str:
    """Where Hydra puts a run: a folder of its own, the one that is resumed, or, for a check, no new one."""
    resume = resume and str(commandline.run_folder(resume))
    if check or (resume and not Path(resume).is_dir()):
        return "."
    return resume or f"outputs/train/{name}/{folder_name() or datetime.now().strftime('%Y-%m-%d_%H-%M-%S-%f')}"


def _groups(*names: str) -> str:
    """A line for each group of configs with its choices, for `--help`."""
    lines = []
    for name in names:
        choices = ", ".join(sorted(path.stem for path in (CONF / name).glob("*.yaml")))
        lines += textwrap.wrap(f"  {name:10} {choices}", 80, subsequent_indent=" " * 13, break_on_hyphens=False)
    return "\n".join(lines)


def _choices() -> dict[str, str]:
    """The choice of each group of configs, for the run's config."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    return {group: str(name) for group, name in choices.items() if not group.startswith("hydra/") and name is not None}


OmegaConf.register_new_resolver("run_folder", _run_folder, use_cache=True, replace=True)
OmegaConf.register_new_resolver("groups", _groups, replace=True)
OmegaConf.register_new_resolver("choices", _choices, replace=True)


def launch(task: Callable[[DictConfig], Any], cfg: DictConfig) -> Any:
    """Run a task; an error that the user can mend ends in one sentence and exit code 1, any other in a traceback.

    A trial of a sweep that fails, for any reason, counts as the worst result, and the next one runs.
    """
    try:
        if HydraConfig.initialized():  # with hydra.job.chdir=true relative paths are still the caller's
            os.chdir(HydraConfig.get().runtime.cwd)
        return _trial(task, cfg) if _sweeping() and "monitor" in cfg else task(cfg)
    except (Exception, KeyboardInterrupt) as error:
        if (message := sentence(error)) is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(1)


def _sweeping() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def script(command: str, main: Callable[[], Any]) -> NoReturn:
    """Run a function of `hydra.main` on the arguments of this process, and exit.

    Args:
        command: `train`, `evaluate` or `explain`.
        main: The function.
    """
    from deepfake.terminal import prepare

    prepare()
    end_on_signals()
    if step := SlurmStep.here():
        step.requeue_on_signal()
    sys.argv[1:] = commandline.hydra_arguments(command, sys.argv[1:])
    try:
        if refusal := commandline.refusal(sys.argv[1:], CONF):
            sys.exit(f"error: {refusal}")
        if command == "train" and not any(a.startswith(("hydra.run.dir=", "resume=", "-")) for a in sys.argv[1:]):
            folder_name()  # Hydra hides errors of where a run is put
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(exit_code())


def exit_code() -> int:
    """1 where a trial of a sweep failed, 3 where files were skipped, else 0."""
    return 1 if _state["failed"] else 3 if _state["skipped"] else 0


def installed(command: str, arguments: Sequence[str]) -> NoReturn:
    """Run the script of this name, for `deepfake COMMAND ...`, with the configs of the package."""
    command_line = list(sys.argv)

    def main(cfg: DictConfig) -> Any:
        sys.argv[:] = command_line  # for `environment.json`, and for the processes of other devices
        return launch({"train": train, "evaluate": evaluate, "explain": explain}[command], cfg)

    sys.argv[1:] = arguments
    script(command, hydra.main(version_base="1.3", config_path=str(CONF), config_name=command)(main))


# ---------------------------------------------------------------- sweep


def _trial(task: Callable[[DictConfig], Any], cfg: DictConfig) -> float:
    """A task as one trial of a sweep, with a record in its folder."""
    from deepfake.sweep.device import threads
    from deepfake.sweep.trial import attempt

    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    if (n_threads := threads(settings.launcher)) is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(n_threads))  # read when torch is loaded

    def run(resume: bool) -> tuple[float | None, bool]:
        if resume:
            cfg.resume = str(folder)
        _state["skipped"] = False
        return task(cfg), _state["skipped"]

    given = {"number": settings.job.num, "overrides": list(settings.overrides.task), "monitor": cfg.monitor}
    return attempt(folder, run, **given, sentence=sentence).objective


class RunDir(Callback):
    """Makes the run folder before Hydra does, to end in a sentence where it cannot be made."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        try:
            Path(config.hydra.run.dir).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            sys.exit(f"error: {sentence(error)}")


class SweepResults(Callback):
    """When a sweep ends, however it ends: its table of trials and, as the last line, the folder of the best one."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        import deepfake.sweep.table  # noqa: F401, `_write` needs it at the exit, which is too late for what it imports
        from deepfake.sweep.device import default_n_jobs

        atexit.register(self._write, config.hydra.sweep.dir)
        if config.hydra.launcher.get("n_jobs") == -1:
            with read_write(config.hydra.launcher):
                config.hydra.launcher.n_jobs = default_n_jobs()

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        atexit.unregister(self._write)
        self._write(config.hydra.sweep.dir)

    def _write(self, folder: str) -> None:
        from deepfake.sweep.table import close

        trials = close(Path(folder).absolute())
        _state["failed"] = any(trial.state == "failed" for trial in trials)
        _state["skipped"] = any(trial.passed_over for trial in trials)


# ---------------------------------------------------------------- train


def train(cfg: DictConfig) -> float | None:
    """Train a detector as the config says; see `conf/train.yaml`.

    Returns:
        The monitored dev metric of the trained detector (None for `check=true`).
    """
    if _sweeping():
        from deepfake.sweep.device import trial_devices

        cfg.trainer.devices = trial_devices(cfg.trainer, HydraConfig.get().launcher)
    if cfg.resume:
        cfg = _resumed(cfg)
    elif _restarted(cfg):
        cfg = _resumed(cfg, restart=True)
    plain = _plain(cfg)

    from deepfake.datasets.corpus import Corpus
    from deepfake.runs.settings import GROUPS, check_settings

    if auto := plain["batch_size"] == "auto":
        plain["batch_size"] = _recipe_batch_size()
    check_settings(plain, GROUPS)

    corpus = Corpus.of(plain["dataset"])
    plain["dataset"] = corpus.config
    if cfg.check:
        return _check(corpus)

    from deepfake.evaluation.report import table
    from deepfake.terminal import show
    from deepfake.training.finish import objective
    from deepfake.training.train import begin, train

    task = _task_class(plain)
    if task.monitored and cfg.monitor.metric not in task.monitored:
        raise InputError(f"monitor.metric={cfg.monitor.metric}: one of {', '.join(task.monitored)} was expected")
    done = begin(plain) or train(*_composed(plain, corpus, auto_batch=auto))
    if done is None:
        return None
    if done.new and "n_bonafide" in done.metrics:
        show(table(done.metrics))
    _state["skipped"] |= done.skipped
    print(cfg.run_dir, flush=True)
    return objective(done.metrics, cfg.monitor.metric)


def _recipe_batch_size() -> int:
    """The batch size of the chosen recipe where the command line says `auto`, else that of `train.yaml`."""
    if HydraConfig.initialized():
        settings = HydraConfig.get()
        others = [o for o in settings.overrides.task if not o.lstrip("+").startswith("batch_size=")]
        if isinstance(size := hydra.compose(settings.job.config_name, overrides=others).batch_size, int):
            return size
    return OmegaConf.load(CONF / "train.yaml").batch_size


def _task_class(config: Mapping[str, Any]) -> type[Task]:
    return _build(config["task"], _partial_=True, _recursive_=False).func


def _composed(config: dict[str, Any], corpus: Corpus, *, auto_batch: bool = False) -> tuple[Task, Setup]:
    """The parts of a training, built in an order that decides which random numbers each part draws."""
    from deepfake.loading.datamodule import DataModule
    from deepfake.training.callbacks import Resumable
    from deepfake.training.checkpoints import CheckpointIO
    from deepfake.training.setup import Setup, folder_of
    from deepfake.training.slurm import cluster_plugins
    from deepfake.training.train import new_detector

    task_class, folder = _task_class(config), folder_of(config)
    numbers = ("sample_rate", "seconds", "train_seconds", "batch_size", "score_batch_size", "num_workers", "seed")
    datamodule = DataModule(
        corpus=corpus,
        **{key: config[key] for key in numbers},
        batch_seconds=config.get("batch_seconds"),
        bonafide_share=config.get("bonafide_share"),
        augment=[_build(a) for a in (config.get("augment") or {}).values()],
        supervised=task_class.supervised,
        manifest=folder.manifest,
        skipped_list=folder.skipped,
    )
    parts = [new_detector(config), *(_build(config[part]) for part in task_class.parts)]
    task = _build(config["task"], *parts, _recursive_=False)
    callbacks = [_build(c) for c in config["callbacks"].values() if c] + [Resumable(config)]
    plugins = {"plugins": found} if (found := cluster_plugins()) else {}
    trainer = _build(config["trainer"], callbacks=callbacks, logger=_build(config["logger"]) or False, **plugins)
    trainer.strategy.checkpoint_io = CheckpointIO()
    return task, Setup(config, datamodule, trainer, auto_batch)


def _plain(cfg: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]


def _build(config: Any, *args: Any, **more: Any) -> Any:
    """The object that a part of a config describes, its lists and dictionaries plain."""
    return hydra.utils.instantiate(config, *args, _convert_="all", **more)


# ---------------------------------------------------------------- check, resume


def _check(corpus: Corpus) -> None:
    from deepfake.loading.check import check

    if problems := check(corpus):
        raise InputError(f"{problems} problem(s) with {corpus.name}, listed above")


def _restarted(cfg: DictConfig) -> bool:
    """Whether this command was started again, which began a run in its folder; `resume` is then set."""
    from deepfake.runs.folder import RunFolder

    if cfg.check or not (restarts() and RunFolder(Path(cfg.run_dir)).config.is_file()):
        return False
    cfg.resume = cfg.run_dir
    return True


def _resumed(cfg: DictConfig, *, restart: bool = False) -> DictConfig:
    """The run's own config, with the paths of where it is now; a restarted command has its overrides in there."""
    if HydraConfig.initialized() and not _sweeping() and not restart:
        others = [o for o in HydraConfig.get().overrides.task if not o.startswith(("resume=", "trusted="))]
        if others:
            raise InputError(f"resume goes on with the run's own config: leave out {' '.join(others)}")
    from deepfake.runs.resume import resumed

    return OmegaConf.create(resumed(cfg.resume, cfg.trusted))


# ---------------------------------------------------------------- evaluate


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Evaluate a run, several runs or score files; fuse or calibrate; or audit a corpus; see `conf/evaluate.yaml`.

    Returns:
        What it wrote as `metrics.json`, `comparison.json` or `audit.json`; nothing in other processes than the first.
    """
    from deepfake.allocator import keep_freed_memory
    from deepfake.commands.evaluate import evaluate
    from deepfake.runs.settings import check_settings

    keep_freed_memory()
    check_settings(plain := _plain(cfg))
    done = evaluate(plain)
    return {} if done is None else _reported(done)


# ---------------------------------------------------------------- explain


def explain(cfg: DictConfig) -> dict[str, Any]:
    """Write the evidence for a file, or for each of a folder, or measure the methods; see `conf/explain.yaml`.

    Returns:
        Each `report.json`, by file, or `faithfulness.json` or `localisation.json`.
    """
    from deepfake.allocator import keep_freed_memory
    from deepfake.commands.explain import Settings, explain
    from deepfake.commands.faithfulness import measure_run
    from deepfake.commands.localise import localise_run
    from deepfake.runs.settings import check_settings
    from deepfake.scores.compute import device_of

    keep_freed_memory()
    check_settings({"batch_size": cfg.batch_size})
    methods = _build(cfg.explain)
    place: dict[str, Any] = {"output": cfg.output, "device": device_of(cfg.device)}
    if cfg.faithfulness:
        corpus = _known_corpus(cfg, "faithfulness")
        return _reported(measure_run(cfg.run, corpus, cfg.partition, methods, quick=cfg.quick, **place))
    scan = {"window_seconds": cfg.window.seconds, "overlap": cfg.window.overlap, "batch_size": cfg.batch_size}
    if cfg.localisation:
        return _reported(localise_run(cfg.run, _known_corpus(cfg, "localisation"), **scan, **place))
    settings = Settings(
        **scan,
        threshold=cfg.window.threshold,
        recording=cfg.window.recording,
        region_threshold=cfg.regions.threshold,
        shortest_seconds=cfg.regions.shortest_seconds,
        gap_seconds=cfg.regions.gap_seconds,
        prior=cfg.prior,
        branch=cfg.branch,
        speaker=None if cfg.speaker is None else str(cfg.speaker),
        judge_outside=bool(cfg.judge_outside),
    )
    done = explain(cfg.run, cfg.input, methods, settings, **place)
    for file, report in done.content.items():
        print(printable(f"{file}: {report['verdict']}, {report['words']['sentence']}"), file=sys.stderr)
    return _reported(done)


def _known_corpus(cfg: DictConfig, command: str) -> Corpus:
    from deepfake.datasets.corpus import Corpus

    if "_target_" not in cfg.dataset:
        raise InputError(f"{command}=true needs a corpus: say dataset=... dataset.root=DIR; spliced has known fakes")
    return Corpus.of(_plain(cfg.dataset))


def _reported(done: Outcome) -> dict[str, Any]:
    """Print the table of an outcome and, last, its folder."""
    from deepfake.terminal import show

    _state["skipped"] |= done.skipped
    if done.table is not None:
        show(done.table)
    print(done.folder, flush=True)
    return done.content
