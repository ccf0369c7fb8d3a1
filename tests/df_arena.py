"""DF_Arena in plain arithmetic, on tensors by its authors' names, and a small random checkpoint."""

from __future__ import annotations

import math

import torch
from torch import Tensor

KERNELS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
SIZES = {
    "conv_channels": 4,
    "dim": 16,
    "n_layers": 2,
    "n_heads": 16,
    "ffn": 8,
}  # as many heads as XLS-R has
HEAD = {"n_blocks": 2, "n_heads": 4, "kernel_size": 6, "n_positions": 120}

Weights = dict[str, Tensor]


def checkpoint() -> Weights:
    """Random tensors in the sizes above, by the authors' names; those of XLS-R as transformers has them."""
    d, c, ffn = SIZES["dim"], SIZES["conv_channels"], SIZES["ffn"]
    linear: dict[str, tuple[int, ...]] = {"feature_projection.projection": (d, c)}
    norms = {"feature_projection.layer_norm": c, "encoder.layer_norm": d}
    for i, (kernel, _) in enumerate(KERNELS):
        linear[f"feature_extractor.conv_layers.{i}.conv"] = (c, 1 if i == 0 else c, kernel)
        norms[f"feature_extractor.conv_layers.{i}.layer_norm"] = c
    for i in range(SIZES["n_layers"]):
        at = f"encoder.layers.{i}"
        linear |= {f"{at}.attention.{part}_proj": (d, d) for part in ("q", "k", "v", "out")}
        linear |= {f"{at}.feed_forward.intermediate_dense": (ffn, d), f"{at}.feed_forward.output_dense": (d, ffn)}
        norms |= {f"{at}.layer_norm": d, f"{at}.final_layer_norm": d}
    shapes = {
        "ssl_model.masked_spec_embed": (d,),
        "ssl_model.encoder.pos_conv_embed.conv.bias": (d,),
        "ssl_model.encoder.pos_conv_embed.conv.parametrizations.weight.original0": (1, 1, 128),
        "ssl_model.encoder.pos_conv_embed.conv.parametrizations.weight.original1": (d, d // 16, 128),
        "attn_scores.weight": (1, d),
        "conformer.positional_emb": (1, HEAD["n_positions"], d),
        "conformer.class_token": (1, d),
    }
    linear = {f"ssl_model.{name}": shape for name, shape in linear.items()} | {"fc0": (1, d), "conformer.fc5": (2, d)}
    norms = {f"ssl_model.{name}": size for name, size in norms.items()} | {"first_bn": 1}
    for i in range(HEAD["n_blocks"]):
        _block_shapes(f"conformer.encoder_blocks.{i}", linear, norms, shapes)
    for name, shape in linear.items():
        shapes[f"{name}.weight"] = shape
        if not name.endswith(".qkv"):
            shapes[f"{name}.bias"] = shape[:1]
    return _random(shapes, norms)


def _block_shapes(at: str, linear: dict, norms: dict, shapes: dict) -> None:
    d, n_heads = SIZES["dim"], HEAD["n_heads"]
    for part in ("ff1", "ff2"):
        linear |= {f"{at}.{part}.fn.fn.net.0": (4 * d, d), f"{at}.{part}.fn.fn.net.3": (d, 4 * d)}
        norms[f"{at}.{part}.fn.norm"] = d
    linear |= {
        f"{at}.attn.fn.qkv": (3 * d, d),
        f"{at}.attn.fn.proj": (d, d),
        f"{at}.attn.fn.ht_proj": (d, d // n_heads),
    }
    linear |= {f"{at}.conv.net.2": (4 * d, d, 1), f"{at}.conv.net.7": (d, 2 * d, 1)}
    linear[f"{at}.conv.net.4.conv"] = (2 * d, 1, HEAD["kernel_size"])
    norms |= {f"{at}.attn.norm": d, f"{at}.attn.fn.ht_norm": d // n_heads, f"{at}.post_norm": d}
    norms |= {f"{at}.conv.net.0": d, f"{at}.conv.net.5": 2 * d}
    shapes[f"{at}.attn.fn.pos_embed"] = (1, n_heads, d)


def _random(shapes: dict[str, tuple[int, ...]], norms: dict[str, int]) -> Weights:
    generator = torch.Generator().manual_seed(5)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    state = {name: 1.5 * randn(*shape) / math.sqrt(math.prod(shape[1:])) for name, shape in shapes.items()}
    for name, size in norms.items():
        state |= {f"{name}.weight": 1 + 0.3 * randn(size), f"{name}.bias": 0.3 * randn(size)}
        if name == "first_bn" or name.endswith(".net.5"):  # batch norms
            state |= {f"{name}.running_mean": 0.3 * randn(size), f"{name}.running_var": 0.5 + randn(size).square()}
            state[f"{name}.num_batches_tracked"] = torch.tensor(7)
    return state


def logits(w: Weights, clip: Tensor) -> Tensor:
    """Of spoof and bona fide, waveform `[T]` -> `[2]`."""
    return head(w, gated(w, states(w, clip)))


def gated(w: Weights, layers: list[Tensor]) -> Tensor:
    """The sum of all states, each with a gate, `[L, D]` each -> `[L, D]`."""
    total = torch.zeros_like(layers[0])
    for x in layers:
        shares = (x @ w["attn_scores.weight"][0]).exp()
        pooled = (shares[:, None] * x).sum(dim=0) / shares.sum()
        total += x / (1 + torch.exp(-(w["fc0.weight"][0] @ pooled + w["fc0.bias"][0])))
    return total


def head(w: Weights, x: Tensor) -> Tensor:
    """Scaling, SELU, positions, class token, conformer blocks, linear, `[L, D]` -> `[2]`."""
    x = _batch_norm(w, "first_bn", x)
    x = 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * (x.exp() - 1))
    x = torch.cat([w["conformer.class_token"], x + w["conformer.positional_emb"][0, : len(x)]])
    for i in range(HEAD["n_blocks"]):
        at = f"conformer.encoder_blocks.{i}"
        x = x + _feed_forward(w, f"{at}.ff1.fn", x) / 2
        x = x + _attention(w, f"{at}.attn", x)
        x = x + _convolution(w, f"{at}.conv.net", x)
        x = x + _feed_forward(w, f"{at}.ff2.fn", x) / 2
        x = _layer_norm(w, f"{at}.post_norm", x)
    return _linear(w, "conformer.fc5", x[0])


def states(w: Weights, clip: Tensor) -> list[Tensor]:
    """The input of the first layer of XLS-R and the output of each, the last of them normed, `[T]` -> `[L, D]` each."""
    x = clip[None]  # [C, T]
    for i, (kernel, stride) in enumerate(KERNELS):
        at = f"ssl_model.feature_extractor.conv_layers.{i}"
        windows = x.unfold(1, kernel, stride)  # [C, L, kernel]
        x = torch.einsum("clk,dck->ld", windows, w[f"{at}.conv.weight"]) + w[f"{at}.conv.bias"]
        x = _gelu(_layer_norm(w, f"{at}.layer_norm", x)).T
    x = _layer_norm(w, "ssl_model.feature_projection.layer_norm", x.T)
    x = _linear(w, "ssl_model.feature_projection.projection", x)
    found = [x + _positions(w, x)]
    for i in range(SIZES["n_layers"]):
        at, x = f"ssl_model.encoder.layers.{i}", found[-1]
        y = _layer_norm(w, f"{at}.layer_norm", x)
        q, k, v = (_linear(w, f"{at}.attention.{part}_proj", y) for part in "qkv")
        x = x + _linear(w, f"{at}.attention.out_proj", _heads(q, k, v, SIZES["n_heads"]))
        y = _gelu(_linear(w, f"{at}.feed_forward.intermediate_dense", _layer_norm(w, f"{at}.final_layer_norm", x)))
        found.append(x + _linear(w, f"{at}.feed_forward.output_dense", y))
    return [*found[:-1], _layer_norm(w, "ssl_model.encoder.layer_norm", found[-1])]


def _positions(w: Weights, x: Tensor) -> Tensor:
    """A convolution of each channel over 128 frames, its weights normed at each place in the kernel."""
    at = "ssl_model.encoder.pos_conv_embed.conv"
    scale, direction = (w[f"{at}.parametrizations.weight.original{i}"] for i in (0, 1))
    weight = scale * direction / direction.square().sum(dim=(0, 1), keepdim=True).sqrt()  # [D, 1, 128]
    padded = torch.cat([torch.zeros(64, x.shape[1]), x, torch.zeros(63, x.shape[1])])
    return _gelu((padded.unfold(0, 128, 1) * weight[:, 0]).sum(dim=2) + w[f"{at}.bias"])


def _feed_forward(w: Weights, at: str, x: Tensor) -> Tensor:
    x = _linear(w, f"{at}.fn.net.0", _layer_norm(w, f"{at}.norm", x))
    return _linear(w, f"{at}.fn.net.3", x * x.sigmoid())


def _attention(w: Weights, at: str, x: Tensor) -> Tensor:
    n_heads, n = HEAD["n_heads"], len(x)
    own = x.shape[1] // n_heads
    x = _layer_norm(w, f"{at}.norm", x)
    tokens = []
    for h in range(n_heads):
        made = _linear(w, f"{at}.fn.ht_proj", x.mean(dim=0)[h * own : (h + 1) * own])
        parts = [_gelu(_layer_norm(w, f"{at}.fn.ht_norm", part)) for part in made.split(own)]
        tokens.append(torch.cat(parts) + w[f"{at}.fn.pos_embed"][0, h])
    q, k, v = (torch.cat([x, torch.stack(tokens)]) @ w[f"{at}.fn.qkv.weight"].T).split(x.shape[1], dim=1)
    x = _linear(w, f"{at}.fn.proj", _heads(q, k, v, n_heads))
    return torch.cat([(x[0] + x[n:].mean(dim=0) + x[1:n].mean(dim=0))[None], x[1:n]])


def _convolution(w: Weights, at: str, x: Tensor) -> Tensor:
    n, kernel = len(x), w[f"{at}.4.conv.weight"][:, 0]  # [inner, K]
    x = _layer_norm(w, f"{at}.0", x) @ w[f"{at}.2.weight"][:, :, 0].T + w[f"{at}.2.bias"]
    value, gate = x.split(x.shape[1] // 2, dim=1)
    x = torch.cat([torch.zeros(kernel.shape[1] // 2, len(kernel)), value * gate.sigmoid(), torch.zeros(9, len(kernel))])
    x = sum(x[i : i + n] * kernel[:, i] for i in range(kernel.shape[1])) + w[f"{at}.4.conv.bias"]
    x = _batch_norm(w, f"{at}.5", x)
    return (x * x.sigmoid()) @ w[f"{at}.7.weight"][:, :, 0].T + w[f"{at}.7.bias"]


def _heads(q: Tensor, k: Tensor, v: Tensor, n_heads: int) -> Tensor:
    own = q.shape[1] // n_heads
    parts = zip(q.split(own, dim=1), k.split(own, dim=1), v.split(own, dim=1), strict=True)
    return torch.cat([torch.softmax(a @ b.T / math.sqrt(own), dim=1) @ c for a, b, c in parts], dim=1)


def _linear(w: Weights, at: str, x: Tensor) -> Tensor:
    return x @ w[f"{at}.weight"].T + w[f"{at}.bias"]


def _layer_norm(w: Weights, at: str, x: Tensor) -> Tensor:
    x = x - x.mean(dim=-1, keepdim=True)
    return x / (x.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() * w[f"{at}.weight"] + w[f"{at}.bias"]


def _batch_norm(w: Weights, at: str, x: Tensor) -> Tensor:
    x = (x - w[f"{at}.running_mean"]) / (w[f"{at}.running_var"] + 1e-5).sqrt()
    return x * w[f"{at}.weight"] + w[f"{at}.bias"]


def _gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2
