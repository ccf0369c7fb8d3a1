"""AASIST's graphs on the frames of a self-supervised front end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from deepfake.models.blocks.head import Head
from deepfake.models.blocks.last_map import LastMap
from deepfake.models.blocks.residual import ResidualBlock
from deepfake.models.blocks.settings import require_fractions, require_numbers
from deepfake.models.blocks.spectro_temporal import SpectroTemporalGraphs

N_BLOCKS = 6
POOL = 3  # rows, and frames, of which one is kept


class AASISTSSL(SpectroTemporalGraphs):
    """wav2vec 2.0 and AASIST (Tak et al., Odyssey 2022): the head, 447 k parameters on the 1,024 channels of XLS-R.

    One learned projection of the channels makes rows, whose order the training finds; a residual encoder goes over the
    map of rows and frames without pooling it, and attention over time makes spectral nodes of it, over rows temporal
    nodes, where `AASIST` takes the maximum. The graphs are those of AASIST. Published with the last layer of the front
    end, 64,600 samples not scaled, and all weights trained. The state dict has the authors' names, so that their
    weights load strictly.

    Any duration works, from 3 frames.

    Args:
        in_channels: Channels of the front end.
        head: `linear` (two logits, as published) or `cosine`.
        n_rows: Channels after the projection; a third of it, rounded down, is the number of spectral nodes.
        channels: Output channels of the six residual blocks.
        graph_dims: Dimensions of a node in the first graphs, and in the joined ones.
        pool_ratios: Fraction of nodes kept of the spectral graph, the temporal graph, and in the branches.
        temperatures: Of the attention of the same three.
        dropout: On the embedding.
        node_dropout: On the input of each attention layer.
        pool_dropout: On the input of each graph pooling's relevance.
        branch_dropout: On what each of the two branches gives.

    Shape:
        features `[B, C, L]` -> logits `[B, 2]` (index 1 is bona fide), or cosine `[B, 1]`

    Raises:
        InputError: Raw audio, a hyper-parameter out of range, or a clip of fewer than 3 frames.
    """

    takes = ("spectrum", "embedding")
    front_ends = "xlsr_300m, wavlm_large or mel"

    def __init__(
        self,
        *,
        in_channels: int,
        head: str = "linear",
        n_rows: int = 128,
        channels: Sequence[int] = (32, 32, 64, 64, 64, 64),
        graph_dims: Sequence[int] = (64, 32),
        pool_ratios: Sequence[float] = (0.5, 0.5, 0.5),
        temperatures: Sequence[float] = (2.0, 2.0, 100.0),
        dropout: float = 0.5,
        node_dropout: float = 0.2,
        pool_dropout: float = 0.3,
        branch_dropout: float = 0.2,
    ) -> None:
        require_numbers(n_rows=n_rows, lowest=POOL)
        require_numbers(N_BLOCKS, channels=channels)
        require_numbers(2, graph_dims=graph_dims)
        require_numbers(3, temperatures=temperatures, lowest=1e-6)
        require_numbers(3, pool_ratios=pool_ratios, lowest=1e-6, highest=1)
        require_fractions(node_dropout=node_dropout, pool_dropout=pool_dropout, branch_dropout=branch_dropout)
        super().__init__(in_channels, min_frames=POOL, dropout=dropout)
        self.LL = nn.Linear(in_channels, n_rows)
        self.first_bn = nn.BatchNorm2d(1)
        self.encoder = nn.Sequential()
        for i, (n_in, n_out) in enumerate(pairwise([1, *channels])):
            self.encoder.append(nn.Sequential(ResidualBlock(n_in, n_out, time_pool=1, first=i == 0)))
        n_out = channels[-1]
        self.first_bn1 = nn.BatchNorm2d(n_out)
        self.attention = nn.Sequential(
            nn.Conv2d(n_out, 2 * n_out, kernel_size=1),
            nn.SELU(),
            nn.BatchNorm2d(2 * n_out),
            nn.Conv2d(2 * n_out, n_out, kernel_size=1),
        )
        self.add_graphs(
            n_rows // POOL,
            n_out,
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
        rows = self.pos_S.shape[1]
        return LastMap(self.encoder[-1], bands=self.in_channels / rows, frames=POOL)

    def embed(self, features: Tensor) -> Tensor:
        """The head's input, from both graphs and the stack node, `[B, C, L]` -> `[B, 5 x joined]`."""
        self.require_shape(features)
        x = self.LL(features.transpose(1, 2)).transpose(1, 2).unsqueeze(1)  # [B, 1, n_rows, L]
        x = F.selu(self.first_bn(F.max_pool2d(x, POOL)))  # [B, 1, rows, L // 3]
        x = F.selu(self.first_bn1(self.encoder(x)))  # [B, D, rows, L // 3]
        weights = self.attention(x)
        spectral = (x * weights.softmax(dim=3)).sum(dim=3).transpose(1, 2) + self.pos_S  # [B, rows, D]
        temporal = (x * weights.softmax(dim=2)).sum(dim=2).transpose(1, 2)  # [B, L // 3, D]
        return self.read_out(spectral, temporal)
