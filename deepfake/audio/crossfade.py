"""How a stretch of one recording is put into another without a click."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def crossfade(n_samples: int, start: int, end: int, fade: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The share of the guest: 1 from `start` to `end`, 0 outside, with raised cosines centred on both edges.

    Args:
        n_samples: Length of the host in samples.
        start: First sample of the stretch.
        end: One past its last.
        fade: Length of a raised cosine in samples.
        dtype: Of the result.

    Shape:
        `[n_samples]`

    >>> crossfade(6, 2, 6, 2)
    tensor([0.0000, 0.1464, 0.8536, 1.0000, 1.0000, 0.8536])
    """
    at = torch.arange(n_samples, dtype=dtype) + 0.5
    distance = torch.minimum(at - start, end - at)  # into the stretch, in samples
    return 0.5 - 0.5 * torch.cos(math.pi * (distance / max(fade, 1) + 0.5).clamp(0, 1))
