"""Going on in a run folder, wherever it now lies."""

from __future__ import annotations

import json
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
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "run_dir" not in config:
        raise InputError(f"resume={folder}: its weights were imported; init_from={folder} starts a run from them")
    config = moved(config, config["run_dir"], str(Path(folder).absolute()))
    refuse_strangers(config)
    return {**config, "resume": folder}


def moved(state: Any, old: str, new: str) -> Any:
    """The same nested data, with paths below `old` brought below `new`."""
    if isinstance(state, dict):
        return {moved(key, old, new): moved(value, old, new) for key, value in state.items()}
    if isinstance(state, list):
        return [moved(value, old, new) for value in state]
    return new + state[len(old) :] if isinstance(state, str) and state.startswith(old) else state


def refuse_strangers(config: Any) -> None:
    """Only classes of torch and lightning, and what is ours, are built from a run folder: it may be anybody's."""
    if isinstance(config, dict):
        if "_target_" in config:
            target = locate(str(config["_target_"]))
            package = getattr(target, "__module__", "").partition(".")[0]
            if package != "deepfake" and not (isinstance(target, type) and package in ("torch", "lightning")):
                raise InputError(f"config.yaml names {config['_target_']}, which is not built from a run folder")
        config = list(config.values())
    for value in config if isinstance(config, list) else ():
        refuse_strangers(value)


def finished(folder: str) -> dict[str, Any] | None:
    """Dev metrics of a run that is done, None of one that is not."""
    path = Path(folder) / "reports" / "metrics.json"
    done = path.is_file() and (Path(folder) / "detector.pt").is_file()
    return json.loads(path.read_text(encoding="utf-8")) if done else None
