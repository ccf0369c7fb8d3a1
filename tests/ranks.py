"""Two processes of one data-parallel training."""

from __future__ import annotations

import os
import subprocess
import sys

from lightning.fabric.plugins.environments.lightning import find_free_network_port
from tiny import REPOSITORY


def two_ranks(code: str, *arguments: str) -> None:
    """Run code in two processes that find each other, and wait for both."""
    shared = {"WORLD_SIZE": "2", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": str(find_free_network_port()), "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, **shared, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    said = [rank.communicate(timeout=300)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(said)[-3000:]
