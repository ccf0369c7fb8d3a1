"""Run folders side by side: what differed between them, what came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from deepfake.errors import InputError
from deepfake.resume import config_of

SKIPPED = ("run_dir", "resume", "check", "threshold", "imported")


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
    runs = {path.parent: flat(config_of(path)) for path in sorted(folder.rglob("config.yaml"))}
    if not runs:
        raise InputError(f"there are no run folders below {folder}")
    keys = sorted({key for config in runs.values() for key in config})
    differ = [k for k in keys if len({str(c.get(k)) for c in runs.values()}) > 1 and not k.startswith(SKIPPED)]
    view = Table(box=None, pad_edge=False)
    for heading in ("run", "EER %", "differs in"):
        view.add_column(heading, overflow="fold", vertical="top")
    for path, config in runs.items():
        own = str(config.get("run_dir"))  # what lies in its own folder differs by nature
        differing = [f"{k}={config[k]}" for k in differ if k in config and not str(config[k]).startswith(own)]
        view.add_row(escape(str(path.relative_to(folder))), "\n".join(_outcomes(path)), escape("  ".join(differing)))
    return view


def _outcomes(run: Path) -> list[str]:
    """`dev 1.2`, `demo-eval 3.4` ...: what each judged partition's EER is in percent."""
    reports = [run / "reports" / "metrics.json", *sorted(run.glob("evaluations/*/metrics.json"))]
    lines = []
    for path in reports:
        if path.is_file():
            try:
                eer = json.loads(path.read_text(encoding="utf-8"))["eer"]
            except (ValueError, KeyError) as error:
                raise InputError(f"{path} is not a report's metrics.json: {error}") from error
            where = "dev" if path.parent.name == "reports" else path.parent.name
            lines.append(f"{where} {'-' if eer is None else f'{100 * eer:.2f}'}")
    return lines or ["not finished"]
