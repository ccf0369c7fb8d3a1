"""Wiring: composes a run from a config. The only file of the package that imports hydra."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf

from deepfake.errors import InputError

if TYPE_CHECKING:  # torch and lightning take seconds to import: `--help` and `--cfg job` go without
    from deepfake.datasets.utterance import Utterance
    from deepfake.evaluation.corpus import Corpus
    from deepfake.evaluation.scores import Scores
    from deepfake.loading.datamodule import DataModule

log = logging.getLogger(__name__)

MONITORED = ("dev/eer", "dev/auc", "dev/accuracy")
DATASET_PATHS = ("root", "real_root", "keys")
SHARED_DATASET_KEYS = ("name", "per_class", "on_bad_audio")
_state = {"passed_over": False, "failed": False}


def _run_folder(name: str, resume: str | None, check: bool) -> str:
    """Where Hydra puts a run: a folder of its own, the one that is resumed, or, for a mere look, nowhere new."""
    if check or (resume and not Path(resume).is_dir()):
        return "."
    return resume or f"outputs/train/{name}/{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"


OmegaConf.register_new_resolver("run_folder", _run_folder, use_cache=True, replace=True)


def launch(task: Callable[[DictConfig], Any], cfg: DictConfig) -> Any:
    """Run a task; what the user can mend ends in one sentence and exit code 1, anything else in a traceback.

    In a sweep such a trial counts as the worst there can be, and the next one runs.
    """
    try:
        return task(cfg)
    except (Exception, KeyboardInterrupt) as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        if isinstance(error, KeyboardInterrupt) or not _sweeping():
            sys.exit(1)
        _state["failed"] = True
        return 1.0 if cfg.monitor.mode == "min" else 0.0


def _sweeping() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def _sentence(error: BaseException | None) -> str | None:
    """What the user is to read of an error, None where it is a fault of the program."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} is needed and was not given"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, TypeError | ValueError | ImportError):
        return _sentence(error.__cause__) or " ".join(str(error.__cause__).split())  # a setting that its class refuses
    known = {"MisconfigurationException": "", "OutOfMemoryError": "; a smaller batch_size needs less memory"}
    if type(error).__name__ in known:  # lightning's and torch's own, not imported here
        return " ".join(str(error).split()) + known[type(error).__name__]
    return _sentence(error.__cause__) if error else None


def exit_code() -> int:
    """1 where a trial of a sweep failed, 3 where something was passed over, else 0."""
    return 1 if _state["failed"] else 3 if _state["passed_over"] else 0


# ---------------------------------------------------------------- train


def train(cfg: DictConfig) -> float | None:
    """Train a detector as the config says; see `conf/train.yaml`.

    Returns:
        The monitored dev metric of the detector that the run leaves behind (None for `check=true`).
    """
    _refuse_devices_in_multirun(cfg)
    if cfg.resume:
        cfg = _resumed(cfg)
    if cfg.check:
        return _check(cfg)
    if cfg.monitor.metric not in MONITORED:
        raise InputError(f"monitor.metric={cfg.monitor.metric}: one of {', '.join(MONITORED)} was expected")
    cfg.dataset = _absolute_roots(cfg.dataset)

    import lightning
    from lightning.pytorch.utilities import rank_zero_only

    from deepfake.allocator import keep_freed_memory
    from deepfake.atomic import write_atomically
    from deepfake.detector import Detector, init_from
    from deepfake.environment import write_environment
    from deepfake.resume import finished
    from deepfake.training.callbacks import Resumable
    from deepfake.training.finish import finish, fit_normalisation, objective

    run_dir = Path(cfg.run_dir)
    last = run_dir / "checkpoints" / "last.ckpt"
    again = f"python train.py {shlex.quote(f'resume={run_dir}')}"
    if cfg.resume and (metrics := finished(cfg.run_dir)) is not None:
        log.info("%s is finished already: nothing to resume", run_dir)
        print(run_dir, flush=True)
        return objective(metrics, cfg.monitor.metric)
    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    keep_freed_memory()
    _hush()
    lightning.seed_everything(cfg.seed, verbose=False)
    main = rank_zero_only.rank == 0
    if main and not cfg.resume and (last.is_file() or (run_dir / "detector.pt").is_file()):
        raise InputError(f"{run_dir} holds a run already: `{again}` goes on with it")

    datamodule = _datamodule(cfg)
    detector = Detector({key: plain[key] for key in ("features", "model", "sample_rate", "seconds", "score")})
    if cfg.init_from and not (cfg.resume and last.is_file()):
        for sentence in init_from(detector, cfg.init_from):
            log.warning("init_from: %s", sentence)
    build = hydra.utils.instantiate
    loss, optimizer, scheduler = (build(cfg[part], _convert_="all") for part in ("loss", "optimizer", "scheduler"))
    task = build(cfg.task, detector, loss, optimizer, scheduler, _recursive_=False)
    callbacks = [build(c) for c in cfg.callbacks.values() if c] + [Resumable(plain)]
    trainer = build(cfg.trainer, callbacks=callbacks, logger=build(cfg.logger), _convert_="all")
    if main:
        run_dir.mkdir(parents=True, exist_ok=True)
        if not cfg.resume:
            write_atomically(run_dir / "config.yaml", yaml.safe_dump(plain, sort_keys=False))
        write_environment(run_dir, sys.argv, trainer.strategy.root_device, cfg.seed)
    with _logfile(run_dir / "train.log" if main else None):
        if main:
            datamodule.prepare_data()
            fit_normalisation(detector, datamodule)
            name, n_parameters = cfg.model._target_.rpartition(".")[2], sum(p.numel() for p in detector.parameters())
            sizes = f"{len(datamodule.train)} training and {len(datamodule.dev)} dev utterances"
            log.info("%s on %s: %s parameters, %s", name, cfg.dataset.name, f"{n_parameters:,}", sizes)
        checkpoint = str(last) if cfg.resume and last.is_file() else None
        try:
            trainer.fit(task, datamodule, ckpt_path=checkpoint, weights_only=True)
        except SystemExit:  # lightning's way out of Ctrl-C
            raise InputError(f"interrupted: `{again}` goes on from the last whole epoch") from None
        if not trainer.is_global_zero:
            return None
        metrics = finish(trainer, task, datamodule, plain, partial(_judged_dev, cfg.dataset))
    _show(metrics)
    _state["passed_over"] |= bool(datamodule.skipped)
    print(run_dir, flush=True)
    return objective(metrics, cfg.monitor.metric)


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


