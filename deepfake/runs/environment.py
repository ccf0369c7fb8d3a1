"""The environment of a run, on which its results depend besides the config: command, commit, versions, device."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import deepfake
from deepfake.atomic import write_atomically
from deepfake.runs.folder import RunFolder

if TYPE_CHECKING:
    import torch

    Device = torch.device | Literal["cpu"]

log = logging.getLogger(__name__)

PACKAGES = ("torch", "torchaudio", "lightning", "hydra-core", "numpy", "soundfile", "soxr", "librosa")


def write_environment(
    folder: Path, command: Sequence[str], device: Device, seed: int, *, resumed: bool = False
) -> dict[str, Any]:
    """Write `environment.json`: command, git commit (and whether the tree differs), versions, device, seed.

    If the file exists, as in a resumed run, the new environment is appended to its list `resumed`. Another number of
    threads adds up in another order, which epochs of training amplify: scores of resumed runs have differed by 0.03.

    Returns:
        The environment of this call.
    """
    path = RunFolder(folder).environment
    now = facts = environment(command, device, seed)
    if path.is_file():
        first = json.loads(path.read_text(encoding="utf-8"))
        if resumed and (threads := first.get("threads")) != now["threads"]:
            log.warning(
                "the run began with %s threads and goes on with %s: results will differ from those of an uninterrupted "
                "run; OMP_NUM_THREADS=%s keeps them", threads, now["threads"], threads,
            )  # fmt: skip
        facts = {**first, "resumed": [*first.get("resumed", []), facts]}
    write_atomically(path, json.dumps(facts, indent=2) + "\n")
    return now


def environment(command: Sequence[str], device: Device, seed: int | None) -> dict[str, Any]:
    """Command, start, commit, versions, device, threads and seed (None where nothing is random).

    The numbers of threads are torch's, None in a process that does without it.
    """
    torch = sys.modules.get("torch")
    cuda = torch and torch.device(device).type == "cuda"
    name = torch.cuda.get_device_name(device) if torch and cuda else platform.processor() or platform.machine()
    commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return {
        "command": list(command),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": commit,
        "git_changed": None if commit is None else bool(changed),
        "deepfake": deepfake.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {package: importlib.metadata.version(package) for package in PACKAGES},
        "device": f"{device} ({name})",
        "threads": torch and torch.get_num_threads(),
        "interop_threads": torch and torch.get_num_interop_threads(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "seed": seed,
    }


def environment_rows(facts: Mapping[str, Any]) -> dict[str, str]:
    """The environment as rows of a report: the command as typed, date, software and device."""
    commit = (facts["git_commit"] or "")[:10] + (" and changes" if facts["git_changed"] else "")
    versions = {"deepfake": facts["deepfake"], "commit": commit, "python": facts["python"], **facts["packages"]}
    software = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return {
        "command": shlex.join(re.sub(r"='(.*)'$", r"=\1", argument) for argument in facts["command"]),
        "date": facts["started"],
        "software": software,
        "device": facts["device"],
    }


def _git(*arguments: str) -> str | None:
    try:
        where = Path(__file__).resolve().parent
        done = subprocess.run(["git", *arguments], cwd=where, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
