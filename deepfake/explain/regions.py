"""Where in time and frequency the evidence for spoof lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deepfake.errors import InputError
from deepfake.explain.map import Map
from deepfake.metrics.localisation import stretches

CARRIED = 0.8  # share of a region's evidence in its band


class Region(NamedTuple):
    """A stretch of a clip with evidence for spoof.

    Attributes:
        start_s: Start, in seconds.
        end_s: End, in seconds.
        low_hz: Lower edge of its band, in hertz.
        high_hz: Upper edge of its band, in hertz.
        strength: Evidence for spoof summed over its frames, in the unit of the map.
    """

    start_s: float
    end_s: float
    low_hz: float
    high_hz: float
    strength: float


def regions(
    map: Map, *, threshold: float = 0.6, shortest_seconds: float = 0.05, gap_seconds: float = 0.05
) -> list[Region]:
    """Find the stretches whose frames exceed `threshold` times the evidence of the strongest frame.

    A frame's evidence is the sum over its bands, where that is positive. The threshold is relative to the maximum of
    the clip: a region is where most of the evidence lies, however little there is. Its band is the narrowest run of
    bands that holds 80 % of its positive evidence.

    Args:
        map: Evidence.
        threshold: On the map, as a share of its maximum, above 0 and below 1.
        shortest_seconds: Shorter regions are dropped, after merging.
        gap_seconds: Regions this far apart or nearer are merged.

    Returns:
        In order of time; none where no frame has evidence for spoof.

    Raises:
        InputError: A setting is out of its range.
    """
    if not 0 < threshold < 1:
        raise InputError(f"threshold={threshold}: a share of the map's maximum above 0 and below 1 was expected")
    evidence = np.maximum(map.over_time(), 0)  # [L]
    strong = evidence > threshold * evidence.max(initial=0)
    return [
        Region(float(map.seconds[i]), float(map.seconds[j]), *_band(map, i, j), float(evidence[i:j].sum()))
        for i, j in stretches(strong, map.seconds, gap_seconds=gap_seconds, shortest_seconds=shortest_seconds)
    ]


def coverage(regions: Sequence[Region], duration: float) -> float:
    """Share of `duration` (seconds) that regions cover; they do not overlap."""
    return min(1.0, sum(r.end_s - r.start_s for r in regions) / duration) if duration > 0 else 0.0


def _band(map: Map, first: int, after: int) -> tuple[float, float]:
    by_band = np.maximum(map.values[:, first:after], 0).sum(axis=1)  # [F]
    sums = np.append(0, np.cumsum(by_band))
    wanted = CARRIED * sums[-1] * (1 - 1e-12)
    ends = np.searchsorted(sums, sums[:-1] + wanted)  # [low] is the first edge by which enough is held
    lows = np.flatnonzero(ends < len(sums))
    held = sums[ends[lows]] - sums[lows]
    low = lows[np.lexsort((-held, ends[lows] - lows))[0]]  # of the narrowest, that which holds most
    return float(map.hz[low]), float(map.hz[ends[low]])
