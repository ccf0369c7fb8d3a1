"""Grad-CAM: the last map of the convolutions, weighted by its gradients."""

from __future__ import annotations

from typing import cast

import numpy as np
from captum import attr
from numpy.typing import NDArray
from torch import Tensor

from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.explain.clip import Clip
from deepfake.explain.map import Map, checked
from deepfake.explain.method import Method


class GradCam(Method):
    r"""Gradient-weighted class activation map (Selvaraju et al., 2017, by Captum's `LayerGradCam`), signed.

    The map A `[D, rows, frames]` that a network names as its `last_map`, its channels weighted by the mean gradient of
    the evidence for spoof, and summed:

    \[ v_{rl} = \sum_d A_{drl} \; \frac{1}{R L} \sum_{r' l'} \frac{\partial f}{\partial A_{dr'l'}} \]

    without the ReLU of the paper, so that evidence for bona fide shows as well. The values are Captum's. They add up to
    nats for a network that ends in averaging and a linear layer; for others they only rank cells.

    Cells are those of the map, not interpolated: the time step of the map, which the facts state, and the bands of a
    row. The receptive field of a cell is wider than the cell. Where a short clip is repeated to the length that the
    detector takes, each cell is folded back to its place on the source, in parts if it lies across a seam or across two
    cells of the first repetition; the sum stays. The outermost cells extend to the ends of the clip.
    """

    rank, saves_array = 3, True

    def lacks(self, detector: Detector) -> str | None:
        return "last_map" if detector.model.last_map is None else None

    def attribute(self, clip: Clip) -> Map:
        """The clip's map, at the resolution of the network's last map.

        Raises:
            InputError: The network names no such map.
        """
        detector, front_end = clip.detector, clip.detector.features
        if (last := detector.model.last_map) is None:
            name = type(detector.model).__name__
            raise InputError(
                f"{name} names no map of convolutions (`last_map`) for Grad-CAM: leave it out, "
                "'explain=[saliency,integrated_gradients,occlusion]'"
            )
        method = attr.LayerGradCam(clip.spoof_of, last.module)
        waveform = clip.input().requires_grad_()
        values = method.attribute(waveform, relu_attributions=False, attr_dim_summation=True)
        cells = cast(Tensor, values)[0, 0].detach().double().cpu().numpy()

        edges = (last.start + last.frames * np.arange(cells.shape[1] + 1)) / front_end.frames_per_second
        edges += front_end.start_seconds
        seconds, fold = folded(edges, clip.duration, detector.seconds)

        rows = "bands of the front end"
        hz = front_end.band_edges_hz
        if last.hz is not None:
            rows, hz = f"groups of {last.bands} filters", last.hz[: len(cells) + 1].clip(max=detector.sample_rate / 2)
        elif hz is not None and last.bands * len(cells) <= len(hz) - 1:  # all rows of the map are bands
            hz = np.interp(last.bands * np.arange(len(cells) + 1), np.arange(len(hz)), hz)
        else:
            rows, hz = "one: the front end has no axis of frequency", np.array([0.0, detector.sample_rate / 2])
            cells = cells.sum(axis=0, keepdims=True)
        facts = {
            "unit": "Captum's Grad-CAM: mean gradient times activation",
            "additive": "no",
            "cell_seconds": last.frames / front_end.frames_per_second,
            "rows": rows,
            "repetitions": detector.seconds / clip.duration,
        }
        return checked(Map("gradcam", cells @ fold, hz, seconds, facts))


def folded(edges: NDArray, duration: float, total: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cells of a repeated clip, on the source.

    Args:
        edges: Of the cells of the repeated clip, in seconds `[L + 1]`; the outermost are set to its ends.
        duration: Of the source, in seconds.
        total: Of the repeated clip, in seconds, at least `duration`.

    Returns:
        Edges on the source, in seconds `[L' + 1]`: those of the cells of the first repetition; and the share of each
        cell that lies in each of them `[L, L']`, whose rows sum to 1.
    """
    edges = np.concatenate([[0.0], edges[1:-1], [total]])
    own = np.concatenate([[0.0], edges[(edges > 0) & (edges < duration - 1e-9)], [duration]])
    fold = np.zeros((len(edges) - 1, len(own) - 1))
    for start in np.arange(0, total - 1e-9, duration):
        low = np.maximum(edges[:-1, None], start + own[None, :-1])
        high = np.minimum(edges[1:, None], start + own[None, 1:])
        fold += np.maximum(0.0, high - low)
    return own, fold / np.diff(edges)[:, None]
