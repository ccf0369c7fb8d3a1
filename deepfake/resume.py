"""Going on in a run folder, wherever it now lies."""

from __future__ import annotations

import json
import re
from pathlib import Path
from pydoc import locate
from typing import Any

import yaml

from deepfake.errors import InputError


def resumed(folder: str) -> dict[str, Any]:
    """The config of a run, with the paths below its folder brought to where that folder is now.

    Raises:
        InputError: It is no run folder, it was imported and never trained, or its config names something strange.
    """
    path = Path(folder) / "config.yaml"
    if not path.is_file():
        raise InputError(f"resume={folder}: there is no config.yaml in it, so it is not a run folder")
    config = config_of(path)
    if "run_dir" not in config:
        raise InputError(f"resume={folder}: its weights were imported; init_from={folder} starts a run from them")
    return {**moved(config, config["run_dir"], str(Path(folder).absolute())), "resume": folder}


def config_of(path: Path) -> dict[str, Any]:
    """A run's `config.yaml`, from which nothing strange can be built.

    Only classes of torch and lightning, and what is ours, are built from a run folder: it may be anybody's. It holds
    plain values, so `${` in one of them is text, which OmegaConf is not to read as a resolver.

    Raises:
        InputError: It is no config, or it names something else.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a config: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} is not a config: a mapping was expected")
    _refuse_strangers(config)
    return _literal(config)


def _literal(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _literal(value) for key, value in state.items()}
    if isinstance(state, list):
        return [_literal(value) for value in state]
    return state.replace("${", "\\${") if isinstance(state, str) else state


def moved(state: Any, old: str, new: str) -> Any:
    """The same nested data, with paths below `old` brought below `new`."""
    if isinstance(state, dict):
        return {moved(key, old, new): moved(value, old, new) for key, value in state.items()}
    if isinstance(state, list):
        return [moved(value, old, new) for value in state]
    inside = isinstance(state, str) and (state == old or state.startswith(old + "/"))
    return new + state[len(old) :] if inside else state


_FUNCTIONS = re.compile(r"deepfake\.datasets\.\w+\.utterances|deepfake\.training\.callbacks\.progress")


def _refuse_strangers(config: Any) -> None:
    if isinstance(config, dict):
        if "_target_" in config and not _buildable(str(config["_target_"])):
            raise InputError(f"config.yaml names {config['_target_']}, which is not built from a run folder")
        config = list(config.values())
    for value in config if isinstance(config, list) else ():
        _refuse_strangers(value)


def _buildable(target: str) -> bool:
    """Look the name up only where its package is known, since looking imports."""
    packages = ("deepfake", "torch", "lightning")
    if target.partition(".")[0] not in packages:
        return False
    found = locate(target)
    if _FUNCTIONS.fullmatch(target):
        return found is not None
    return isinstance(found, type) and found.__module__.partition(".")[0] in packages


def left(run_dir: Path) -> bool:
    """Whether a run left what it was for: a detector, or the critic of a game."""
    return any((run_dir / name).is_file() for name in ("detector.pt", "critic.pt"))


def finished(folder: str) -> dict[str, Any] | None:
    """Dev metrics of a run that is done, None of one that is not."""
    path = Path(folder) / "reports" / "metrics.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() and left(Path(folder)) else None
