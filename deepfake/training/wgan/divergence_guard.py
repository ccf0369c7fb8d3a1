"""A game of two networks that runs away is stopped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from deepfake.errors import InputError

ADVICE = (
    "lower task.critic_lr and task.generator_lr, raise task.gp_weight, or train with trainer.precision=32-true; the "
    "last whole epoch is in checkpoints/last.ckpt"
)


class DivergenceGuard:
    """Stops at the first figure that is not finite, and where a watched one is beyond a limit for several steps on end.

    Asked before a step is taken, so that no weight becomes NaN.

    Args:
        watched: Names of figures whose size has a limit.
        limit: That limit.
        patience: Steps on end beyond it at which the game is stopped.

    Raises:
        InputError: A limit or a patience that is not positive.
    """

    def __init__(self, watched: Sequence[str], limit: float, patience: int) -> None:
        if not limit > 0 or patience < 1:
            raise InputError(f"task.limit={limit}, task.patience={patience}: both are to be above zero")
        self.watched = watched
        self.limit = limit
        self.patience = patience
        self.n_beyond = 0

    def check(self, figures: Mapping[str, float], epoch: int) -> None:
        """Look at the figures of a step.

        Args:
            figures: By name.
            epoch: For the message.

        Raises:
            InputError: One is not finite, or has been beyond the limit for too long.
        """
        for name, value in figures.items():
            if not math.isfinite(value):
                raise InputError(f"the {_words(name)} became {value} in epoch {epoch}: {ADVICE}")
        sizes = {name: abs(figures[name]) for name in self.watched if name in figures}
        if not sizes:
            return
        name = max(sizes, key=sizes.__getitem__)
        self.n_beyond = self.n_beyond + 1 if sizes[name] > self.limit else 0
        if self.n_beyond >= self.patience:
            raise InputError(
                f"the {_words(name)} is {figures[name]:.4g} in epoch {epoch}, after {self.n_beyond} steps beyond "
                f"task.limit={self.limit:g} the game diverges: {ADVICE}"
            )


def _words(name: str) -> str:
    return name.replace("_", " ")
