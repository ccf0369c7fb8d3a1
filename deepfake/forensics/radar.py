"""Cues of a radar chart: where in a clip the evidence for spoof lies, as shares of it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfake.explain.map import Map

BANDS = {"below 1 kHz": (0.0, 1000.0), "1 to 4 kHz": (1000.0, 4000.0), "above 4 kHz": (4000.0, math.inf)}
SPEECH_DB = 30.0  # below the loudest frame


def cues_of(map: Map, levels_db: ArrayLike, hz: ArrayLike, seconds: ArrayLike) -> dict[str, float | None]:
    """Shares of a map's evidence for spoof: three ranges of frequency, speech, and the strongest tenth of the time.

    They say where the evidence lies, not how much of it there is. Speech is the frames no more than 30 dB below the
    loudest. Of a map of ones they are the shares that evidence spread evenly would have.

    Args:
        map: Of which the cells for spoof (above 0) count.
        levels_db: In dB `[F, L]`.
        hz: Edges of the bands of `levels_db` `[F + 1]`.
        seconds: Edges of its frames `[L + 1]`.

    Returns:
        Share by name, None for all of them where no cell speaks for spoof.
    """
    power = (10 ** (np.asarray(levels_db, dtype=float) / 10)).sum(axis=0)  # [L]
    middles = (map.seconds[1:] + map.seconds[:-1]) / 2
    frame = np.clip(np.searchsorted(seconds, middles, side="right") - 1, 0, len(power) - 1)
    speech = power[frame] > power.max() * 10 ** (-SPEECH_DB / 10)
    spoof = np.maximum(np.nan_to_num(map.values), 0)  # [F, L]
    total = spoof.sum()
    over_time = np.sort(spoof.sum(axis=0))[::-1]
    shares = {name: (_overlap(map.hz, *ends) @ spoof).sum() for name, ends in BANDS.items()}
    shares |= {
        "in speech": spoof[:, speech].sum(),
        "in pauses": spoof[:, ~speech].sum(),
        "strongest tenth\nof the time": over_time[: math.ceil(len(over_time) / 10)].sum(),
    }
    return {name: float(min(share / total, 1)) if total > 0 else None for name, share in shares.items()}


def _overlap(edges: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Share of each band that lies in a range of frequency `[F]`."""
    inside = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    return np.clip(inside / np.diff(edges), 0, 1)
