"""AASIST: spoofing detection by attention over a spectral and a temporal graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.models.blocks.band_projection import BandProjection
from deepfake.models.blocks.head import Head
from deepfake.models.blocks.last_map import LastMap
from deepfake.models.blocks.residual import ResidualBlock
from deepfake.models.blocks.settings import require_fractions, require_numbers
from deepfake.models.blocks.sinc import SincFilters
from deepfake.models.blocks.spectro_temporal import SpectroTemporalGraphs

N_BLOCKS = 6


class AASIST(SpectroTemporalGraphs):
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
        recompute: So many of the first residual blocks are computed again in the backward pass of a training on a CPU,
            clip by clip: 3 take a fifth of the memory and a quarter more time; 0 is none.

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
        recompute: int = 3,
    ) -> None:
        raw = in_channels == 1
        if time_pools is None:
            time_pools = (3,) * N_BLOCKS if raw else (1, 3, 1, 3, 1, 1)
        require_numbers(n_filters=n_filters, lowest=3)
        require_numbers(N_BLOCKS, channels=channels, time_pools=time_pools)
        require_numbers(2, graph_dims=graph_dims)
        require_numbers(3, temperatures=temperatures, lowest=1e-6)
        require_numbers(3, pool_ratios=pool_ratios, lowest=1e-6, highest=1)
        require_fractions(node_dropout=node_dropout, pool_dropout=pool_dropout, branch_dropout=branch_dropout)
        require_numbers(recompute=recompute, lowest=0, highest=N_BLOCKS)
        require_numbers(mask_filters=mask_filters, lowest=0, highest=n_filters if raw else 0)

        n_rows = n_filters // 3
        n_pooled = math.prod(time_pools)
        super().__init__(in_channels, min_frames=3 * n_pooled + filter_taps - 1 if raw else n_pooled, dropout=dropout)
        self.mask_filters = mask_filters
        self.conv_time = (
            SincFilters(n_filters, filter_taps, sample_rate) if raw else BandProjection(in_channels, n_rows)
        )
        self.first_bn = nn.BatchNorm2d(1)
        self.encoder = nn.Sequential()
        for i, (n_in, n_out) in enumerate(pairwise([1, *channels])):
            block = ResidualBlock(n_in, n_out, time_pool=time_pools[i], first=i == 0, recompute=i < recompute)
            self.encoder.append(nn.Sequential(block))

        self.add_graphs(
            n_rows,
            channels[-1],
            dims=graph_dims,
            pool_ratios=pool_ratios,
            temperatures=temperatures,
            node_dropout=node_dropout,
            pool_dropout=pool_dropout,
            branch_dropout=branch_dropout,
        )
        self.out_layer = Head(5 * graph_dims[1], head, n_outputs=2)

    @property
    def last_map(self) -> LastMap:
        """The encoder's map, which both graphs are read from."""
        module, front = self.encoder[-1], self.conv_time
        if isinstance(front, BandProjection):  # its rows start as neighbouring bands, and may have learned otherwise
            return LastMap(module, bands=self.in_channels / front.project.out_channels, frames=self.min_frames)
        taps = front.filters.shape[-1]
        return LastMap(module, bands=3, frames=self.min_frames - taps + 1, start=taps // 2, hz=front.edges_hz[::3])

    def embed(self, features: Tensor) -> Tensor:
        """The head's input, from both graphs and the stack node, `[B, 1, T]` -> `[B, 5 x joined]`."""
        encoded = self.encode(features)
        spectral = encoded.abs().amax(dim=3).transpose(1, 2) + self.pos_S  # [B, rows, D]
        temporal = encoded.abs().amax(dim=2).transpose(1, 2)  # [B, frames, D]
        return self.read_out(spectral, temporal)

    def encode(self, features: Tensor) -> Tensor:
        """The encoder's map, `[B, 1, T]` or `[B, C, L]` -> `[B, D, rows, frames]`; in scoring on a CPU one by one.

        One clip's maps are 200 MiB, and no faster computed together with another's.
        """
        self.require_shape(features)
        if _scores_on_cpu(features, self) and not torch.compiler.is_compiling():  # as an exporter is
            return torch.cat([self._encoded(self._scored_rows(clip)) for clip in features.split(1)])
        return self._encoded(self._rows(features))

    def _rows(self, features: Tensor) -> Tensor:
        """What the encoder takes, `[B, 1, T]` or `[B, C, L]` -> `[B, 1, rows, frames]`."""
        x = self.conv_time(features).unsqueeze(1)  # [B, 1, n_filters, T'] or [B, 1, rows, L]
        if self.training and self.mask_filters:
            x = without_run(x, self.mask_filters)
        return F.max_pool2d(x.abs(), 3) if self.in_channels == 1 else x

    def _scored_rows(self, clip: Tensor) -> Tensor:
        """The same of one clip, sooner, in scoring on a CPU."""
        if isinstance(self.conv_time, SincFilters) and clip.dtype == self.conv_time.filters.dtype:
            return self.conv_time.pooled(clip, 3).unsqueeze(1)
        return self._rows(clip)

    def _encoded(self, x: Tensor) -> Tensor:
        """The encoder's map of all clips together, from `_rows`."""
        x = F.selu(self.first_bn(x), inplace=True)
        for block in self.encoder:
            x = block(_in_layout(x, block))
        return x  # [B, D, rows, frames]


def without_run(x: Tensor, longest: int) -> Tensor:
    """0 to `longest` neighbouring rows zero, any length as likely as another, `[B, 1, n, T]` -> `[B, 1, n, T]`."""
    n = x.shape[2]
    length = int(torch.randint(longest + 1, ()))
    start = int(torch.randint(n - length + 1, ()))
    kept = torch.ones(n, 1, dtype=x.dtype, device=x.device)
    kept[start : start + length] = 0
    return x * kept


def _in_layout(x: Tensor, block: nn.Module) -> Tensor:
    """Channels last for a block where that is 1.5 times faster: in inference on a CPU, in half precision on a GPU.

    In training on a CPU, or where a gradient passes through the block, backward is slower in that layout and batch
    statistics are less exact; in single precision on a GPU it is slower with some numbers of clips. A block that
    recomputes lays out clips itself.
    """
    if any(part.recomputes(x) for part in block.children() if isinstance(part, ResidualBlock)):
        return x
    if not (_scores_on_cpu(x, block) or (x.device.type == "cuda" and torch.is_autocast_enabled("cuda"))):
        return x.contiguous()
    if x.shape[1] == 1:  # of which `contiguous` leaves the strides as they are
        return x.clone(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last)


def _scores_on_cpu(x: Tensor, module: nn.Module) -> bool:
    """Whether a module is used in inference, without a gradient that passes through it."""
    learns = x.requires_grad or any(p.requires_grad for p in module.parameters())
    return x.device.type == "cpu" and not module.training and not (learns and torch.is_grad_enabled())
