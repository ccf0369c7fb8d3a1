"""How well spoofed stretches of speech are found: by unit of time, by duration, and by their boundaries.

The conventions are those of `deepfake.metrics.eer`: a unit of time is a trial, label 1 = bona fide, 0 = spoof, a larger
score is more bona fide. Point-based EER and AUC are those of `deepfake.metrics` over units, as PartialSpoof reports
them by resolution: only values at the same one can be compared. Known stretches are `(start, end)` in seconds. Units of
many recordings are pooled by joining their arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfake.errors import InputError
from deepfake.metrics.eer import eer_on
from deepfake.metrics.trials import Bools, Floats, Roc

RESOLUTIONS = (0.02, 0.16, 0.64)  # seconds
ROUNDING = 1e-6  # seconds: an overlap that is shorter is none, so that 38 x 0.02 and 0.76 are one instant

Stretches = Sequence[tuple[float, float]]
Recording = tuple[ArrayLike, ArrayLike, Stretches]


def frame_labels(spoofed: Stretches, *, resolution: float, duration: float) -> NDArray[np.int64]:
    """Labels of a recording's units of time: one is spoof if any of it is.

    The rule of PartialSpoof (Zhang et al., IEEE/ACM TASLP 2023), whose labels of a coarse unit are the least of the
    fine ones in it. The last unit may reach beyond the end.

    Args:
        spoofed: Stretches of spoof; they may overlap, and what lies outside the recording is not counted.
        resolution: Length of a unit, in seconds.
        duration: Of the recording, in seconds.

    Returns:
        `[L]`, 1 = bona fide, 0 = spoof.

    Raises:
        InputError: A stretch ends where it starts or before, or a length is not above 0.

    >>> frame_labels([(0.15, 0.25)], resolution=0.1, duration=0.5)
    array([1, 0, 0, 1, 1])
    """
    edges = unit_edges(resolution=resolution, duration=duration)
    return (overlaps(edges, spoofed) <= ROUNDING).astype(np.int64)


def unit_edges(*, resolution: float, duration: float) -> Floats:
    """Edges of a recording's units of time `[L + 1]` in seconds; the last one is the end of the recording.

    Raises:
        InputError: A length is not above 0.

    >>> unit_edges(resolution=0.25, duration=0.6)
    array([0.  , 0.25, 0.5 , 0.6 ])
    """
    if not (0 < resolution < math.inf and 0 < duration < math.inf):
        raise InputError(f"resolution={resolution}, duration={duration}: lengths above 0 s were expected")
    n_units = max(1, math.ceil(duration / resolution - ROUNDING / resolution))
    return np.append(np.arange(n_units) * resolution, duration)


def unit_scores(edges: ArrayLike, scores: ArrayLike, *, resolution: float) -> Floats:
    """Scores given by frame as scores of units of another length: the least of all frames that overlap the unit.

    The least, as a unit is spoof if any of it is. A unit within one frame has that frame's score.

    Args:
        edges: Of the frames, in seconds, from 0 to the end of the recording `[L + 1]`.
        scores: Of the frames `[L]`.
        resolution: Length of a unit, in seconds.

    Returns:
        A score for each of the units of `frame_labels`.

    Raises:
        InputError: Edges and scores do not fit, or a score is not finite.

    >>> unit_scores([0, 0.1, 0.2, 0.3], [5, 3, 4], resolution=0.2)
    array([3., 4.])
    """
    at, s = framed(edges, scores)
    units = unit_edges(resolution=resolution, duration=at[-1])
    first = np.clip(np.searchsorted(at, units[:-1] + ROUNDING, side="right") - 1, 0, len(s) - 1)
    last = np.maximum(np.searchsorted(at, units[1:] - ROUNDING, side="left"), first + 1)
    pairs = np.stack([first, last], axis=1).ravel()  # minimum of s[first:last] is every other one of these
    return np.minimum.reduceat(np.append(s, np.inf), pairs)[::2]


def range_eer(recordings: Iterable[Recording]) -> tuple[float, float]:
    """Range-based EER: the rates are durations misclassified, so that no resolution of labels enters.

    Zhang, Wang, Cooper, Evans and Yamagishi 2023, "Range-based equal error rate for spoof localization", Interspeech
    (arXiv:2305.17739). At threshold t, over all recordings,
    `FAR(t)` = spoofed seconds whose frame scores above t / all spoofed seconds, and
    `FRR(t)` = bona fide seconds whose frame scores t or less / all bona fide seconds.
    A frame in which a boundary lies counts for either class with its part of it. The authors' script seeks the
    threshold by bisection with pyannote's detection cost function; here every distinct score is one, and the two rates
    meet on the line between two of them, as in `deepfake.metrics.eer.eer`.

    Args:
        recordings: Of each the edges of its frames in seconds `[L + 1]`, their scores `[L]` and its spoofed stretches.

    Returns:
        The rate, and the score as threshold at which the two rates lie nearest to each other.

    Raises:
        InputError: Edges and scores do not fit, a score is not finite, or there is no bona fide or no spoofed speech.

    >>> range_eer([([0.0, 1.0, 2.0], [3.0, 1.0], [(1.0, 2.0)])])
    (0.0, 1.0)
    """
    frames = [(np.zeros(0),) * 3]  # score, seconds of spoof and of bona fide
    for edges, scores, spoofed in recordings:
        at, s = framed(edges, scores)
        spoof = overlaps(at, spoofed)
        frames.append((s, spoof, np.maximum(np.diff(at) - spoof, 0.0)))
    s, spoof, bonafide = (np.concatenate(column) for column in zip(*frames, strict=True))
    if not (spoof.sum() > 0 and bonafide.sum() > 0):
        raise InputError(f"got {bonafide.sum():g} s of bona fide and {spoof.sum():g} s of spoof: both are needed")
    thresholds, which = np.unique(s, return_inverse=True)  # [U]
    rejected = np.append(0.0, np.cumsum(np.bincount(which, weights=bonafide)))  # [U + 1], seconds up to each threshold
    caught = np.append(0.0, np.cumsum(np.bincount(which, weights=spoof)))
    return eer_on(Roc(1 - caught / caught[-1], rejected / rejected[-1], np.append(thresholds[0] - 1, thresholds)))


class BoundaryError(NamedTuple):
    """How far predicted boundaries lie from the true ones.

    Attributes:
        seconds: Mean distance of those matched; NaN where none is.
        matched: How many pairs.
        missed: True boundaries without a predicted one.
        extra: Predicted ones without a true one.
    """

    seconds: float
    matched: int
    missed: int
    extra: int


def boundary_error(recordings: Iterable[tuple[Stretches, Stretches]]) -> BoundaryError:
    """Mean distance in time of predicted boundaries from true ones, matched one to one within each recording.

    Starts are matched with starts and ends with ends, as many as there are of the fewer, and such that the distances
    have the least sum (Kuhn 1955, "The Hungarian method for the assignment problem"). Near misses alone look good:
    read it beside the counts.

    Args:
        recordings: Of each the predicted and the true stretches of spoof, in seconds.

    Raises:
        InputError: A stretch ends where it starts or before.

    >>> boundary_error([([(1.0, 2.0)], [(1.25, 2.25), (3.0, 4.0)])])
    BoundaryError(seconds=0.25, matched=2, missed=2, extra=0)
    """
    from scipy.optimize import linear_sum_assignment  # a sixth of a second at the start of commands that need none

    distances: list[float] = []
    missed = extra = 0
    for predicted, true in recordings:
        p, t = _bounds(predicted), _bounds(true)
        for side in (0, 1):
            cost = np.abs(p[:, side, None] - t[None, :, side])
            distances.extend(cost[linear_sum_assignment(cost)])
        missed += 2 * max(len(t) - len(p), 0)
        extra += 2 * max(len(p) - len(t), 0)
    mean = float(np.mean(distances)) if distances else math.nan
    return BoundaryError(mean, len(distances), missed, extra)


def _bounds(stretches: Stretches) -> Floats:
    """Starts and ends `[K, 2]`."""
    found = np.array([(s[0], s[1]) for s in stretches], dtype=np.float64).reshape(-1, 2)
    if not (np.isfinite(found).all() and (found[:, 0] < found[:, 1]).all()):
        raise InputError(f"{list(stretches)[:5]}: stretches were expected that end after their start, in seconds")
    return found


def overlaps(edges: Floats, stretches: Stretches) -> Floats:
    """Seconds of each frame `[L]` that lie in a stretch, once where stretches overlap.

    >>> overlaps(np.array([0.0, 0.5, 1.0]), [(0.25, 0.75), (0.5, 0.6)])
    array([0.25, 0.25])
    """
    total, reached = np.zeros(len(edges) - 1), -math.inf
    for start, end in sorted(_bounds(stretches).tolist()):
        low = max(start, reached)
        total += np.maximum(np.minimum(edges[1:], end) - np.maximum(edges[:-1], low), 0.0)
        reached = max(reached, end)
    return total


def framed(edges: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Edges `[L + 1]` and scores `[L]` of frames, checked.

    Raises:
        InputError: They do not fit, the edges do not ascend, or a number is not finite.

    >>> framed([0.0, 0.5, 1.0], [2, -1])
    (array([0. , 0.5, 1. ]), array([ 2., -1.]))
    """
    at, s = np.asarray(edges, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if s.ndim != 1 or not len(s) or at.shape != (len(s) + 1,) or not (np.diff(at) > 0).all():
        raise InputError(f"got edges of shape {at.shape}, scores of shape {s.shape}: [L + 1] ascending, [L] expected")
    if not (np.isfinite(s).all() and np.isfinite(at).all()):
        raise InputError("a score or an edge is NaN or infinite: find out which recording gave it")
    return at, s


def stretches(flagged: Bools, edges: Floats, *, gap_seconds: float, shortest_seconds: float) -> list[tuple[int, int]]:
    """Stretches of flagged frames: the gaps between them are closed first, then short ones are dropped.

    Args:
        flagged: Frames `[L]`.
        edges: Of the frames in seconds, ascending `[L + 1]`.
        gap_seconds: Stretches this far apart or nearer are one.
        shortest_seconds: What is shorter is dropped.

    Returns:
        First frame and one past the last of each, in order of time, no two touching.

    >>> stretches(np.array([1, 0, 1, 0, 0, 1], bool), np.arange(7.0), gap_seconds=1.0, shortest_seconds=2.0)
    [(0, 3)]

    Raises:
        InputError: A length is below 0 or not finite.
    """
    for name, value in (("gap_seconds", gap_seconds), ("shortest_seconds", shortest_seconds)):
        if not 0 <= value < math.inf:
            raise InputError(f"{name}={value}: a length of at least 0 s was expected")
    turns = np.flatnonzero(np.diff(np.concatenate([[0], flagged.astype(np.int8), [0]]))).reshape(-1, 2)
    found: list[tuple[int, int]] = []
    for first, after in turns.tolist():
        if found and edges[first] - edges[found[-1][1]] <= gap_seconds + ROUNDING:
            first = found.pop()[0]
        found.append((first, after))
    return [(i, k) for i, k in found if edges[k] - edges[i] >= shortest_seconds - ROUNDING]
