"""Detectors whose scores can be computed by hand, and recordings of noise."""

from __future__ import annotations

import io

import numpy as np
import soundfile
import torch
from torch import nn

from deepfake.detector import Detector

RATE = 8_000


class LinearDetector(Detector):
    """Its log-odds are a weighted sum of the clip; the clips are kept.

    Args:
        seconds: Length of its clip.
        forgets: Whether it keeps none.
    """

    model = None  # type: ignore[assignment]
    domain = None

    def __init__(self, seconds: float = 0.1, forgets: bool = False) -> None:
        nn.Module.__init__(self)
        self.config = {"sample_rate": RATE, "seconds": seconds, "score": "log_odds"}
        self.config["threshold"] = {"value": 0.5, "source": "a test"}
        self.clips: list[np.ndarray] = []
        self.forgets = forgets

    def logits(self, waveform):
        self.clips.extend([] if self.forgets else waveform.numpy())
        return 100 * (waveform * torch.linspace(0.5, 1, waveform.shape[1])).mean(1, keepdim=True)

    def score_of(self, clip):
        return float(self.logits(torch.from_numpy(clip)[None])[0, 0])


class FrameStub(LinearDetector):
    """Its scores of frames of 10 ms are the mean of their samples, plus their position in the clip."""

    locates = True

    def __init__(self, seconds: float = 0.1, forgets: bool = False) -> None:
        super().__init__(seconds, forgets)
        self.config["frame_threshold"] = {"value": 0.25, "source": "a test"}

    def frames(self, waveform):
        means = waveform.view(len(waveform), -1, 80).mean(2)
        return 100 * means + torch.arange(means.shape[1])


def noise(n, seed=0):
    return np.random.default_rng(seed).normal(scale=0.1, size=n).astype(np.float32)


def encode(samples, rate=RATE, **keywords):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **({"format": "WAV", "subtype": "FLOAT"} | keywords))
    return file.getvalue()
