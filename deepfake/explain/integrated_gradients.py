"""Integrated gradients of the evidence for spoof, along the path from a neutral clip to the one explained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from captum import attr
from torch import Tensor

from deepfake.errors import InputError
from deepfake.explain.baseline import refilled, require_filling
from deepfake.explain.clip import Clip
from deepfake.explain.map import Map, checked
from deepfake.explain.method import Method

NODES = 2  # of the quadrature of an interval
INTERVALS = 8  # at the start
TOLERANCE = 0.01
AT_LEAST = 0.1  # nats; relative to less, any error is large


@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(Method):
    """The gradient with respect to each cell's gain, integrated from the baseline (gain 0) to the clip (gain 1).

    Sundararajan, Taly and Yan (2017). The values are nats and add up to the difference between the evidence in the clip
    and in the baseline (completeness), but for the error of the quadrature, which the facts state relative to the
    difference (to 0.1 nats at least).

    A detector on a logarithmic scale is steep near the ends of the path, and rough in between where clip and noise
    cancel, so that equal steps leave errors of tens of percent. The path is therefore divided into intervals, with
    Captum's Gauss-Legendre quadrature of two nodes in each, as a higher order gains nothing on a rough path. The error
    of an interval is known exactly from the detector at its ends, and the worst is halved until the whole is complete
    to 1 % or the steps are used up. Networks with hard selection (AASIST's pooling of the k best nodes) are
    discontinuous on the path, which no number of steps integrates: their maps converge, but stay incomplete by several
    percent. Where the map stays incomplete, the fact `complete` is `no`.

    Args:
        steps: Gradients at most, at least 16; time grows with it, memory does not.
        baseline: Neutral clip: `noise` (of the clip's level and long-term spectrum), `silence` or `reversed` (blocks of
            the clip played backwards).
        seed: Of the baseline.

    Raises:
        InputError: Too few steps or an unknown baseline.
    """

    steps: int = 128
    baseline: str = "noise"
    seed: int = 0

    rank = 2

    def __post_init__(self) -> None:
        require_filling("baseline", self.baseline)
        if self.steps < NODES * INTERVALS:
            raise InputError(f"steps={self.steps}: at least {NODES * INTERVALS} were expected")

    def attribute(self, clip: Clip) -> Map:
        """The clip's map, on the cells of `clip`; the baseline takes the place of its filling."""
        clip = refilled(clip, self.baseline, self.seed)

        @cache
        @torch.no_grad()
        def evidence(gain: float) -> float:
            return float(clip.spoof(gain * clip.gain))

        def interval(start: float, end: float) -> _Interval:
            values = attr.IntegratedGradients(clip.spoof).attribute(
                end * clip.gain, baselines=start * clip.gain, n_steps=NODES, internal_batch_size=NODES
            )
            cells = values[0].detach().double()
            return _Interval(start, end, cells, evidence(end) - evidence(start) - float(cells.sum()))

        intervals = [interval(i / INTERVALS, (i + 1) / INTERVALS) for i in range(INTERVALS)]
        difference = evidence(1.0) - evidence(0.0)
        scale = max(abs(difference), AT_LEAST)
        used = NODES * INTERVALS
        while abs(error := sum(i.gap for i in intervals)) > TOLERANCE * scale and used + 2 * NODES <= self.steps:
            worst = intervals.pop(max(range(len(intervals)), key=lambda i: abs(intervals[i].gap)))
            middle = (worst.start + worst.end) / 2
            intervals += [interval(worst.start, middle), interval(middle, worst.end)]
            used += 2 * NODES
        cells = torch.stack([i.values for i in intervals]).sum(dim=0).cpu().numpy()
        facts = {
            "unit": "nats",
            "additive": "yes",
            "baseline": self.baseline,
            "steps": used,
            "seed": self.seed,
            "difference": difference,
            "completeness_error": abs(error) / scale,
            "complete": "yes" if abs(error) <= TOLERANCE * scale else "no",
        }
        return checked(Map("integrated_gradients", cells, clip.hz, clip.seconds, facts))


class _Interval(NamedTuple):
    """A part of the path: gains at its ends, the integral of each cell `[F, L]`, and the error of the integrals."""

    start: float
    end: float
    values: Tensor
    gap: float
