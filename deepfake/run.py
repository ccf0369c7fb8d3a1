"""Wiring: composes a run from a config. The only file of the package that imports hydra."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from deepfake.errors import InputError

if TYPE_CHECKING:  # torch and lightning take seconds to import: `--help` and `--cfg job` go without
    from deepfake.datasets.utterance import Utterance
    from deepfake.detector import Detector
    from deepfake.evaluation.scores import Scores
    from deepfake.loading.datamodule import DataModule

log = logging.getLogger(__name__)

SHARED_DATASET_KEYS = ("name", "per_class", "on_bad_audio")
_state = {"passed_over": False}


def _run_folder(name: str, resume: str | None, check: bool) -> str:
    """Where Hydra puts a run: a folder of its own, the one that is resumed, or, for a mere look, nowhere new."""
    if check:
        return "."
    return resume or f"outputs/train/{name}/{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"


OmegaConf.register_new_resolver("run_folder", _run_folder, use_cache=True, replace=True)


def launch(task: Callable[[DictConfig], Any], cfg: DictConfig) -> Any:
    """Run a task; what the user can mend ends in one sentence and exit code 1, anything else in a traceback."""
    try:
        return task(cfg)
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        if cause is None:
            raise
        print(f"error: {cause}", file=sys.stderr)
        sys.exit(1)


def exit_code() -> int:
    """3 where something was passed over, else 0."""
    return 3 if _state["passed_over"] else 0


# ---------------------------------------------------------------- train


def train(cfg: DictConfig) -> float | None:
    """Train a detector as the config says; see `conf/train.yaml`.

    Returns:
        The monitored dev metric of the detector that the run leaves behind (None for `check=true`).
    """
    _refuse_devices_in_multirun(cfg)
    if cfg.resume:
        cfg = _resumed(cfg)
        if (metrics := _finished(cfg)) is not None:
            log.info("%s is finished already: nothing to resume", cfg.run_dir)
            print(cfg.run_dir)
            return _objective(metrics, cfg.monitor.metric)
    if cfg.check:
        return _check(cfg)

    import lightning
    from lightning.pytorch.utilities import rank_zero_only

    from deepfake.allocator import keep_freed_memory
    from deepfake.detector import Detector, init_from
    from deepfake.environment import environment
    from deepfake.training.callbacks import SavedConfig

    run_dir = Path(cfg.run_dir)
    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    keep_freed_memory()
    lightning.seed_everything(cfg.seed, verbose=False)
    main = rank_zero_only.rank == 0
    if main and not cfg.resume:
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / "config.yaml").write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")

    datamodule = _datamodule(cfg)
    if main:
        datamodule.prepare_data()
    detector = Detector({key: plain[key] for key in ("features", "model", "sample_rate", "seconds", "score")})
    if cfg.init_from and not cfg.resume:
        for sentence in init_from(detector, cfg.init_from):
            log.warning("init_from: %s", sentence)
    if main:
        _fit_normalisation(detector, datamodule)
        log.info(
            "%s on %s: %s parameters, %d training and %d dev utterances",
            cfg.model._target_.rpartition(".")[2], cfg.dataset.name,
            f"{sum(p.numel() for p in detector.parameters()):,}", len(datamodule.train), len(datamodule.dev),
        )  # fmt: skip
    build = hydra.utils.instantiate
    task = build(
        cfg.task,
        detector,
        build(cfg.loss),
        build(cfg.optimizer),
        build(cfg.scheduler),
        _convert_="all",
        _recursive_=False,
    )
    callbacks = [build(c) for c in cfg.callbacks.values() if c] + [SavedConfig(plain)]
    trainer = build(cfg.trainer, callbacks=callbacks, logger=build(cfg.logger), _convert_="all")
    if main:
        info = environment(sys.argv, trainer.strategy.root_device, cfg.seed)
        (run_dir / "environment.json").write_text(info, encoding="utf-8")
    last = run_dir / "checkpoints" / "last.ckpt"
    trainer.fit(task, datamodule, ckpt_path=str(last) if cfg.resume and last.is_file() else None, weights_only=True)
    if trainer.interrupted:
        raise InputError(f"interrupted: go on with `python train.py resume={run_dir}`")
    if not trainer.is_global_zero:
        return None
    metrics = _finish(cfg, trainer, task.detector, datamodule)
    _state["passed_over"] |= bool(datamodule.skipped)
    print(run_dir, flush=True)
    return _objective(metrics, cfg.monitor.metric)


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
        per_class=dict(cfg.dataset.per_class),
        on_bad_audio=cfg.dataset.on_bad_audio,
        run_dir=Path(cfg.run_dir),
    )


def _corpus(dataset: DictConfig) -> Callable[[str], Iterable[Utterance]]:
    return hydra.utils.instantiate({k: v for k, v in dataset.items() if k not in SHARED_DATASET_KEYS}, _convert_="all")


def _fit_normalisation(detector: Detector, datamodule: DataModule) -> None:
    """One streaming pass over the training partition, where the front end asks for its statistics."""
    import torch

    from deepfake.evaluation.scoring import shown

    front_end: Any = detector.features
    if front_end.normalise.mode != "train_stats" or front_end.normalise.fitted:
        return
    with torch.inference_mode():
        for batch in shown(datamodule.train_clips(), "normalisation statistics"):
            front_end.normalise.update(front_end.extract(datamodule.on_before_batch_transfer(batch, 0)["waveform"]))
    front_end.normalise.finish()


def _finish(cfg: DictConfig, trainer: Any, detector: Detector, datamodule: DataModule) -> dict[str, Any]:
    """Best weights, dev scores, threshold, detector file, report: what a run leaves behind."""
    import torch

    from deepfake.evaluation.board import show
    from deepfake.evaluation.report import write_report
    from deepfake.evaluation.runs import flat
    from deepfake.evaluation.scores import write_scores
    from deepfake.evaluation.scoring import scored
    from deepfake.metrics.eer import carried_threshold
    from deepfake.training.callbacks import SnapshotAveraging

    run_dir = Path(cfg.run_dir)
    averaged = any(isinstance(c, SnapshotAveraging) for c in trainer.callbacks)
    if not averaged and (best := run_dir / "checkpoints" / "best.ckpt").is_file():
        state = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
        prefix = "detector."
        detector.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    loading = {"batch_size": cfg.score_batch_size, "num_workers": cfg.num_workers}
    scores, _ = scored(detector, datamodule.dev, device=trainer.strategy.root_device, **loading)
    threshold = carried_threshold(scores.scores, scores.labels)
    detector.set_threshold(threshold, f"EER threshold of {cfg.dataset.name}, partition dev")
    write_scores(run_dir / "scores" / "dev.csv", scores)
    metrics = _judged(cfg.dataset, "dev", scores, threshold)
    provenance = {"run": run_dir, "model": cfg.model._target_, "features": cfg.features._target_, "seed": cfg.seed}
    write_report(run_dir / "reports", metrics, scores, title=f"{cfg.name}: dev", provenance=provenance)
    detector.save(run_dir / "detector.pt")
    _show(metrics)
    for logger in trainer.loggers:
        if hasattr(logger, "experiment") and hasattr(logger.experiment, "add_figure"):
            show(logger.experiment, metrics, scores, "dev_final")
            logger.experiment.add_text("config", f"```yaml\n{(run_dir / 'config.yaml').read_text()}\n```")
            final = {f"final/{k}": metrics[k] for k in ("eer", "auc", "accuracy", "f1")}
            logger.log_hyperparams(flat(OmegaConf.to_container(cfg, resolve=True)), final)
            logger.finalize("success")
    return metrics


def _judged(
    dataset: DictConfig, partition: str, scores: Scores, threshold: float | None, asv: str | None = None
) -> dict:
    """Metrics of scores, with the ASV scores that the corpus has for its partition or those that the user gave."""
    from deepfake.evaluation.report import judge
    from deepfake.evaluation.scores import read_asv_scores
    from deepfake.metrics.tdcf import asv_operating_point

    path = Path(asv) if asv else None
    reader = sys.modules[hydra.utils.get_method(dataset._target_).__module__]
    if path is None and hasattr(reader, "asv_scores"):
        path = reader.asv_scores(partition, root=dataset.root)
    point = asv_operating_point(*read_asv_scores(path)) if path else None
    return judge(scores, threshold=threshold, asv=point, dataset=dataset.name, partition=partition)


def _show(metrics: Mapping[str, Any]) -> None:
    from rich.console import Console

    from deepfake.evaluation.report import table

    Console(stderr=True).print(table(metrics))


def _objective(metrics: Mapping[str, Any], monitor: str) -> float:
    """The monitored dev metric, finite."""
    import math

    key = monitor.removeprefix("dev/")
    if key not in metrics:
        raise InputError(f"monitor.metric={monitor}: no such dev metric; there are {', '.join(metrics)}")
    value = metrics[key]
    bad = 1.0 if key == "eer" else 0.0
    return float(value) if value is not None and math.isfinite(value) else bad


# ---------------------------------------------------------------- check, resume


def _check(cfg: DictConfig) -> None:
    from deepfake.loading.check import check

    if problems := check(_corpus(cfg.dataset), cfg.dataset.name):
        raise InputError(f"{problems} problem(s) with {cfg.dataset.name}, listed above")


def _refuse_devices_in_multirun(cfg: DictConfig) -> None:
    """Lightning's processes run the command line again: in a sweep each would start the whole sweep."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
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
    from deepfake.training.callbacks import moved

    run_dir = Path(cfg.resume)
    path = run_dir / "config.yaml"
    if not path.is_file():
        raise InputError(f"resume={run_dir}: there is no config.yaml in it, so it is not a run folder")
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "run_dir" not in config:
        raise InputError(
            f"resume={run_dir}: its weights were imported, not trained here; init_from={run_dir} starts from them"
        )
    here = moved(config, config["run_dir"], str(run_dir.absolute()))
    _refuse_strangers(here)
    return OmegaConf.create({**here, "resume": str(run_dir)})


