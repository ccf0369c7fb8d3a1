"""The base of the front ends that are pre-trained transformers: their layers, what is trained, and their weights."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from deepfake.errors import InputError
from deepfake.features.frontend import FrontEnd
from deepfake.features.lora import adapt, settings_of
from deepfake.features.weights_file import fetched, missing

SAMPLE_RATE = 16_000
POOLS = ("weighted", "gate", "attention", "last", "none")
RANDOM, FETCH = "random", "fetch"
CACHE = "data/weights"


class Pretrained(FrontEnd):
    """Base of the front ends that are a pre-trained transformer, with the weights of a file.

    A subclass has `read`, `embed` and the parts of its network below; one whose blocks do more than map frames to
    frames has `through`.

    Args:
        base: The network, with random weights.
        dim: Channels of the transformer, and of the feature.
        n_layers: Its layers.
        hop: Samples between frames.
        start_seconds: Where the first frame begins.
        weights: File of the pre-trained weights, see `read`, `fetch` (`completed` downloads it) or `random`. Read by
            `pretrain`, not here.
        address: Where the file is published.
        sha256: Of the published file, None where it is not known: it is then not downloaded.
        cache: Folder that it is downloaded to.
        layers: `last`, the network's output; `all`, the outputs of its layers; `states`, with the input of the first
            before them; `hidden_states`, the same with the network's output for the last, as transformers 4 has them;
            or a list of them, 0 for that input.
        pool: Of several layers: `weighted` (a learnt mean), `gate` (the sum, each with a sigmoid of its mean over time:
            SLS, Zhang et al., ACM Multimedia 2024), `attention` (as `gate`, of a mean that attention over time weighs,
            the same for all layers: DF_Arena, Kulkarni et al., 2025), `last` of them, or `none`: their channels one
            after another, for networks that weigh the layers themselves.
        freeze: Part that is not trained: `all`, `cnn` (the convolutions), `first_N` (and the first N layers) or `none`.
        checkpointing: Recompute the layers in the backward pass, which takes less memory and a third more time.
        lora: `rank` (0 for none) and `alpha` of low-rank adapters of the layers in use, which are trained while the
            network is not, see `deepfake.features.lora`.
        **common: `normalise` and `denoise`, see `FrontEnd`.

    Attributes:
        sizes: Names of the settings that describe the network, which a file tells.
        any_size: Choice of `features` that takes them from the file.
        described: A choice that states them.

    Shape:
        waveform `[B, T]` -> features `[B, dim, L]`, with `pool=none` the number of layers times as many channels

    Raises:
        InputError: A setting out of range.
    """

    sizes: ClassVar[tuple[str, ...]]
    any_size: ClassVar[str]
    described: ClassVar[str]

    def __init__(
        self,
        base: Any,
        dim: int,
        n_layers: int,
        hop: int,
        start_seconds: float,
        *,
        weights: str | None = None,
        address: str = "",
        sha256: str | None = None,
        cache: str = CACHE,
        layers: str | Sequence[int] = "all",
        pool: str = "weighted",
        freeze: str = "all",
        checkpointing: bool = False,
        lora: Mapping[str, Any] | None = None,
        **common: Any,
    ) -> None:
        chosen = _layers(layers, n_layers)
        chosen = chosen[-1:] if pool == "last" else chosen  # layers above it would be computed, and wait for gradients
        stacked = len(chosen) if pool == "none" else 1
        rate = SAMPLE_RATE / hop
        super().__init__(n_channels=stacked * dim, frames_per_second=rate, start_seconds=start_seconds, **common)
        self.n_stacked = stacked
        self.weights, self.address, self.sha256 = weights, address, sha256
        self.checkpointing = checkpointing
        self.base = base
        self.final = layers in ("last", "hidden_states")
        self.layers = chosen
        if pool not in POOLS:
            raise InputError(f"features.pool={pool}: one of {', '.join(POOLS)} was expected")
        several = len(self.layers) > 1
        self.weight = nn.Parameter(torch.zeros(len(self.layers))) if pool == "weighted" and several else None
        self.gate = nn.Linear(dim, 1) if pool in ("gate", "attention") else None
        self.attention = nn.Linear(dim, 1, bias=False) if pool == "attention" else None
        self._freeze(freeze)
        rank, alpha = settings_of(lora)
        if rank and freeze != "all":
            raise InputError(f"features.freeze={freeze}: all was expected with features.lora.rank={rank}")
        for block in self.blocks[: max(self.layers)] if rank else ():
            adapt(block, rank, alpha)

    @classmethod
    def read(cls, file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors of a file by their names in `base`, and the settings of the network that they are of.

        Raises:
            InputError: There is no such file, or it is in none of the layouts that this front end reads.
        """
        raise NotImplementedError

    def embed(self, waveform: Tensor) -> Tensor:
        """The input of the first block, `[B, T]` -> `[B, L, dim]`."""
        raise NotImplementedError

    def through(self, block: Any, x: Tensor, carried: Any) -> tuple[Tensor, Any]:
        """The output of a block `[B, L, dim]`, and what the next one takes besides."""
        return block(x), None

    @property
    def blocks(self) -> nn.ModuleList:
        """The layers of the transformer."""
        raise NotImplementedError

    @property
    def stem(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """What `embed` consists of: the convolutions, and what comes after them."""
        raise NotImplementedError

    @property
    def last_norm(self) -> nn.Module | None:
        """What makes the network's output of that of its last layer."""
        raise NotImplementedError

    @classmethod
    def require(cls, sample_rate: int, weights: str | None, sizes: Mapping[str, Any]) -> None:
        """Refuse another sample rate than that of pre-training, and sizes that are not given.

        Raises:
            InputError: One of these.
        """
        if sample_rate != SAMPLE_RATE:
            raise InputError(f"sample_rate={sample_rate}: {SAMPLE_RATE} Hz, as in pre-training, was expected")
        if None in sizes.values():
            raise InputError(
                f"features.weights={weights}: a file was expected, which tells the sizes; or choose "
                f"features={cls.described}"
            )

    @classmethod
    def completed(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings with those that the file of weights tells, where it is given or downloaded, and its path.

        Raises:
            InputError: The file cannot be had or read, or its network is another than the settings describe.
        """
        if (weights := settings.get("weights")) in (None, RANDOM):
            return settings
        if weights == FETCH:
            file = fetched(settings.get("address"), settings.get("sha256"), Path(settings.get("cache") or CACHE))
        else:
            file = Path(weights)
        file = file.expanduser().resolve()
        found = cls.read(file)[1]
        differing = [k for k in cls.sizes if settings.get(k) is not None and settings[k] != found[k]]
        if differing:
            there, here = ({k: s[k] for k in differing} for s in (found, settings))
            raise InputError(
                f"features.weights={weights}: {here} was expected, not {there}; choose features={cls.any_size}"
            )
        given = {name: value for name, value in settings.items() if value is not None}
        return settings | found | given | {"weights": str(file)}

    def pretrain(self) -> None:
        """Read the pre-trained weights.

        Raises:
            InputError: No file is given, it cannot be read, or a tensor is missing, unknown or of another shape.
        """
        if self.weights == RANDOM:
            return
        if self.weights is None:
            have = f"; download {self.address} where there is internet, and copy it here" if self.address else ""
            have += f", or let features.weights={FETCH} do it" if self.sha256 else ""
            raise InputError(f"features.weights=null: a file of weights, or {RANDOM}, was expected{have}")
        given, own = self.read(Path(self.weights))[0], self.base.state_dict()
        own = {name: tensor for name, tensor in own.items() if ".lora." not in name}
        if given.keys() != own.keys():
            names = missing(own.keys() - given.keys(), given.keys() - own.keys())
            raise InputError(f"features.weights={self.weights}: {names}")
        if clash := [name for name, tensor in own.items() if given[name].shape != tensor.shape]:
            shapes = f"{list(own[clash[0]].shape)}, not {list(given[clash[0]].shape)}"
            raise InputError(f"features.weights={self.weights}: {clash[0]} of the shape {shapes} was expected")
        self.base.load_state_dict(given, strict=False)  # there are adapters besides

    def extract(self, waveform: Tensor) -> Tensor:
        states = self.states(self.denoise(waveform))
        if self.n_stacked > 1:
            return torch.cat(states, dim=2).transpose(1, 2).to(self._dtype)
        if self.gate is not None:
            shares = torch.stack([self.gate(self._mean(x)).sigmoid() for x in states])  # [N, B, 1]
        elif self.weight is not None:
            shares = self.weight.softmax(dim=0)
        else:
            return states[-1].transpose(1, 2).to(self._dtype)
        parts = (share.unsqueeze(-1) * x for share, x in zip(shares, states, strict=True))
        return functools.reduce(torch.add, parts).transpose(1, 2).to(self._dtype)

    def states(self, waveform: Tensor) -> list[Tensor]:
        """The outputs of the chosen layers, `[B, T]` -> `[B, L, dim]` each; raw, but for the network's output."""
        x, carried = self.embed(waveform.to(self._dtype)), None
        states = [x]
        for block in self.blocks[: max(self.layers)]:
            if self.checkpointing and torch.is_grad_enabled():
                x, carried = checkpoint(self.through, block, x, carried, use_reentrant=False)  # type: ignore[misc]
            else:
                x, carried = self.through(block, x, carried)
            states.append(x)
        if self.final and self.last_norm is not None:
            states[-1] = self.last_norm(states[-1])
        return [states[i] for i in self.layers]

    def _mean(self, x: Tensor) -> Tensor:
        """What the gate sees of a layer, `[B, L, dim]` -> `[B, dim]`."""
        return x.mean(dim=1) if self.attention is None else (self.attention(x).softmax(dim=1) * x).sum(dim=1)

    @property
    def _dtype(self) -> torch.dtype:
        """Precision of the weights, and of the feature, whatever autocast makes of what lies between."""
        return next(self.base.parameters()).dtype

    def _freeze(self, part: str) -> None:
        """Take the gradient from the part that is not trained, and from what no chosen layer uses."""
        first, n_layers = re.fullmatch(r"first_(\d+)", part), len(self.blocks)
        if part not in ("all", "cnn", "none") and not (first and int(first[1]) <= n_layers):
            raise InputError(f"features.freeze={part}: all, cnn, first_1 to first_{n_layers} or none was expected")
        convolutions, others = self.stem
        frozen: list[nn.Module] = list(self.blocks[max(self.layers) :])
        if not self.final and self.last_norm is not None:
            frozen.append(self.last_norm)
        if part == "all":
            frozen.append(self.base)
        elif part != "none":
            frozen += convolutions
        if first:
            frozen += [*others, *self.blocks[: int(first[1])]]
        for module in frozen:
            module.requires_grad_(False)


def _layers(layers: str | Sequence[int], n_layers: int) -> list[int]:
    """The numbers of the chosen layers."""
    named: dict[str, Sequence[int]] = {"last": [n_layers], "all": range(1, n_layers + 1), "states": range(n_layers + 1)}
    named["hidden_states"] = named["states"]
    chosen = named.get(layers, []) if isinstance(layers, str) else layers
    if not chosen or not all(type(i) is int and 0 <= i <= n_layers for i in chosen):
        numbers = f"a list of numbers from 0 to {n_layers}"
        raise InputError(f"features.layers={layers}: last, all, states, hidden_states or {numbers} was expected")
    return list(chosen)
