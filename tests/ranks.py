"""Two processes of one data-parallel training."""

from __future__ import annotations

import os

from children import Child
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from tiny import REPOSITORY


def two_ranks(code: str, *arguments: str) -> None:
    """Run code in two processes that find each other, as `children` starts them, and wait for both."""
    shared = {"WORLD_SIZE": "2", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": str(find_free_network_port()), "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"}
    ranks = [Child("-c", code, *arguments, env={**os.environ, **shared, "LOCAL_RANK": rank}) for rank in "01"]
    done = [rank.wait() for rank in ranks]
    assert [rank.returncode for rank in done] == [0, 0], "\n".join(rank.stderr for rank in done)[-3000:]
