"""Two processes of one data-parallel training."""

from __future__ import annotations

import os
import subprocess
import sys

from children import Child
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from tiny import REPOSITORY


def two_ranks(code: str, *arguments: str) -> None:
    """Run code in two processes that find each other, as `children` starts them, and wait for both."""
    ranks = [Child("-c", code, *arguments, env=environment) for environment in _environments()]
    done = [rank.wait() for rank in ranks]
    assert [rank.returncode for rank in done] == [0, 0], "\n".join(rank.stderr for rank in done)[-3000:]


def two_fresh_ranks(code: str, *arguments: str) -> None:
    """As `two_ranks`, from the first import on; of trainings with loader processes, forked ones take twice the time."""
    command = [sys.executable, "-c", code, *arguments]
    ranks = [subprocess.Popen(command, env=one, stderr=subprocess.PIPE, text=True) for one in _environments()]
    said = [rank.communicate(timeout=300)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(said)[-3000:]


def _environments() -> list[dict[str, str]]:
    shared = {"WORLD_SIZE": "2", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": str(find_free_network_port()), "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"}
    return [{**os.environ, **shared, "LOCAL_RANK": rank} for rank in "01"]
