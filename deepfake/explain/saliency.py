"""Saliency: the gradient of the evidence for spoof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from captum import attr
from numpy.typing import NDArray
from torch import Tensor

from deepfake.errors import InputError
from deepfake.explain.clip import Clip
from deepfake.explain.map import Map, checked
from deepfake.explain.method import Method


@dataclass(frozen=True, kw_only=True)
class Saliency(Method):
    """The change of evidence, in nats, if the amplitude of a cell is changed by 100 %, to first order.

    The signed gradient with respect to the gain of each cell of mel band and frame (Simonyan, Vedaldi and Zisserman,
    2014, by Captum). Positive: a louder cell is more evidence for spoof. It is local: a cue whose evidence does not
    grow with its level has none. With `n_samples` it is the mean over clips with noise on their gains (SmoothGrad:
    Smilkov et al., 2017).

    Args:
        n_samples: Noisy clips to average over; 0 for the clip itself, without noise.
        noise: Standard deviation of the noise on the gain, which is 1 for the unchanged clip.
        seed: Of the noise.

    Raises:
        InputError: A negative number of samples, or no noise for them.
    """

    n_samples: int = 0
    noise: float = 0.1
    seed: int = 0

    rank, saves_array = 1, True

    def __post_init__(self) -> None:
        if self.n_samples < 0 or self.noise <= 0:
            raise InputError(
                f"n_samples={self.n_samples}, noise={self.noise}: samples from 0 and noise above 0 were expected"
            )

    def attribute(self, clip: Clip) -> Map:
        """The clip's map, on the cells of `clip`."""
        gain = clip.gain.clone().requires_grad_()
        method, options = attr.Saliency(clip.spoof), {}
        if self.n_samples:
            method = attr.NoiseTunnel(method)
            options = {"nt_samples": self.n_samples, "nt_samples_batch_size": 1, "stdevs": float(self.noise)}
        with torch.random.fork_rng(devices=[gain.device] if gain.is_cuda else []):
            torch.manual_seed(self.seed)
            values = method.attribute(gain, abs=False, **options)
        facts = {"unit": "nats per 100 % of the cell's amplitude", "additive": "no", "n_samples": self.n_samples}
        if self.n_samples:
            facts |= {"noise": self.noise, "seed": self.seed}
        cells = cast(Tensor, values)[0].detach().double().cpu().numpy()
        return checked(Map("saliency", cells, clip.hz, clip.seconds, facts))


def waveform_saliency(clip: Clip) -> NDArray[np.float64]:
    """Gradient of the evidence for spoof with respect to each sample of the source, nats per full scale, `[T]`.

    Where a short clip is repeated to the length that the detector takes, a sample's gradients are summed over the
    repetitions. For a network with branches the evidence is that of the clip's branch, by default its last one.

    Raises:
        InputError: A value is not finite.
    """
    source = clip.source.unsqueeze(0).clone().requires_grad_()
    of_one = clip.branches and clip.branch is None

    def evidence(waveform: Tensor) -> Tensor:
        whole = clip.repeated(waveform)
        return clip.parts_of(whole)[clip.branches[-1]] if of_one else clip.spoof_of(whole)

    gradient = attr.Saliency(evidence)
    values = gradient.attribute(source, abs=False)[0].detach().double().cpu().numpy()
    if not np.isfinite(values).all():
        raise InputError("waveform saliency: the detector's gradient of this clip is not finite")
    return values
