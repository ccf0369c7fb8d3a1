"""The control for splices: bona fide speech in bona fide speech, so that there is a seam and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepfake.audio.crossfade import crossfade
from deepfake.explain.map import Map

FADE_SECONDS = 0.01
NEAR_SECONDS = 0.08
SHARES = (0.2, 0.5)  # of the clip that is replaced


def spliced(host: Tensor, guest: Tensor, *, sample_rate: int, seed: int = 0) -> tuple[Tensor, list[float]]:
    """Put a stretch of one clip into another, with raised-cosine cross-fades of 10 ms and its level matched.

    Args:
        host: `[T]`.
        guest: `[T']`; where it is shorter than the stretch, the stretch is as short.
        sample_rate: In hertz.
        seed: Draws where the stretch lies, in either, and how long it is: a fifth to half of the host.

    Returns:
        The spliced clip `[T]`, and the middles of its two seams in seconds.
    """
    rng = np.random.default_rng(seed)
    fade = round(FADE_SECONDS * sample_rate)
    n = min(round(rng.uniform(*SHARES) * len(host)), len(guest))
    start, begin = int(rng.integers(fade, max(fade + 1, len(host) - n - fade))), int(rng.integers(len(guest) - n + 1))
    weight = crossfade(n, fade // 2, n - fade // 2, fade)  # the fades lie within the stretch
    own, other = host[start : start + n], guest[begin : begin + n]
    level = own.square().mean().sqrt() / other.square().mean().sqrt().clamp(min=1e-6)
    mixed = host.clone()
    mixed[start : start + n] = (1 - weight) * own + weight * other * level.clamp(max=10)
    return mixed, [(start + fade / 2) / sample_rate, (start + n - fade / 2) / sample_rate]


def share_near(map: Map, seams: Sequence[float]) -> float:
    """Share of a map's evidence for spoof (over time, where positive) within 80 ms of a seam; NaN where it has none."""
    positive = np.maximum(map.over_time(), 0)
    if not positive.any():
        return math.nan
    near = _near(map.seconds, seams) / np.diff(map.seconds)
    return float(positive @ near / positive.sum())


def time_near(duration: float, seams: Sequence[float]) -> float:
    """Share of the time within 80 ms of a seam: that of evidence spread evenly."""
    return float(_near(np.array([0.0, duration]), seams)[0] / duration)


def _near(edges: NDArray[np.float64], seams: Sequence[float]) -> NDArray[np.float64]:
    """Seconds of each frame `[L]` within 80 ms of a seam."""
    total, reached = np.zeros(len(edges) - 1), -math.inf
    for seam in sorted(seams):
        low, high = max(seam - NEAR_SECONDS, reached), seam + NEAR_SECONDS
        total += np.maximum(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0)
        reached = high
    return total
