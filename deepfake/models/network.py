"""What every network is: from features to logits, saying which features it takes and what can be explained."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from deepfake.errors import InputError
from deepfake.models.blocks.head import Head
from deepfake.models.blocks.last_map import LastMap


class Network(nn.Module):
    """Base of the networks: `embed` makes an embedding of a clip, and `head` makes logits of the embedding.

    A subclass has a `head` and `embed`, or a `forward` of its own. What it does not say has a default: it takes any
    front end, has no map for Grad-CAM and no branches.

    Args:
        in_channels: Channels of the front end.
        min_channels: Fewest that the network can use.
        min_frames: Fewest frames (samples, for raw audio) of which its poolings leave one.

    Attributes:
        takes: Kinds of front end (see `FrontEnd.kind`) that mean something to it. A network whose convolutions slide
            over the channels does not take an embedding, whose channels have no order.
        front_ends: Names of some that it takes, for messages.
        branches: Names of the parts that a logit is a sum of, if it is one.

    Shape:
        features `[B, C, L]` -> logits `[B, 1]` (log-odds of bona fide) or `[B, 2]` (index 1 is bona fide)

    Raises:
        InputError: Fewer channels than `min_channels`.
    """

    takes: ClassVar[tuple[str, ...]] = ("raw audio", "spectrum", "embedding")
    front_ends: ClassVar[str] = "mel, lfcc or linear"
    branches: ClassVar[tuple[str, ...]] = ()
    head: Head

    def __init__(self, in_channels: int, *, min_channels: int = 1, min_frames: int = 1) -> None:
        super().__init__()
        if in_channels < min_channels:
            got = "raw audio (1 channel)" if in_channels == 1 else f"{in_channels} channels"
            raise InputError(
                f"{type(self).__name__} needs a time-frequency feature of at least {min_channels} bands, got {got}: "
                f"choose features={self.front_ends}."
            )
        self.in_channels = in_channels
        self.min_frames = min_frames

    @classmethod
    def require_kind(cls, kind: str) -> None:
        """Refuse a front end of a kind that the network does not take.

        Raises:
            InputError: `kind` is none of `takes`.
        """
        if kind not in cls.takes:
            raise InputError(
                f"{cls.__name__}: a front end of the kind {' or '.join(cls.takes)} was expected, got {kind}: "
                f"choose features={cls.front_ends}."
            )

    @property
    def last_map(self) -> LastMap | None:
        """The map of the last convolutions, which Grad-CAM explains; None for a network without one."""
        return None

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.embed(features))

    def embed(self, features: Tensor) -> Tensor:
        """What the head is given, `[B, C, L]` -> `[B, D]`."""
        raise NotImplementedError

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
                f"{name} was made for features [B, {self.in_channels}, L], got {list(features.shape)}: "
                "use the front end it was trained with."
            )
        if features.shape[2] < self.min_frames:
            unit = "samples" if self.in_channels == 1 else "frames"
            raise InputError(
                f"{name} needs at least {self.min_frames} {unit}, got {features.shape[2]}: "
                "use longer clips or repeat-pad them."
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
