"""Localisation of known spoofed stretches by a map: its evidence by unit of time, and its peak."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepfake.explain.map import Map
from deepfake.metrics.localisation import Stretches, unit_edges

RESOLUTION = 0.02  # seconds; the finest of PartialSpoof's labels
SMOOTHING = 0.2  # seconds


def by_unit(map: Map, *, seconds: float = RESOLUTION) -> NDArray[np.float64]:
    """Evidence for spoof per second around each unit of 20 ms, `[U]`: the mean over `seconds`, fewer at the ends."""
    units = unit_edges(resolution=RESOLUTION, duration=map.seconds[-1])
    middles = (units[1:] + units[:-1]) / 2
    total = np.append(0.0, np.cumsum(map.over_time()))  # evidence up to each edge
    low = np.maximum(middles - seconds / 2, 0)
    high = np.minimum(middles + seconds / 2, map.seconds[-1])
    return (np.interp(high, map.seconds, total) - np.interp(low, map.seconds, total)) / (high - low)


def points_at(map: Map, spoofed: Stretches) -> tuple[float, float]:
    """The pointing game (Zhang et al. 2018, "Top-down neural attention"), in time.

    Returns:
        1 if the frame with the most evidence for spoof per second lies in a spoofed stretch (with a tolerance of one
        frame of the map), else 0; and the share of the time that counts as a hit: the rate of a random peak.
    """
    widths = np.diff(map.seconds)
    middles = (map.seconds[1:] + map.seconds[:-1]) / 2
    hits = np.zeros(len(middles), dtype=bool)
    for start, end in spoofed:
        hits |= (middles >= start - widths) & (middles <= end + widths)
    peak = int(np.argmax(map.over_time() / widths))
    return float(hits[peak]), float(widths @ hits / widths.sum())
