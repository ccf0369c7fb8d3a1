"""Command-line arguments, quoted and completed for Hydra's grammar."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from deepfake.address import is_address, public

SUBSET_KEYS = ("per_class", "on_bad_audio", "cache")  # of every dataset, whatever its reader

_PATH_KEY = r"(?:\w+_)?(?:root|file|folder|keys)"  # of a part of the config, as dataset.real_root
_PATH = re.compile(
    r"(\+{0,2}(?:run|input|output|scores|fuse|fit|protocol|asv_scores|resume|trusted|init_from|weights|speaker)"
    rf"|\+{{0,2}}(?:[\w@]+\.)+{_PATH_KEY}|hydra\.(?:run|sweep)\.dir)=(.+)",
    re.DOTALL,
)
_PLUGINS = {"sweep=tpe": "optuna_sweeper", "hydra/sweeper=optuna": "optuna_sweeper"}
_PLUGINS |= {"hydra/launcher=joblib": "joblib_launcher"}
_PLUGINS |= {f"hydra/launcher=submitit_{kind}": "submitit_launcher" for kind in ("local", "slurm")}
_LOGGERS = {"logger=wandb": "wandb", "logger=mlflow": "mlflow"}  # each a package of its own
_LISTED = re.compile(r"""\s*(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")\s*(?=,|$)|[^,]+""", re.DOTALL)


def hydra_arguments(command: str, arguments: Iterable[str]) -> list[str]:
    """The arguments of `train`, `evaluate` or `explain` as Hydra takes them; idempotent."""
    return quote_paths(arguments) if command == "train" else modify_run_dataset(quote_paths(arguments))


def names_a_path(key: str) -> bool:
    """Whether the value of a key in a part of the config is a path: `root`, `file`, `folder`, `keys`, or `..._root`."""
    return re.fullmatch(_PATH_KEY, key) is not None


def quote_paths(arguments: Iterable[str]) -> list[str]:
    """Quote path-valued overrides, whose spaces, commas, digits or `=` Hydra would interpret.

    In a list `[A,B]` each path is quoted; the user has to quote paths that contain a comma. Quoted values are not
    changed, so that the function is idempotent: Lightning's processes run the same command line again.
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


def run_folder(path: str | os.PathLike[str]) -> Path:
    """The folder of a run that is given by its `config.yaml`, `detector.pt` or a checkpoint, else the path itself.

    Example:
        >>> str(run_folder("runs/a/checkpoints/last.ckpt"))
        'runs/a'
    """
    path = Path(path)
    if path.suffix == ".ckpt" and path.parent.name == "checkpoints":
        return path.parent.parent
    return path.parent if path.name in ("config.yaml", "detector.pt") else path


def detector_file(run: str | os.PathLike[str]) -> Path:
    """The detector file of a run, given by its folder or a file of it, or the detector file itself.

    Example:
        >>> detector_file(Path("runs") / "detector.pt").name
        'detector.pt'
    """
    path = Path(run) if Path(run).suffix == ".pt" else run_folder(run)
    return path / "detector.pt" if path.is_dir() else path


def modify_run_dataset(arguments: list[str]) -> list[str]:
    """Make `dataset.root=DIR` without `dataset=` change the dataset that the run was trained on.

    With `dataset=`, the keys that every dataset has are still added rather than changed.
    """
    selected = any(a.startswith("dataset=") for a in arguments)
    added = tuple(f"dataset.{key}" for key in SUBSET_KEYS) if selected else "dataset."
    return [f"++{a}" if a.startswith(added) else a for a in arguments]


def refusal(arguments: Iterable[str], conf: Path) -> str | None:
    """What is to be installed or changed where Hydra would fail on these arguments; None if nothing is.

    Args:
        arguments: The arguments.
        conf: Folder of the configs.

    Raises:
        InputError: The address of a corpus holds a password.
    """
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key.lstrip("+").startswith("dataset.") and is_address(address := value.strip("'\"")):
            public(address, key)  # before anything writes the arguments down
        if value == "null" and (choices := sorted(path.stem for path in (conf / key).glob("*.yaml"))):
            return f"{argument}: one of {', '.join(choices)} was expected"
        if (package := _LOGGERS.get(argument)) and not _installed(package):
            return f"{argument} needs the package {package}: pip install {package}"
        if (plugin := _PLUGINS.get(argument)) and not _installed(f"hydra_plugins.hydra_{plugin}"):
            return f'{argument} needs hydra-{plugin.replace("_", "-")}: pip install -e ".[sweep]"'
    return None


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its package is not installed
        return False
