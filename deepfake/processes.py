"""The processes of one command, as torchrun starts them: which of them this one is."""

from __future__ import annotations

import os
from dataclasses import dataclass

from deepfake.errors import InputError


@dataclass(frozen=True)
class Process:
    """One of the processes that run a command together.

    Args:
        rank: Its number, from 0.
        n: How many there are, on all machines.
        local_rank: Its number on its machine, by which it takes a GPU.

    Raises:
        InputError: `rank` is not among them.
    """

    rank: int = 0
    n: int = 1
    local_rank: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.n and self.local_rank >= 0):
            given = f"RANK={self.rank} WORLD_SIZE={self.n} LOCAL_RANK={self.local_rank}"
            raise InputError(f"{given}: a rank from 0 to WORLD_SIZE - 1 was expected, as torchrun sets it")

    @property
    def first(self) -> bool:
        """Whether it is the one that reports and writes results."""
        return self.rank == 0

    @classmethod
    def here(cls) -> Process:
        """This process, by torchrun's RANK, WORLD_SIZE and LOCAL_RANK; the only one where RANK is not set."""
        if "RANK" not in os.environ:
            return cls()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        try:
            numbers = [int(os.environ.get(name, default)) for name, default in zip(names, "010", strict=True)]
        except ValueError:
            given = " ".join(f"{name}={os.environ.get(name, '')}" for name in names)
            raise InputError(f"{given}: whole numbers were expected, as torchrun sets them") from None
        return cls(*numbers)
