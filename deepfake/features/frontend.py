"""What every front end is: a module from waveforms to features that states its channels and frame rate."""

from __future__ import annotations

from torch import Tensor, nn

from deepfake.features.normalise import Normalise


class FrontEnd(nn.Module):
    """Base of the front ends: `extract` computes the feature, `normalise` scales it.

    Args:
        n_channels: Channels (bands, coefficients) of the feature.
        frames_per_second: Frames that one second of audio becomes.
        normalise: `none`, `utterance` or `train_stats`; see `Normalise`.

    Shape:
        waveform `[B, T]` -> features `[B, C, L]`
    """

    def __init__(self, *, n_channels: int, frames_per_second: float, normalise: str = "none") -> None:
        super().__init__()
        self.n_channels = n_channels
        self.frames_per_second = frames_per_second
        self.normalise = Normalise(normalise, n_channels)

    def extract(self, waveform: Tensor) -> Tensor:
        """The feature before normalisation, `[B, T]` -> `[B, C, L]`."""
        raise NotImplementedError

    def forward(self, waveform: Tensor) -> Tensor:
        return self.normalise(self.extract(waveform))
