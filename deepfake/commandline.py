"""What is done to the arguments before Hydra's grammar reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.util import find_spec

SUBSET_KEYS = ("per_class", "on_bad_audio")  # what every dataset has, of whatever corpus

_PATH_KEY = r"(?:\w+_)?(?:root|file|folder|keys)"  # of a part of the config, as dataset.real_root
_PATH = re.compile(
    r"(\+{0,2}(?:run|input|output|scores|fuse|fit|protocol|asv_scores|resume|trusted|init_from|weights)"
    rf"|\+{{0,2}}(?:[\w@]+\.)+{_PATH_KEY}|hydra\.(?:run|sweep)\.dir)=(.+)",
    re.DOTALL,
)
_PLUGINS = {"sweep=tpe": "optuna_sweeper", "hydra/sweeper=optuna": "optuna_sweeper"}
_PLUGINS |= {"hydra/launcher=joblib": "joblib_launcher"}
_PLUGINS |= {f"hydra/launcher=submitit_{kind}": "submitit_launcher" for kind in ("local", "slurm")}
_LISTED = re.compile(r"""\s*(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")\s*(?=,|$)|[^,]+""", re.DOTALL)


def prepared(command: str, arguments: Iterable[str]) -> list[str]:
    """The arguments of `train`, `evaluate` or `explain` as Hydra is to read them; doing it twice changes nothing."""
    return quoted(arguments) if command == "train" else own_dataset(quoted(arguments))


def names_a_path(key: str) -> bool:
    """Whether the value of a key in a part of the config is a path: `root`, `file`, `folder`, `keys`, or `..._root`."""
    return re.fullmatch(_PATH_KEY, key) is not None


def quoted(arguments: Iterable[str]) -> list[str]:
    """Quote path-valued overrides, whose spaces, commas, digits or `=` Hydra would read as its own.

    In a list `[A,B]` each path is quoted; one with a comma in it is to be given in quotes. A value in quotes is left
    as it is, so that quoting twice changes nothing: Lightning's processes run the same command line again.
    """
    return [f"{m[1]}={_value(m[2])}" if (m := _PATH.fullmatch(a)) else a for a in arguments]


def _value(value: str) -> str:
    if value[0] == "[" and value[-1] == "]":
        return f"[{','.join(_quoted(path) for m in _LISTED.findall(value[1:-1]) if (path := m.strip()))}]"
    return value if value == "null" else _quoted(value)


def _quoted(path: str) -> str:
    if len(path) > 1 and path[0] == path[-1] and path[0] in "'\"":
        return path
    path = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), path.replace("${", "\\${"))
    return f"'{path}'"


def own_dataset(arguments: list[str]) -> list[str]:
    """Let `dataset.root=DIR` alone stand for a change to the dataset that the run was trained on.

    Beside a `dataset=` of its own, the keys that every dataset has are still added rather than changed.
    """
    chosen = any(a.startswith("dataset=") for a in arguments)
    added = tuple(f"dataset.{key}" for key in SUBSET_KEYS) if chosen else "dataset."
    return [f"++{a}" if a.startswith(added) else a for a in arguments]


def lacking(arguments: Iterable[str]) -> str | None:
    """What to install for these arguments, which Hydra would only call unknown; None where nothing lacks."""
    for argument in arguments:
        if (plugin := _PLUGINS.get(argument)) and not _installed(f"hydra_plugins.hydra_{plugin}"):
            return f'{argument} needs hydra-{plugin.replace("_", "-")}: pip install -e ".[sweep]"'
    return None


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of its package
        return False
