"""RawNet2 for anti-spoofing: from the waveform through fixed filters, residual blocks and recurrence."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.errors import InputError
from deepfake.models.blocks.feature_map_scaling import FeatureMapScaling
from deepfake.models.blocks.head import Head
from deepfake.models.blocks.last_map import LastMap
from deepfake.models.blocks.raw_residual import RawResidualBlock
from deepfake.models.blocks.settings import require_numbers
from deepfake.models.blocks.sinc import SincFilters
from deepfake.models.network import Network

N_BLOCKS = 6
POOLED = 3 ** (N_BLOCKS + 1)  # outputs of the filters that become one frame


class RawNet2(Network):
    """End-to-end anti-spoofing with RawNet2 (Tak et al., ICASSP 2021), as it is the ASVspoof 2021 baseline.

    Fixed sinc filters equally spaced in mel, the maximum of their magnitude over three samples, six residual blocks of
    which each keeps one frame of three and is followed by filter-wise feature map scaling (FMS), three GRU layers
    whose last state goes through one dense layer, two logits. With the defaults it has the 17,621,410 parameters of the
    baseline and its names, so that its weights load strictly; of these, 848 are never used and are frozen (see
    `RawResidualBlock`). The baseline's score is the log-probability of bona fide, which ranks as the log-odds do.

    Any duration works, from 3,211 samples upwards; the baseline has 64,600.

    Args:
        in_channels: Channels of the front end: 1, raw audio.
        head: `linear` (two logits, as published) or `cosine`.
        n_filters: Sinc filters.
        filter_taps: Length of a sinc filter in samples, odd. The authors write 1024 and use 1025.
        channels: Output channels of the six residual blocks.
        gru_units: Units of each GRU layer.
        gru_layers: Number of them.
        dense_units: Units of the dense layer.
        sample_rate: In hertz.

    Shape:
        raw `[B, 1, T]` -> logits `[B, 2]` (index 1 is bona fide), or cosine `[B, 1]`

    Raises:
        InputError: Another front end than raw audio, too few samples, or a hyper-parameter out of range.
    """

    takes = ("raw audio",)  # it has filters of its own
    front_ends = "raw"

    def __init__(
        self,
        *,
        in_channels: int,
        head: str = "linear",
        n_filters: int = 20,
        filter_taps: int = 1025,
        channels: Sequence[int] = (20, 20, 128, 128, 128, 128),
        gru_units: int = 1024,
        gru_layers: int = 3,
        dense_units: int = 1024,
        sample_rate: int = 16000,
    ) -> None:
        if in_channels != 1:
            raise InputError(f"RawNet2, {in_channels} channels: raw audio (1) was expected; choose features=raw")
        require_numbers(N_BLOCKS, channels=channels)
        require_numbers(gru_units=gru_units, gru_layers=gru_layers, dense_units=dense_units)
        super().__init__(in_channels, min_frames=POOLED + filter_taps - 1)
        self.sinc = SincFilters(n_filters, filter_taps, sample_rate)
        self.first_bn = nn.BatchNorm1d(n_filters)
        widths = [n_filters, *channels]
        for i in range(N_BLOCKS):  # the authors' names
            self.add_module(f"block{i}", nn.Sequential(RawResidualBlock(widths[i], widths[i + 1], first=i == 0)))
            self.add_module(f"fc_attention{i}", FeatureMapScaling(channels[i]))
        self.map = nn.Unflatten(2, (1, -1))
        self.bn_before_gru = nn.BatchNorm1d(channels[-1])
        self.gru = nn.GRU(channels[-1], gru_units, num_layers=gru_layers, batch_first=True)
        self.fc1_gru = nn.Linear(gru_units, dense_units)
        self.fc2_gru = Head(dense_units, head, n_outputs=2)

    @property
    def last_map(self) -> LastMap:
        """The GRU's input, as a map of one row: the filters' bands are channels to the convolutions."""
        taps = self.sinc.filters.shape[-1]
        n_filters = len(self.sinc.filters)
        return LastMap(self.map, bands=n_filters, frames=POOLED, start=taps // 2, hz=self.sinc.edges_hz[[0, -1]])

    def forward(self, features: Tensor) -> Tensor:
        return self.fc2_gru(self.embed(features))

    def embed(self, features: Tensor) -> Tensor:
        """The head's input: the dense layer's output, `[B, 1, T]` -> `[B, dense_units]`."""
        sequence = self.encode(features).squeeze(2)  # [B, D, frames]
        sequence = F.selu(self.bn_before_gru(sequence)).transpose(1, 2)  # [B, frames, D]
        states, _ = self.gru(sequence)
        return self.fc1_gru(states[:, -1])

    def encode(self, features: Tensor) -> Tensor:
        """The last block's scaled map, `[B, 1, T]` -> `[B, D, 1, frames]`."""
        self.require_shape(features)
        x = F.max_pool1d(self.sinc(features).abs(), 3)  # [B, n_filters, T']
        x = F.selu(self.first_bn(x), inplace=True)
        for i in range(N_BLOCKS):
            x = self.get_submodule(f"fc_attention{i}")(self.get_submodule(f"block{i}")(x))
        return self.map(x)  # [B, D, 1, T' // 729]
