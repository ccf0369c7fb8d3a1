"""Infidelity and sensitivity of a map, by Captum (Yeh et al. 2019, "On the (in)fidelity and sensitivity")."""

from __future__ import annotations

import numpy as np
import torch
from captum import metrics
from torch import Tensor

from deepfake.explain.clip import Clip
from deepfake.explain.map import Map
from deepfake.explain.method import Method
from deepfake.faithfulness.deletion import Blocks

SNR_DB = 40.0


def infidelity(blocks: Blocks, map: Map, *, n: int = 16, seed: int = 0) -> float:
    """Share of the squared change of evidence that the map does not predict.

    Rectangles of time and frequency are filled, and the sum of the map over each is compared with the loss of evidence,
    up to one factor for the clip (Captum's `infidelity`, normalised), over the mean square of that loss: 0 for a map
    that predicts each loss, 1 for an uninformative one.

    Args:
        blocks: Of the clip, with the filling.
        map: Of the clip.
        n: Number of rectangles.
        seed: Of the rectangles.
    """
    gone = torch.from_numpy(_rectangles(blocks.shape, n, seed))  # [n, R, C]
    clip = torch.ones(1, *blocks.shape)

    def evidence(kept: Tensor) -> Tensor:
        return torch.from_numpy(blocks.evidence(kept.numpy()))

    lost = evidence(clip) - evidence(1 - gone)
    error = metrics.infidelity(
        evidence,
        lambda clips: (gone, clips - gone),
        clip,
        torch.from_numpy(blocks.values(map).astype(np.float32))[None],
        n_perturb_samples=n,
        normalize=True,
    )
    return float(error[0]) / max(float(lost.square().mean()), 1e-12)


def _rectangles(shape: tuple[int, int], n: int, seed: int) -> np.ndarray:
    """Each of a sixteenth to all of the time and of at least one group of bands, `[n, R, C]`."""
    rng = np.random.default_rng(seed)
    found = np.zeros((n, *shape), dtype=np.float32)
    for rectangle in found:
        high, wide = (int(rng.integers(max(1, size // 16), size + 1)) for size in shape)
        top, left = (int(rng.integers(0, size - extent + 1)) for size, extent in zip(shape, (high, wide), strict=True))
        rectangle[top : top + high, left : left + wide] = 1
    return found


def max_sensitivity(method: Method, clip: Clip, *, n: int = 2, seed: int = 0) -> float:
    """Largest change of a map with noise 40 dB below the clip: norm of the change over that of the map.

    Captum's `sensitivity_max`, with Gaussian noise of one level instead of a ball around the clip.

    Args:
        method: Of the map.
        clip: The clip.
        n: Number of noisy clips.
        seed: Of the noise.
    """
    source = (clip.source.unsqueeze(0),)
    level = float(clip.source.square().mean().sqrt()) * 10 ** (-SNR_DB / 20)
    generator = torch.Generator().manual_seed(seed)

    def noisy(clips: Tensor) -> Tensor:
        return clips + level * torch.randn(clips.shape, generator=generator).to(clips.device)

    @torch.enable_grad()  # which Captum turns off
    def explained(clips: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        batch = clips if isinstance(clips, Tensor) else clips[0]
        maps = [method.attribute(Clip(clip.detector, noisy)).values for noisy in batch]
        return (torch.from_numpy(np.stack([values.ravel() for values in maps])),)

    return float(metrics.sensitivity_max(explained, source, noisy, n_perturb_samples=n)[0])
