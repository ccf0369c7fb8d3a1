"""Divergence guard: stops an adversarial training that diverges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from deepfake.errors import InputError

ADVICE = (
    "lower task.critic_lr and task.generator_lr, raise task.gp_weight, or train with trainer.precision=32-true; the "
    "last complete epoch is in checkpoints/last.ckpt"
)


class DivergenceGuard:
    """Stops at the first value that is not finite, or when a watched value exceeds a limit for several steps in a row.

    The values are checked before the optimiser's step, so that no weight becomes NaN.

    Args:
        watched: Names of the values whose magnitude is limited.
        limit: Largest magnitude of a watched value.
        patience: Number of consecutive steps beyond the limit after which training is stopped.

    Raises:
        InputError: A limit or a patience that is not positive.
    """

    def __init__(self, watched: Sequence[str], limit: float, patience: int) -> None:
        if not limit > 0 or patience < 1:
            raise InputError(f"task.limit={limit}, task.patience={patience}: numbers above zero were expected")
        self.watched = watched
        self.limit = limit
        self.patience = patience
        self.n_beyond = 0

    def check(self, figures: Mapping[str, float], epoch: int) -> None:
        """Check the values of a step.

        Args:
            figures: Losses and other values of the step, by name.
            epoch: Current epoch, for the error message.

        Raises:
            InputError: A value is not finite, or has been beyond the limit for too long.
        """
        for name, value in figures.items():
            if not math.isfinite(value):
                raise InputError(f"the {name.replace('_', ' ')} became {value} in epoch {epoch}: {ADVICE}")
        sizes = {name: abs(figures[name]) for name in self.watched if name in figures}
        if not sizes:
            return
        name = max(sizes, key=sizes.__getitem__)
        self.n_beyond = self.n_beyond + 1 if sizes[name] > self.limit else 0
        if self.n_beyond >= self.patience:
            raise InputError(
                f"the {name.replace('_', ' ')} is {figures[name]:.4g} in epoch {epoch}, after {self.n_beyond} steps "
                f"beyond task.limit={self.limit:g}, so the training diverges: {ADVICE}"
            )