def _absolute_roots(dataset: Any) -> Any:
    """The same dataset config with every path absolute: a run is resumed and evaluated from anywhere."""
    if OmegaConf.is_dict(dataset):
        roots = [k for k in dataset if k in DATASET_PATHS and not OmegaConf.is_missing(dataset, k) and dataset[k]]
        values = {k: str(Path(dataset[k]).expanduser().absolute()) for k in roots}
        nested = {k: _absolute_roots(v) for k, v in dataset.items_ex(resolve=False) if OmegaConf.is_config(v)}
        return OmegaConf.merge(dataset, nested, values)
    return dataset


def _hush() -> None:
    """Leave the trainer's advertisements and what is meant for its developers out of the log."""
    import warnings

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


def _datamodule(cfg: DictConfig) -> DataModule:
    from deepfake.loading.datamodule import DataModule

    return DataModule(
        _corpus(cfg.dataset),
        name=cfg.dataset.name,
        sample_rate=cfg.sample_rate,
        seconds=cfg.seconds,
        train_seconds=cfg.train_seconds,
        batch_size=cfg.batch_size,
        score_batch_size=cfg.score_batch_size,
        num_workers=cfg.num_workers,
        seed=cfg.seed,
        per_class=dict(cfg.dataset.per_class or {}),
        on_bad_audio=cfg.dataset.on_bad_audio,
        run_dir=Path(cfg.run_dir),
    )


def _corpus(dataset: DictConfig) -> Callable[[str], Iterable[Utterance]]:
    """The reader of a dataset config, without the keys that are ours; so is each part of a mix."""

    def own(config: Any) -> Any:
        if not OmegaConf.is_dict(config):
            return config
        ours = SHARED_DATASET_KEYS if "_target_" in config else ()
        return {k: own(v) for k, v in config.items() if k not in ours}

    return hydra.utils.instantiate(own(dataset), _convert_="all")


def _asv_scores(dataset: DictConfig, partition: str) -> Path | None:
    """The ASV score file that the corpus has for a partition."""
    return _of_reader(dataset, "asv_scores", partition)


def _of_reader(dataset: Mapping[str, Any] | DictConfig, name: str, partition: str) -> Any:
    """What else than utterances a corpus's reader has for a partition, None where it has not."""
    reader = sys.modules[hydra.utils.get_method(dataset["_target_"]).__module__]
    return getattr(reader, name)(partition, root=dataset["root"]) if hasattr(reader, name) else None


def _judged_dev(dataset: DictConfig, scores: Scores, threshold: float) -> dict[str, Any]:
    """Metrics of the dev scores at the end of training."""
    from deepfake.evaluation.judging import Intervals, judge
    from deepfake.evaluation.tandem import read_tandem

    path = _asv_scores(dataset, "dev")
    return judge(
        scores,
        threshold=threshold,
        tandem=read_tandem(path) if path else None,
        dataset=dataset.name,
        partition="dev",
        intervals=Intervals(),
    )


def _show(metrics: Mapping[str, Any]) -> None:
    from rich.console import Console

    from deepfake.evaluation.report import table

    Console(stderr=True).print(table(metrics))


