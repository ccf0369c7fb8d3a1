"""The waveform itself as a front end."""

from __future__ import annotations

from torch import Tensor

from deepfake.features.frontend import FrontEnd


class Raw(FrontEnd):
    """The waveform, as it is but for `denoise`, as one channel: for networks that learn or fix their own filters.

    Args:
        sample_rate: In hertz; also the frame rate.
        normalise: `none`, `utterance` or `train_stats`; see `Normalise`.
        denoise: By how much stationary noise is reduced first, 0 is off; see `Denoise`.

    Shape:
        waveform `[B, T]` -> features `[B, 1, T]`
    """

    kind = "raw audio"

    def __init__(self, *, sample_rate: int = 16_000, normalise: str = "none", denoise: float = 0.0) -> None:
        super().__init__(
            n_channels=1, frames_per_second=sample_rate, normalise=normalise, denoise=denoise, sample_rate=sample_rate
        )

    def extract(self, waveform: Tensor) -> Tensor:
        return self.denoise(waveform).unsqueeze(1)  # [B, 1, T]
