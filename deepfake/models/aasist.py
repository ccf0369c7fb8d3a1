"""AASIST: spoofing detection by attention over a spectral and a temporal graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.errors import InputError
from deepfake.models.blocks.band_projection import BandProjection
from deepfake.models.blocks.fraction import require_fraction
from deepfake.models.blocks.graph_attention import GraphAttention
from deepfake.models.blocks.graph_pool import GraphPool
from deepfake.models.blocks.head import Head
from deepfake.models.blocks.last_map import LastMap
from deepfake.models.blocks.residual import ResidualBlock
from deepfake.models.blocks.sinc import SincFilters
from deepfake.models.blocks.stack_attention import StackAttention
from deepfake.models.network import Network

N_BLOCKS = 6


class AASIST(Network):
    """Audio anti-spoofing by integrated spectro-temporal graph attention networks (Jung et al., ICASSP 2022).

    Raw audio goes through fixed sinc filters and a residual encoder; the maximum of its map over time gives spectral
    nodes, over frequency temporal nodes; each graph attends within itself, is pooled, and two parallel branches of
    heterogeneous attention join them, whose element-wise maximum is read out. With the defaults this is the published
    AASIST (297,866 parameters); AASIST-L (85,306) is the same class with smaller numbers. The state dict has the
    authors' names, so that their weights load strictly; of its weights, the `bn1` of `ResidualBlock` are never used
    and are frozen (512 and 272 numbers).

    On a feature of more than one channel (`mel`, `lfcc`, `linear`) a `BandProjection` takes the sinc filters' place and
    fits its bands to the same rows. Such features have 30 to 100 frames a second where the filters leave 5,333, so
    the encoder keeps most of them: it pools time in two blocks of six.

    Any duration works, from 2,315 samples of raw audio or 9 frames upwards.

    Args:
        in_channels: Channels of the front end; 1 is raw audio.
        head: `linear` (two logits, as published) or `cosine`.
        n_filters: Sinc filters; a third of it, rounded down, is the number of rows and of spectral nodes.
        filter_taps: Length of a sinc filter in samples, odd. The authors write 128 and use 129.
        channels: Output channels of the six residual blocks.
        graph_dims: Dimensions of a node in the first graphs, and in the joined ones.
        pool_ratios: Fraction of nodes kept of the spectral graph, the temporal graph, and in the branches.
        temperatures: Of the attention of the same three.
        time_pools: Frames of which one is kept, per residual block. None is 3 in each for raw audio, and
            1, 3, 1, 3, 1, 1 for a feature.
        dropout: On the embedding.
        node_dropout: On the input of each attention layer.
        pool_dropout: On the input of each graph pooling's relevance.
        branch_dropout: On what each of the two branches gives.
        sample_rate: In hertz; the sinc filters need it.
        mask_filters: In training, so many neighbouring sinc filters at most are silenced, a run drawn anew for each
            batch; 0 is none, as published. The authors' `freq_aug` is 19. A feature has no sinc filters to silence.

    Shape:
        raw `[B, 1, T]` or features `[B, C, L]` -> logits `[B, 2]` (index 1 is bona fide), or cosine `[B, 1]`

    Raises:
        InputError: A hyper-parameter out of range, or a clip too short for the poolings.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        head: str = "linear",
        n_filters: int = 70,
        filter_taps: int = 129,
        channels: Sequence[int] = (32, 32, 64, 64, 64, 64),
        graph_dims: Sequence[int] = (64, 32),
        pool_ratios: Sequence[float] = (0.5, 0.7, 0.5),
        temperatures: Sequence[float] = (2.0, 2.0, 100.0),
        time_pools: Sequence[int] | None = None,
        dropout: float = 0.5,
        node_dropout: float = 0.2,
        pool_dropout: float = 0.3,
        branch_dropout: float = 0.2,
        sample_rate: int = 16000,
        mask_filters: int = 0,
    ) -> None:
        raw = in_channels == 1
        if time_pools is None:
            time_pools = (3,) * N_BLOCKS if raw else (1, 3, 1, 3, 1, 1)
        _require("model.in_channels", [in_channels], 1)
        _require("model.n_filters", [n_filters], 1, lowest=3)
        _require("model.channels", channels, N_BLOCKS)
        _require("model.time_pools", time_pools, N_BLOCKS)
        _require("model.graph_dims", graph_dims, 2)
        _require("model.temperatures", temperatures, 3, lowest=1e-6)
        _require("model.pool_ratios", pool_ratios, 3, lowest=1e-6, highest=1)
        for name, value in {
            "": dropout,
            "node_": node_dropout,
            "pool_": pool_dropout,
            "branch_": branch_dropout,
        }.items():
            require_fraction(f"model.{name}dropout", value)
        _require("model.mask_filters", [mask_filters], 1, lowest=0, highest=n_filters if raw else 0)

        n_rows = n_filters // 3
        super().__init__(in_channels, min_frames=_smallest_input(time_pools, filter_taps if raw else None))
        self.mask_filters = mask_filters
        self.conv_time = (
            SincFilters(n_filters, filter_taps, sample_rate) if raw else BandProjection(in_channels, n_rows)
        )
        self.first_bn = nn.BatchNorm2d(1)
        widths = [1, *channels]
        self.encoder = nn.Sequential(
            *(
                nn.Sequential(ResidualBlock(widths[i], widths[i + 1], time_pool=time_pools[i], first=i == 0))
                for i in range(N_BLOCKS)
            )
        )

        graph, joined = graph_dims
        attention = {"dropout": node_dropout}
        self.pos_S = nn.Parameter(torch.randn(1, n_rows, channels[-1]))
        self.GAT_layer_S = GraphAttention(channels[-1], graph, temperature=temperatures[0], **attention)
        self.GAT_layer_T = GraphAttention(channels[-1], graph, temperature=temperatures[1], **attention)
        self.pool_S = GraphPool(graph, ratio=pool_ratios[0], dropout=pool_dropout)
        self.pool_T = GraphPool(graph, ratio=pool_ratios[1], dropout=pool_dropout)

        attention["temperature"] = temperatures[2]
        pool = {"ratio": pool_ratios[2], "dropout": pool_dropout}
        self.master1 = nn.Parameter(torch.randn(1, 1, graph))
        self.HtrgGAT_layer_ST11 = StackAttention(graph, joined, **attention)
        self.pool_hS1 = GraphPool(joined, **pool)
        self.pool_hT1 = GraphPool(joined, **pool)
        self.HtrgGAT_layer_ST12 = StackAttention(joined, joined, **attention)
        self.master2 = nn.Parameter(torch.randn(1, 1, graph))
        self.HtrgGAT_layer_ST21 = StackAttention(graph, joined, **attention)
        self.pool_hS2 = GraphPool(joined, **pool)
        self.pool_hT2 = GraphPool(joined, **pool)
        self.HtrgGAT_layer_ST22 = StackAttention(joined, joined, **attention)

        self.drop_way = nn.Dropout(branch_dropout)
        self.drop = nn.Dropout(dropout)
        self.out_layer = Head(5 * joined, head, n_outputs=2)

    @property
    def last_map(self) -> LastMap:
        """The encoder's map, which both graphs are read from."""
        module, front = self.encoder[-1], self.conv_time
        if isinstance(front, BandProjection):  # its rows start as neighbouring bands, and may have learned otherwise
            return LastMap(module, bands=self.in_channels / front.project.out_channels, frames=self.min_frames)
        taps = front.filters.shape[-1]
        return LastMap(module, bands=3, frames=self.min_frames - taps + 1, start=taps // 2, hz=front.edges_hz[::3])

    def forward(self, features: Tensor) -> Tensor:
        return self.out_layer(self.embed(features))

    def embed(self, features: Tensor) -> Tensor:
        """What the head is given, from both graphs and the stack node, `[B, 1, T]` -> `[B, 5 x joined]`."""
        encoded = self.encode(features)
        spectral = encoded.abs().amax(dim=3).transpose(1, 2) + self.pos_S  # [B, rows, D]
        temporal = encoded.abs().amax(dim=2).transpose(1, 2)  # [B, frames, D]
        spectral = self.pool_S(self.GAT_layer_S(spectral))
        temporal = self.pool_T(self.GAT_layer_T(temporal))

        one = self.branch1(temporal, spectral)
        two = self.branch2(temporal, spectral)
        temporal, spectral, stack = (torch.maximum(a, b) for a, b in zip(one, two, strict=True))
        readout = [
            *(temporal.abs().amax(dim=1), temporal.mean(dim=1)),
            *(spectral.abs().amax(dim=1), spectral.mean(dim=1)),
            stack.squeeze(1),
        ]
        return self.drop(torch.cat(readout, dim=1))  # [B, 5 x joined]

    def encode(self, features: Tensor) -> Tensor:
        """The encoder's map, `[B, 1, T]` or `[B, C, L]` -> `[B, D, rows, frames]`."""
        self.require_shape(features)
        x = self.conv_time(features).unsqueeze(1)  # [B, 1, n_filters, T'] or [B, 1, rows, L]
        if self.training and self.mask_filters:
            x = without_run(x, self.mask_filters)
        if self.in_channels == 1:
            x = F.max_pool2d(x.abs(), 3)  # [B, 1, rows, L]
        x = F.selu(self.first_bn(x), inplace=True)
        for block in self.encoder:
            x = block(_laid_out(x, block))
        return x  # [B, D, rows, frames]

    def branch1(self, temporal: Tensor, spectral: Tensor) -> list[Tensor]:
        """The first branch of heterogeneous attention: temporal nodes, spectral nodes and stack node."""
        temporal, spectral, stack = self.HtrgGAT_layer_ST11(temporal, spectral, self.master1)
        nodes = self.pool_hT1(temporal), self.pool_hS1(spectral), stack
        return [self.drop_way(a + b) for a, b in zip(nodes, self.HtrgGAT_layer_ST12(*nodes), strict=True)]

    def branch2(self, temporal: Tensor, spectral: Tensor) -> list[Tensor]:
        """The second branch, of the same form with weights of its own."""
        temporal, spectral, stack = self.HtrgGAT_layer_ST21(temporal, spectral, self.master2)
        nodes = self.pool_hT2(temporal), self.pool_hS2(spectral), stack
        return [self.drop_way(a + b) for a, b in zip(nodes, self.HtrgGAT_layer_ST22(*nodes), strict=True)]


def without_run(x: Tensor, longest: int) -> Tensor:
    """0 to `longest` neighbouring rows zero, any length as likely as another, `[B, 1, n, T]` -> `[B, 1, n, T]`."""
    n = x.shape[2]
    length = int(torch.randint(longest + 1, ()))
    start = int(torch.randint(n - length + 1, ()))
    kept = torch.ones(n, 1, dtype=x.dtype, device=x.device)
    kept[start : start + length] = 0
    return x * kept


def _laid_out(x: Tensor, block: nn.Module) -> Tensor:
    """On a CPU, channels last for a block that only computes: 1.5 times faster.

    Where a block learns, or a gradient is to pass through it, backward is slower in that layout and batch statistics
    are less exact, so it stays as it was.
    """
    learns = x.requires_grad or any(p.requires_grad for p in block.parameters())
    if x.device.type != "cpu" or block.training or (learns and torch.is_grad_enabled()):
        return x.contiguous()
    # a clone, as `contiguous` does nothing to a map of one channel
    return (
        x.clone(memory_format=torch.channels_last)
        if x.shape[1] == 1
        else x.contiguous(memory_format=torch.channels_last)
    )


def _smallest_input(time_pools: Sequence[int], filter_taps: int | None) -> int:
    """Samples (with `filter_taps`) or frames of which the poolings leave one."""
    frames = 1
    for pool in time_pools:
        frames *= pool
    return frames if filter_taps is None else 3 * frames + filter_taps - 1


def _require(name: str, values: Sequence[float], n: int, *, lowest: float = 1, highest: float = float("inf")) -> None:
    """Refuse anything but `n` numbers from `lowest` to `highest`."""
    if len(values) != n or not all(lowest <= value <= highest for value in values):
        bounds = f"at least {lowest}" if highest == float("inf") else f"from {lowest} to {highest}"
        raise InputError(f"{name} is {list(values)}, wanted {n} number{'s' * (n > 1)} of {bounds}.")
