"""The map of an explanation: evidence by time and frequency."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepfake.errors import InputError


class Map(NamedTuple):
    """Evidence by time and frequency: positive for spoof, negative for bona fide.

    Attributes:
        method: Name of the method.
        values: `[F, L]` at the method's own resolution, in nats of the log-likelihood ratio (or log-odds).
        hz: Edges of the bands `[F + 1]`.
        seconds: Edges of the frames `[L + 1]`, within the source.
        facts: Settings and checks of the method.
    """

    method: str
    values: NDArray[np.float64]
    hz: NDArray[np.float64]
    seconds: NDArray[np.float64]
    facts: dict[str, Any]

    def over_time(self) -> NDArray[np.float64]:
        """Evidence of each frame, all bands together, `[L]`."""
        return self.values.sum(axis=0)

    def on(self, hz: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values on another grid, `[F', L']`: each cell has the value of the cell that contains its centre."""
        rows, columns = (
            np.clip(np.searchsorted(own, (grid[1:] + grid[:-1]) / 2, side="right") - 1, 0, len(own) - 2)
            for own, grid in ((self.hz, hz), (self.seconds, seconds))
        )
        return self.values[np.ix_(rows, columns)]


def checked(found: Map) -> Map:
    """The map itself.

    Raises:
        InputError: A value is not finite.
    """
    if not np.isfinite(found.values).all():
        raise InputError(f"{found.method}: the detector's gradient or score of this clip is not finite")
    return found
