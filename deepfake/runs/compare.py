"""Run folders side by side: what differed between them, what came out."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from deepfake.errors import InputError
from deepfake.runs.resume import config_of

SKIPPED = ("run_dir", "resume", "trusted", "check", "threshold", "imported.sha256", "imported.file", "task.seed")


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """A nested config as one level of dotted keys; lists are written out."""
    if isinstance(config, dict):
        return {k: v for key, value in config.items() for k, v in flat(value, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): config if isinstance(config, int | float | str | bool) else str(config)}


def table(folder: Path) -> Table:
    """Every run below a folder: its dev EER, the EERs of its evaluations, and the settings in which runs differ.

    Raises:
        InputError: No such folder, or no run in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    configs = {path.parent: _settings(path) for path in sorted(folder.rglob("config.yaml"))}
    if not configs:
        raise InputError(f"there are no run folders below {folder}")
    view = Table(box=box.SIMPLE_HEAD)
    for heading in ("run", "EER %", "differs in"):
        view.add_column(heading, overflow="fold", vertical="top")
    for path, words in differences(configs).items():
        imported = "imported.model" in configs[path]
        outcomes = _outcomes(path) or ["imported" if imported else "not finished"]
        view.add_row(escape(str(path.relative_to(folder))), "\n".join(outcomes), escape("\n".join(words)))
    return view


def differences(configs: Mapping[Path, Mapping[str, Any]]) -> dict[Path, list[str]]:
    """Per run the settings that are not the same in all runs.

    Where a choice differs (another model), it is named by its class, and the settings below it are compared only among
    the runs that chose alike.
    """
    words: dict[Path, list[str]] = {path: [] for path in configs}
    for key in sorted({key for config in configs.values() for key in config}):
        group, _, name = key.rpartition(".")
        alike: dict[Any, list[Path]] = defaultdict(list)
        for path, config in configs.items():
            if key in config:
                alike[None if name == "_target_" else config.get(f"{group}._target_")].append(path)
        for paths in alike.values():
            if len({str(configs[path][key]) for path in paths}) > 1:
                for path in paths:
                    value = str(configs[path][key])
                    words[path].append(
                        f"{group}={value.rpartition('.')[2]}" if name == "_target_" else f"{key}={value}"
                    )
    return words


def _settings(path: Path) -> dict[str, Any]:
    """A run's config, flat, without what differs by nature: where it lies."""
    config = flat(config_of(path))
    own = str(config.get("run_dir"))
    config |= {f"{key}._target_": value for key, value in config.items() if value == "None"}
    return {k: v for k, v in config.items() if not k.startswith(SKIPPED) and not str(v).startswith(own)}


def _outcomes(run: Path) -> list[str]:
    """`dev 1.2`, `demo-eval 3.4` ...: what each judged partition's EER is in percent."""
    reports = [run / "reports" / "metrics.json", *sorted(run.glob("evaluations/*/metrics.json"))]
    lines = []
    for path in reports:
        if path.is_file():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                if "objective" in content:
                    lines.append("pre-trained")
                    continue
                eer = content["eer"]
            except (ValueError, KeyError) as error:
                raise InputError(f"{path} is not a report's metrics.json: {error}") from error
            where = "dev" if path.parent.name == "reports" else path.parent.name
            lines.append(f"{where} {'-' if eer is None else f'{100 * eer:.2f}'}")
    return lines
