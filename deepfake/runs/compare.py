"""Run folders side by side: their EERs, and the settings that differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from deepfake.errors import InputError
from deepfake.runs.folder import RunFolder
from deepfake.runs.resume import config_of
from deepfake.terminal import shortened

LONGEST_NAME = 32
SKIPPED = ("choices.", "trusted", "run_dir", "resume", "check", "threshold", "task.seed")
SKIPPED += ("imported.sha256", "imported.file", "imported.card")


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """A nested config as one level of dotted keys; lists are written out."""
    if isinstance(config, dict):
        return {k: v for key, value in config.items() for k, v in flat(value, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): config if isinstance(config, int | float | str | bool) else str(config)}


def table(folder: Path) -> Table:
    """A line for every run below a folder: its dev EER, the EERs of its evaluations, the settings in which runs differ.

    Raises:
        InputError: No such folder, or no run in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    configs = {path.parent: _settings(path) for path in sorted(folder.rglob(RunFolder(folder).config.name))}
    if not configs:
        raise InputError(f"there are no run folders below {folder}")
    view = Table(box=box.SIMPLE_HEAD)
    for heading in ("run", "EER %", "differs in"):
        view.add_column(heading, no_wrap=True, overflow="ellipsis")
    for path, words in differences(configs).items():
        imported = "imported.model" in configs[path]
        outcomes = _outcomes(RunFolder(path)) or ["imported" if imported else "not finished"]
        name = shortened(str(path.relative_to(folder)), LONGEST_NAME)
        view.add_row(Text(name), Text(", ".join(outcomes)), Text(" ".join(words)))
    return view


def differences(configs: Mapping[Path, Mapping[str, Any]]) -> dict[Path, list[str]]:
    """Per run the settings that are not the same in all runs.

    Where a choice differs (another model), the settings below it are compared only among runs with the same choice.
    """
    words: dict[Path, list[str]] = {path: [] for path in configs}
    for key in sorted({key for config in configs.values() for key in config}):
        group, _, name = key.rpartition(".")
        groups: dict[Any, list[Path]] = defaultdict(list)
        for path, config in configs.items():
            if key in config:
                groups[None if name == "_target_" else config.get(f"{group}._target_")].append(path)
        for paths in groups.values():
            if len({str(configs[path][key]) for path in paths}) > 1:
                for path in paths:
                    words[path].append(f"{group if name == '_target_' else key}={configs[path][key]}")
    return words


def _settings(path: Path) -> dict[str, Any]:
    """A run's config, flat, each choice by its name, without the paths of the run itself."""
    config = flat(config_of(path))
    own = str(config.get("run_dir"))
    config |= {f"{key}._target_": value for key, value in config.items() if value == "None"}
    config |= {key: _stem(str(value)) for key, value in config.items() if key.endswith("._target_")}
    choices = {key.removeprefix("choices."): value for key, value in config.items() if key.startswith("choices.")}
    config |= {f"{group}._target_": name for group, name in choices.items() if f"{group}._target_" in config}
    return {k: v for k, v in config.items() if not k.startswith(SKIPPED) and not str(v).startswith(own)}


def _stem(target: str) -> str:
    """The name of a choice by its target, for runs without `choices`: modules are named as their yamls are."""
    *modules, name = target.split(".")
    return modules[-1] if modules[:1] == ["deepfake"] else name


def _outcomes(run: RunFolder) -> list[str]:
    """`dev 1.2`, `demo-eval 3.4` ...: the EER of each evaluation in percent."""
    lines = []
    for where, report in {"dev": run.report, **{r.path.name: r for r in run.evaluations()}}.items():
        if (metrics := report.read_metrics()) is None:
            continue
        if "objective" in metrics:
            lines.append("pre-trained")
        elif "eer" in metrics:
            eer = metrics["eer"]
            lines.append(f"{where} {'-' if eer is None else f'{100 * eer:.2f}'}")
        else:
            raise InputError(f"{report.metrics} is not a report's metrics.json: it has no eer")
    return lines
