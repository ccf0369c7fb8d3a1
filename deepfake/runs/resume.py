"""A run folder's config, read as the untrusted input that it may be."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from deepfake import CONF
from deepfake.commandline import run_folder
from deepfake.errors import InputError
from deepfake.runs.folder import RunFolder

WRITERS = ("callbacks", "logger", "trainer")  # the parts of a run that write files


def resumed(folder: str, trusted: Sequence[str]) -> dict[str, Any]:
    """The config of a run, with the paths below its folder replaced by those where that folder is now.

    Args:
        folder: The run's, or a file of it, see `run_folder`.
        trusted: See `refuse_unknown`; the run's own list does not count.

    Raises:
        InputError: It is no run folder, it was imported and never trained, or see `refuse_unknown`.
    """
    if Path(folder).name == "best.ckpt":
        raise InputError(
            f"resume={folder}: last.ckpt was expected; to go on from the best epoch, copy best.ckpt over it"
        )
    folder = str(run_folder(folder))
    path = RunFolder(Path(folder)).config
    if not path.is_file():
        raise InputError(f"resume={folder}: there is no config.yaml in it, so it is not a run folder")
    config = config_of(path)
    if not isinstance(config.get("run_dir"), str):
        raise InputError(f"resume={folder}: its weights were imported; init_from={folder} starts a run from them")
    place = str(Path(folder).absolute())
    config = relocated(config, config["run_dir"], place)
    refuse_unknown(config, trusted, path, writes_in=place)
    return {**config, "resume": folder, "trusted": [*trusted]}


def config_of(path: Path) -> dict[str, Any]:
    """A run's `config.yaml` as plain data. Nothing of it may be built before `refuse_unknown` has checked it.

    Raises:
        InputError: It is no config, or a value is an interpolation or an alias.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):  # a few lines could fill the memory
            raise ValueError("it has aliases")
        config = yaml.safe_load(text)
        plain = all(_is_plain(value) for _, value in nested(config))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a config: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict) or not plain:
        raise InputError(f"{path} is not a config: a mapping of plain values without ${{...}} was expected")
    return config


def _is_plain(value: Any) -> bool:
    return "${" not in value if isinstance(value, str) else isinstance(value, dict | list | int | float | None)


def relocated(state: Any, old: str, new: str) -> Any:
    """The same nested data, with paths below `old` replaced by paths below `new`."""
    if isinstance(state, dict):
        return {relocated(key, old, new): relocated(value, old, new) for key, value in state.items()}
    if isinstance(state, list):
        return [relocated(value, old, new) for value in state]
    inside = isinstance(state, str) and (state == old or state.startswith(old + "/"))
    return new + state[len(old) :] if inside else state


def refuse_unknown(config: Any, trusted: Sequence[str], path: Path, *, writes_in: str | None = None) -> None:
    """Refuse a config that decides which code runs, or where files are written: a run folder may be anybody's.

    Building an object runs code, and torch and lightning have classes that start programs. So a `_target_` is refused
    unless a yaml of `conf/` names the same one; it is compared as text, and nothing is imported.

    Args:
        config: Config of a run, or the part of it that is to be built.
        trusted: Values that are permitted nevertheless, verbatim. From the user, never from the run.
        path: Path of the config.
        writes_in: The run's folder, where callbacks, logger and trainer are to be built: none of their paths may lead
            out of it.

    Raises:
        InputError: It names another class, or another folder to write to.
    """
    named, folders = _named()
    asked = [(keys, value) for keys, value in nested(config) if keys[-1:] == ("_target_",) and value not in named]
    if writes_in is not None:
        asked += _outside({part: config.get(part) for part in WRITERS}, writes_in, folders)
    if isinstance(trusted, str) or not isinstance(trusted, Sequence):
        raise InputError(f"trusted={trusted}: a list was expected, 'trusted=[{trusted}]'")
    if asked := [(keys, value) for keys, value in asked if value not in trusted]:
        words = ", ".join(f"{'.'.join(map(str, keys))}={value}" for keys, value in asked)
        remedy = shlex.quote(f"trusted=[{','.join(str(value) for _, value in asked)}]")
        raise InputError(
            f"{path}: {words}: only classes that conf/ names are built from a run folder, and only the folder is "
            f"written to; if you trust this one, add {remedy}"
        )


def _outside(state: Any, run: str, folders: Sequence[str]) -> list[tuple[tuple[Any, ...], str]]:
    """The texts that, read as paths, do not lie below a run's folder, each with the keys that lead to it.

    Args:
        state: Nested data.
        run: The folder. Of what else may be a path only a name below another one is expected, so it is read from here.
        folders: Keys of folders, which are read from the working directory.
    """
    found = []
    for keys, value in nested(state):
        if isinstance(value, str):
            start = "" if {*keys} & {*folders} else run
            place = Path(os.path.normpath(Path(start, value).absolute()))
            expanded = re.search(r"^~|\$|::|://", value.removeprefix(run))  # by loggers, and as protocols by fsspec
            if expanded or not place.is_relative_to(os.path.normpath(run)):
                found.append((keys, value))
    return found


@cache
def _named() -> tuple[list[str], list[str]]:
    """The classes that the yamls of `conf/` name, and the keys that they fill with the run's folder."""
    read = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in CONF.rglob("*.yaml")]
    texts = [(keys, value) for keys, value in nested(read) if isinstance(value, str)]
    named = {value for keys, value in texts if keys[-1] == "_target_"}
    folders = {keys[-1] for keys, value in texts if value.startswith("${run_dir}")}
    return sorted(named), sorted(folders | {"_args_"})


def nested(state: Any, *keys: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value of nested data, whole and in parts, with the keys that lead to it."""
    yield keys, state
    for key, value in state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ():
        yield from nested(value, *keys, key)