def _refuse_strangers(config: Any) -> None:
    """A run folder may be anybody's: only classes of torch and lightning, and what is ours, are built from it."""
    if isinstance(config, dict):
        if "_target_" in config:
            target = hydra.utils.get_object(config["_target_"])
            package = getattr(target, "__module__", "").partition(".")[0]
            if package != "deepfake" and not (isinstance(target, type) and package in ("torch", "lightning")):
                raise InputError(f"config.yaml names {config['_target_']}, which is not built from a run folder")
        config = list(config.values())
    for value in config if isinstance(config, list) else ():
        _refuse_strangers(value)


def _finished(cfg: DictConfig) -> dict[str, Any] | None:
    import json

    folder = Path(cfg.run_dir)
    path = folder / "reports" / "metrics.json"
    return json.loads(path.read_text()) if path.is_file() and (folder / "detector.pt").is_file() else None


# ---------------------------------------------------------------- evaluate


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Score one partition of a corpus with a run's detector and judge the scores; see `conf/evaluate.yaml`.

    Returns:
        What it wrote into `metrics.json`.
    """
    from torch.utils.tensorboard import SummaryWriter

    from deepfake.allocator import keep_freed_memory
    from deepfake.datasets.utterance import write_manifest
    from deepfake.detector import Detector
    from deepfake.environment import environment
    from deepfake.evaluation.board import show
    from deepfake.evaluation.report import write_report
    from deepfake.evaluation.scores import write_scores
    from deepfake.evaluation.scoring import device_of, scored
    from deepfake.loading.datamodule import write_skipped

    keep_freed_memory()
    detector = Detector.load(cfg.run)
    run_dir = Path(cfg.run) if Path(cfg.run).is_dir() else Path(cfg.run).parent
    dataset, own, seed = _evaluated(cfg, run_dir)
    utterances = _evaluated_utterances(dataset, cfg.partition, run_dir if own else None, seed)
    output = Path(cfg.output) if cfg.output else run_dir / "evaluations" / f"{dataset.name}-{cfg.partition}"
    device = device_of(cfg.device)
    log.info("%s, partition %s: %d utterances on %s", dataset.name, cfg.partition, len(utterances), device)
    scores, errors = scored(detector, utterances, batch_size=cfg.batch_size, num_workers=cfg.num_workers, device=device)
    write_scores(output / "scores.csv", scores)
    if own:
        write_manifest(run_dir / "manifests" / f"{cfg.partition}.csv", utterances)
    if errors:
        write_skipped(output / "skipped.csv", [(utterances[i], why) for i, why in errors.items()])
        if dataset.on_bad_audio == "raise":
            raise InputError(
                f"{len(errors)} of {len(utterances)} files could not be scored, the first: {next(iter(errors.values()))} "
                f"(the scores of the others are in {output / 'scores.csv'}; dataset.on_bad_audio=skip judges those)"
            )
        _state["passed_over"] = True
    metrics = _judged(dataset, cfg.partition, scores, detector.threshold, cfg.asv_scores)
    provenance = {
        "detector": cfg.run,
        "threshold": detector.config["threshold"]["source"],
        "corpus": dataset.root,
        "passed over": len(errors),
    }
    write_report(output, metrics, scores, title=f"{dataset.name}: {cfg.partition}", provenance=provenance)
    (output / "environment.json").write_text(environment(sys.argv, device, seed), encoding="utf-8")
    with SummaryWriter(str(output / "tensorboard")) as board:
        show(board, metrics, scores, f"{dataset.name}-{cfg.partition}")
    _show(metrics)
    print(output, flush=True)
    return metrics


def _evaluated(cfg: DictConfig, run_dir: Path) -> tuple[DictConfig, bool, int]:
    """The dataset to judge on, whether it is the run's own, and the run's seed."""
    path = run_dir / "config.yaml"
    trained = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    dataset: dict[str, Any] = OmegaConf.to_container(cfg.dataset)  # type: ignore[assignment]
    own = "_target_" not in dataset
    if own:
        if "dataset" not in trained:
            raise InputError(f"run={cfg.run} was not trained here, so it has no corpus of its own: say dataset=...")
        _refuse_strangers(trained["dataset"])
        dataset = {**trained["dataset"], **dataset}
    shared = {"per_class": {}, "on_bad_audio": "raise"}
    return (
        OmegaConf.create({**shared, **dataset}),
        own and set(dataset) == set(trained["dataset"]),
        trained.get("seed", 0),
    )


def _evaluated_utterances(dataset: DictConfig, partition: str, run_dir: Path | None, seed: int) -> list[Utterance]:
    from deepfake.datasets import manifest
    from deepfake.datasets.utterance import chosen, speaker_overlap

    if OmegaConf.is_missing(dataset, "root"):
        raise InputError(f"dataset={dataset.name} needs dataset.root=DIR")
    utterances = chosen(
        _corpus(dataset)(partition), dataset.per_class.get(partition), seed, f"{dataset.name}, partition {partition}"
    )
    trained = run_dir / "manifests" / "train.csv" if run_dir and partition != "train" else None
    if trained is not None and trained.is_file():
        for speakers in speaker_overlap({"train": manifest.rows(trained), partition: utterances}).values():
            log.warning(
                "%d speakers of %s were in training (%s ...)", len(speakers), partition, ", ".join(speakers[:3])
            )
    return utterances