# ---------------------------------------------------------------- check, resume


def _check(cfg: DictConfig) -> None:
    from deepfake.loading.check import check

    if problems := check(_corpus(cfg.dataset), cfg.dataset.name):
        raise InputError(f"{problems} problem(s) with {cfg.dataset.name}, listed above")


def _refuse_devices_in_multirun(cfg: DictConfig) -> None:
    """Lightning's processes run the command line again: in a sweep each would start the whole sweep."""
    if _sweeping():
        devices = cfg.trainer.devices
        if devices not in (1, "1", [0]) and not (OmegaConf.is_list(devices) and len(devices) == 1):
            raise InputError(
                f"trainer.devices={devices} in a multirun: with several devices each process would start the sweep "
                "anew with other settings; use trainer.devices=1 per trial, or run the trials one by one"
            )


def _resumed(cfg: DictConfig) -> DictConfig:
    """The run's own config, at the place where it now lies."""
    if HydraConfig.initialized():
        others = [o for o in HydraConfig.get().overrides.task if not o.startswith("resume=")]
        if others:
            raise InputError(f"resume goes on with the run's own config: leave out {' '.join(others)}")
    from deepfake.resume import resumed

    return OmegaConf.create(resumed(cfg.resume))


# ---------------------------------------------------------------- evaluate


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Judge: a run, several runs, score files; fuse or calibrate; or audit a corpus; see `conf/evaluate.yaml`.

    Returns:
        What it wrote as `metrics.json`, `comparison.json` or `audit.json`.
    """
    from rich.console import Console

    from deepfake.allocator import keep_freed_memory
    from deepfake.evaluation.evaluate import evaluate

    keep_freed_memory()
    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    done = evaluate(plain, _judged_corpus)
    _state["passed_over"] |= done.passed_over
    Console(stderr=True, width=None if sys.stderr.isatty() else 160).print(done.table)
    print(done.folder, flush=True)
    return done.content


def _judged_corpus(dataset: Mapping[str, Any]) -> Corpus:
    """A dataset config as the commands of `evaluate.py` take it."""
    from deepfake.evaluation.corpus import Corpus

    config = _absolute_roots(OmegaConf.create({"per_class": {}, "on_bad_audio": "raise", **dataset}))
    return Corpus(
        name=config.name,
        config=OmegaConf.to_container(config),  # type: ignore[arg-type]
        read=_corpus(config),
        asv_scores=partial(_asv_scores, config),
        per_class=config.per_class or {},
        on_bad_audio=config.on_bad_audio,
    )


# ---------------------------------------------------------------- explain


def explain(cfg: DictConfig) -> dict[str, Any]:
    """Write the evidence for a file, or for each of a folder, or measure the methods; see `conf/explain.yaml`.

    Returns:
        What stands in each `report.json`, by file, or in `faithfulness.json`.
    """
    from deepfake.allocator import keep_freed_memory
    from deepfake.evaluation.scoring import device_of
    from deepfake.explain.explain import Settings, explain

    keep_freed_memory()
    methods = hydra.utils.instantiate(cfg.explain, _convert_="all")
    if cfg.faithfulness:
        return _measured(cfg, methods, device_of(cfg.device))
    settings = Settings(
        window_seconds=cfg.window.seconds,
        overlap=cfg.window.overlap,
        threshold=cfg.window.threshold,
        region_threshold=cfg.regions.threshold,
        shortest_seconds=cfg.regions.shortest_seconds,
        gap_seconds=cfg.regions.gap_seconds,
        prior=cfg.prior,
        batch_size=cfg.batch_size,
    )
    done = explain(cfg.run, cfg.input, methods, settings, output=cfg.output, device=device_of(cfg.device))
    _state["passed_over"] |= bool(done.passed_over)
    for file, report in done.reports.items():
        print(f"{file}: {report['verdict']}, {report['words']['sentence']}", file=sys.stderr)
    print(done.folder, flush=True)
    return done.reports


def _measured(cfg: DictConfig, methods: Any, device: Any) -> dict[str, Any]:
    from rich.console import Console

    from deepfake.explain.faithfulness_report import table
    from deepfake.explain.measured import measure_run

    if "_target_" not in cfg.dataset:
        raise InputError("faithfulness=true needs a corpus: say dataset=... dataset.root=DIR; spliced has known fakes")
    corpus = _judged_corpus(OmegaConf.to_container(cfg.dataset))  # type: ignore[arg-type]
    known = _of_reader(corpus.config, "segments", cfg.partition)
    options = {"quick": cfg.quick, "output": cfg.output, "device": device}
    result, folder = measure_run(cfg.run, corpus, cfg.partition, methods, known, **options)
    Console(stderr=True, width=None if sys.stderr.isatty() else 160).print(table(result))
    print(folder, flush=True)
    return result
