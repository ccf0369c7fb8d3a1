"""Integrated gradients: how the evidence for spoof builds up from a neutral clip to the one that is explained."""

from __future__ import annotations

from typing import NamedTuple

import torch
from captum import attr
from torch import Tensor

from deepfake.errors import InputError
from deepfake.explain.baseline import refilled, require_filling
from deepfake.explain.clip import Clip
from deepfake.explain.map import Map, checked
from deepfake.explain.method import Method

NODES = 2  # of the quadrature of a stretch
STRETCHES = 8  # at the start
TOLERANCE = 0.01
AT_LEAST = 0.1  # nats; relative to less, any error is large


class IntegratedGradients(Method):
    """The gradient with respect to each cell's gain, integrated from the baseline (gain 0) to the clip (gain 1).

    Sundararajan, Taly and Yan (2017). The values are nats and add up to the difference between the evidence in the clip
    and in the baseline (completeness), but for the error of the quadrature, which the facts state relative to the
    difference (to 0.1 nats at least).

    A detector on a logarithmic scale is steep near the ends of the way, and rough in between where clip and noise
    cancel, so that equal steps leave errors of tens of percent. The way is therefore taken in stretches, Captum's
    Gauss-Legendre quadrature in each, of two nodes, as a higher order gains nothing on a rough way; how far a stretch
    is from complete is known exactly from the detector at its ends, and the worst is halved until the whole is
    complete to 1 % or the steps are used up. Networks that choose (AASIST's pooling of the k best nodes) jump on the
    way, which no number of steps integrates: their maps settle, but stay incomplete by several percent. Where the map
    stays incomplete, the fact `complete` is `no`.

    Args:
        steps: Gradients to take at most, at least 16; time grows with it, memory does not.
        baseline: What the clip is compared with: `noise` (of its own level and long-term spectrum), `silence` or
            `reversed` (blocks of the clip played backwards).
        seed: Draws the baseline.

    Raises:
        InputError: Too few steps or an unknown baseline.
    """

    rank = 2

    def __init__(self, *, steps: int = 128, baseline: str = "noise", seed: int = 0) -> None:
        require_filling("baseline", baseline)
        if steps < NODES * STRETCHES:
            raise InputError(f"steps={steps}: at least {NODES * STRETCHES} were expected")
        self.steps = steps
        self.baseline = baseline
        self.seed = seed

    def attribute(self, clip: Clip) -> Map:
        """The clip's map, on the cells of `clip`; the baseline takes the place of its filling."""
        clip = refilled(clip, self.baseline, self.seed)
        edges = [i / STRETCHES for i in range(STRETCHES + 1)]
        evidence = [_evidence(clip, edge) for edge in edges]
        stretches = [_Stretch.along(clip, *edges[i : i + 2], *evidence[i : i + 2]) for i in range(STRETCHES)]
        difference = evidence[-1] - evidence[0]
        scale = max(abs(difference), AT_LEAST)
        used = NODES * STRETCHES
        while abs(error := sum(s.gap for s in stretches)) > TOLERANCE * scale and used + 2 * NODES <= self.steps:
            worst = stretches.pop(max(range(len(stretches)), key=lambda i: abs(stretches[i].gap)))
            stretches += worst.halved(clip)
            used += 2 * NODES
        cells = torch.stack([s.values for s in stretches]).sum(dim=0).cpu().numpy()
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


class _Stretch(NamedTuple):
    """A part of the way: gains at its ends, the evidence there, the integral of each cell `[F, L]`."""

    start: float
    end: float
    at_start: float
    at_end: float
    values: Tensor

    @classmethod
    def along(cls, clip: Clip, start: float, end: float, at_start: float, at_end: float) -> _Stretch:
        gain = clip.gain
        values = attr.IntegratedGradients(clip.spoof).attribute(
            end * gain, baselines=start * gain, n_steps=NODES, internal_batch_size=NODES
        )
        return cls(start, end, at_start, at_end, values[0].detach().double())

    @property
    def gap(self) -> float:
        """What the integral misses."""
        return self.at_end - self.at_start - float(self.values.sum())

    def halved(self, clip: Clip) -> list[_Stretch]:
        middle = (self.start + self.end) / 2
        at_middle = _evidence(clip, middle)
        return [
            _Stretch.along(clip, self.start, middle, self.at_start, at_middle),
            _Stretch.along(clip, middle, self.end, at_middle, self.at_end),
        ]


@torch.no_grad()
def _evidence(clip: Clip, gain: float) -> float:
    """Where all cells have this gain."""
    return float(clip.spoof(gain * clip.gain))
