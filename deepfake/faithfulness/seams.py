"""The control for splices: bona fide speech spliced into bona fide speech, which has seams but no spoof."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from deepfake.audio.crossfade import crossfade
from deepfake.explain.map import Map
from deepfake.metrics.localisation import overlaps

FADE_SECONDS = 0.01
NEAR_SECONDS = 0.08
SHARES = (0.2, 0.5)  # of the clip that is replaced


def spliced(host: Tensor, guest: Tensor, *, sample_rate: int, seed: int = 0) -> tuple[Tensor, list[float]]:
    """Put a stretch of one clip into another, with raised-cosine cross-fades of 10 ms and its level matched.

    Args:
        host: `[T]`.
        guest: `[T']`; if it is shorter than the stretch, the stretch is shortened.
        sample_rate: In hertz.
        seed: Of the positions of the stretch in both, and of its length: a fifth to half of the host.

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


def shares_near(map: Map, seams: Sequence[float]) -> tuple[float, float]:
    """Share of a map's positive evidence over time within 80 ms of a seam, and share of the time that is so near.

    The first is NaN for a map without positive evidence; the second is what evidence spread evenly would reach.
    """
    near = overlaps(map.seconds, [(seam - NEAR_SECONDS, seam + NEAR_SECONDS) for seam in seams])  # [L]
    positive = np.maximum(map.over_time(), 0)
    share = positive @ (near / np.diff(map.seconds)) / positive.sum() if positive.any() else math.nan
    return float(share), float(near.sum() / map.seconds[-1])
