"""The sanity check: a map that does not change with the detector's weights explains the clip, not the detector."""

from __future__ import annotations

import copy
import math
from itertools import groupby

import numpy as np
import torch
from scipy.stats import rankdata

from deepfake.detector import Detector
from deepfake.explain.map import Map

STAGES = {"head": 0.0, "half": 0.5, "all": 1.0}  # share of the layers that are randomised, from the last one backwards
PASSES_BELOW = 0.3


def randomised(detector: Detector, share: float, seed: int = 0) -> Detector:
    """A copy whose last layers have random weights: the cascade of Adebayo et al. (2018), "Sanity checks".

    Each matrix or kernel of a layer is drawn from a Gaussian of mean 0 and its own root mean square, each vector (bias,
    scale of a normalisation) is shuffled, so that activations keep their size. Statistics of batch norms stay.

    Args:
        detector: Not changed.
        share: Of the layers, counted from the last; at least the last one is randomised.
        seed: Of the weights.
    """
    other = copy.deepcopy(detector)
    layers = [list(layer) for _, layer in groupby(other.named_parameters(), lambda p: p[0].rpartition(".")[0])]
    generator = torch.Generator().manual_seed(seed)
    for layer in layers[::-1][: max(1, math.ceil(share * len(layers)))]:
        for _, parameter in layer:
            weights = parameter.detach().cpu()
            if weights.ndim > 1:
                drawn = torch.randn(weights.shape, generator=generator) * weights.square().mean().sqrt()
            else:
                drawn = weights[torch.randperm(len(weights), generator=generator)] if weights.ndim else weights
            with torch.no_grad():
                parameter.copy_(drawn)
    return other


def rank_correlation(one: Map, other: Map) -> float:
    """Spearman's, over the cells of two maps of one clip; 0 if either is constant."""
    if np.ptp(one.values) == 0 or np.ptp(other.values) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(one.values), rankdata(other.values))[0, 1])
