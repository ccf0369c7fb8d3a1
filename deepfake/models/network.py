"""The contract of the networks: from features to logits, stating which features they take and what is explained."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from deepfake.errors import InputError
from deepfake.models.blocks.head import Head
from deepfake.models.blocks.last_map import LastMap
from deepfake.models.blocks.settings import require_fractions


class Network(nn.Module):
    """Base of the networks: `embed` makes an embedding of a clip, and `head` makes logits of the embedding.

    A subclass has a `head` and `embed`, or a `forward` of its own. By default it takes any front end, and has no map
    for Grad-CAM and no branches.

    Args:
        in_channels: Channels of the front end.
        min_channels: Fewest that the network can use.
        min_frames: Fewest frames (samples, for raw audio) of which its poolings leave one.
        dropout: Share that `self.dropout` zeroes in training, of the embedding in most networks.

    Attributes:
        takes: Kinds of front end (see `FrontEnd.kind`) that it takes. A network whose convolutions slide over the
            channels does not take an embedding, whose channels have no order.
        layered: Whether its constructor takes `n_layers`, the number of layers that the front end stacks in its
            channels (see `FrontEnd.n_stacked`). To other networks a stack is so many channels.
        front_ends: Names of some of these front ends, for messages.
        branches: Names of the parts of a logit that is a sum.

    Shape:
        features `[B, C, L]` -> logits `[B, 1]` (log-odds of bona fide) or `[B, 2]` (index 1 is bona fide)

    Raises:
        InputError: Fewer channels than `min_channels`, or a dropout outside [0, 1).
    """

    takes: ClassVar[tuple[str, ...]] = ("raw audio", "spectrum", "embedding")
    layered: ClassVar[bool] = False
    front_ends: ClassVar[str] = "mel, lfcc or linear"
    branches: ClassVar[tuple[str, ...]] = ()
    head: Head

    def __init__(self, in_channels: int, *, min_channels: int = 1, min_frames: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        require_fractions(dropout=dropout)
        if in_channels < min_channels:
            got = "raw audio (1 channel)" if in_channels == 1 else f"{in_channels} channels"
            raise InputError(
                f"{type(self).__name__}, {got}: a time-frequency feature of at least {min_channels} bands was "
                f"expected; choose features={self.front_ends}"
            )
        self.in_channels = in_channels
        self.min_frames = min_frames
        self.dropout = nn.Dropout(dropout)

    @classmethod
    def require_kind(cls, kind: str) -> None:
        """Refuse a front end of a kind that the network does not take.

        Raises:
            InputError: `kind` is none of `takes`.
        """
        if kind not in cls.takes:
            raise InputError(
                f"{cls.__name__}, a front end of the kind {kind}: {' or '.join(cls.takes)} was expected; "
                f"choose features={cls.front_ends}"
            )

    @property
    def last_map(self) -> LastMap | None:
        """The map of the last convolutions, which Grad-CAM explains; None for a network without one."""
        return None

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.embed(features))

    def embed(self, features: Tensor) -> Tensor:
        """The head's input, `[B, C, L]` -> `[B, D]`."""
        raise NotImplementedError

    def with_embedding(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the embedding of the clip that they are made of, `[B, C, L]` -> `[B, 1 or 2]`, `[B, D]`.

        What the head is given, by the way; of a network that scores frames, its mean over time.
        """
        given: list[Tensor] = []
        heads = [module for module in self.modules() if isinstance(module, Head)]
        hooks = [head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0])) for head in heads]
        try:
            logits = self(features)
        finally:
            for hook in hooks:
                hook.remove()
        embedding = given[-1] if given else self.embed(features)  # [B or B x L, D]
        return logits, embedding.unflatten(0, (features.shape[0], -1)).mean(dim=1)

    def branch_logits(self, features: Tensor) -> dict[str, Tensor]:
        """What each of `branches` adds to the logit, and `bias`, `[B, C, L]` -> `[B]` each; their sum is the logit."""
        raise NotImplementedError

    def require_shape(self, features: Tensor) -> None:
        """Refuse a batch of another shape than `[B, in_channels, at least min_frames]`.

        Raises:
            InputError: Another number of axes or channels, or too few frames.
        """
        name = type(self).__name__
        if features.ndim != 3 or features.shape[1] != self.in_channels:
            raise InputError(
                f"{name}, features {list(features.shape)}: [B, {self.in_channels}, L] was expected; use the front end "
                "of its training"
            )
        if features.shape[2] < self.min_frames:
            unit = "samples" if self.in_channels == 1 else "frames"
            raise InputError(
                f"{name}, {features.shape[2]} {unit}: at least {self.min_frames} {unit} were expected; use longer "
                "clips, or repeat them"
            )


class FrameNetwork(Network):
    """Base of the networks that locate: logits of frames, and by a fixed rule that of the clip.

    The log-odds of the clip are those of the mean over frames of the *odds of spoof*, `-log(mean(exp(-x)))`: a clip is
    spoofed as far as any of it is (the rule of PartialSpoof, Zhang et al., IEEE/ACM TASLP 2023). A subclass has
    `embed` give the embedding of each frame, `[B, C, L]` -> `[B, L', D]`.
    """

    def forward(self, features: Tensor) -> Tensor:
        return self.pooled(self.frames(features))

    def frames(self, features: Tensor) -> Tensor:
        """Log-odds of bona fide by frame, `[B, C, L]` -> `[B, L']`; frame l is the l-th of L' equal parts."""
        embedding = self.embed(features)
        return self.head(embedding.flatten(0, 1)).view(embedding.shape[:2])

    def pooled(self, frames: Tensor) -> Tensor:
        """The clip's log-odds from those of its frames, `[B, L']` -> `[B, 1]`."""
        return math.log(frames.shape[1]) - torch.logsumexp(-frames, dim=1, keepdim=True)
