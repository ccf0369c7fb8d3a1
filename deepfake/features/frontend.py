"""What every front end is: a module from waveforms to features that states its channels and frame rate."""

from __future__ import annotations

from torch import Tensor, nn

from deepfake.features.denoise import Denoise
from deepfake.features.normalise import Normalise


class FrontEnd(nn.Module):
    """Base of the front ends: `extract` denoises and computes the feature, `normalise` scales it.

    Args:
        n_channels: Channels (bands, coefficients) of the feature.
        frames_per_second: Frames that one second of audio becomes.
        normalise: `none`, `utterance` or `train_stats`; see `Normalise`.
        denoise: By how much stationary noise is reduced first, in training and in scoring; 0 is off. See `Denoise`.
        sample_rate: In hertz.

    Shape:
        waveform `[B, T]` -> features `[B, C, L]`
    """

    def __init__(
        self,
        *,
        n_channels: int,
        frames_per_second: float,
        normalise: str = "none",
        denoise: float = 0.0,
        sample_rate: int = 16_000,
    ) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.frames_per_second = frames_per_second
        self.denoise = Denoise(denoise, sample_rate)
        self.normalise = Normalise(normalise, n_channels)

    def extract(self, waveform: Tensor) -> Tensor:
        """The feature of `self.denoise(waveform)` before normalisation, `[B, T]` -> `[B, C, L]`."""
        raise NotImplementedError

    def forward(self, waveform: Tensor) -> Tensor:
        return self.normalise(self.extract(waveform))
