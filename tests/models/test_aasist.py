"""AASIST against its authors' published weights and numbers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepfake.errors import InputError
from deepfake.models.aasist import AASIST, without_run
from deepfake.models.blocks.residual import ResidualBlock

LIGHT = {"channels": (32, 32, 24, 24, 24, 24), "graph_dims": (24, 32), "pool_ratios": (0.4, 0.5, 0.7)}
SMALL = {"channels": (4, 4, 6, 6, 6, 6), "graph_dims": (6, 5)}
SHORT = 4000  # samples: a quarter of a second, enough for one temporal node


@pytest.fixture(scope="module")
def parity(shared: Path) -> dict:
    return json.loads((shared / "reference/aasist_l/parity.json").read_text())


@pytest.fixture(scope="module")
def published(shared: Path) -> AASIST:
    model = AASIST(in_channels=1, **LIGHT).eval()
    weights = torch.load(shared / "reference/aasist_l/AASIST-L.pth", weights_only=True, map_location="cpu")
    assert len(weights) == 229
    model.load_state_dict(weights, strict=True)
    return model


def described(name: str) -> torch.Tensor:
    """An input of the parity file, rebuilt from its description, `[1, 1, 64600]`."""
    t = np.arange(64600) / 16000
    impulse = np.zeros(64600)
    impulse[32300] = 1
    waveform = {
        "noise_seed0": np.random.RandomState(0).randn(64600) * 0.1,
        "noise_seed1_loud": np.random.RandomState(1).uniform(-1, 1, 64600),
        "sweep_0_8k": 0.5 * np.sin(2 * np.pi * (8000 / (2 * 64600 / 16000)) * t**2),
        "sine_440": 0.3 * np.sin(2 * np.pi * 440 * t),
        "impulse": impulse,
        "zeros": np.zeros(64600),
    }[name]
    return torch.from_numpy(waveform.astype(np.float32))[None, None]


@pytest.mark.parametrize("grad", [True, False], ids=["contiguous", "channels_last"])
def test_published_logits(published: AASIST, parity: dict, grad: bool) -> None:
    for entry in parity["inputs"]:
        waveform = described(entry["name"])
        assert hashlib.sha256(waveform.numpy().tobytes()).hexdigest() == entry["sha256_f32"]
        with torch.set_grad_enabled(grad):
            logits = published(waveform)
        expected = torch.tensor([parity["logits_float32"][entry["name"]]])
        torch.testing.assert_close(logits.detach(), expected, rtol=0, atol=1e-5)


def test_stage_shapes(published: AASIST, parity: dict) -> None:
    shapes: dict[str, list[int]] = {}

    def note(name: str):
        def hook(module: nn.Module, inputs: tuple, output: object) -> None:
            shapes[name] = list((output[0] if isinstance(output, tuple) else output).shape)

        return hook

    hooks = [published.get_submodule(name).register_forward_hook(note(name)) for name in parity["stage_shapes"]]
    published(described("zeros"))
    for hook in hooks:
        hook.remove()
    assert shapes == parity["stage_shapes"]


@pytest.mark.parametrize(
    ("variant", "n_parameters", "n_unused"), [({}, 297_866, 512), (LIGHT, 85_306, 272)], ids=["aasist", "aasist_l"]
)
def test_parameter_counts(variant: dict, n_parameters: int, n_unused: int) -> None:
    model = AASIST(in_channels=1, **variant)
    assert sum(p.numel() for p in model.parameters()) == n_parameters
    assert len(model.state_dict()) == 229
    model(torch.randn(2, 1, SHORT)).sum().backward()
    unused = {name for name, p in model.named_parameters() if p.grad is None}
    assert sum(model.get_parameter(name).numel() for name in unused) == n_unused
    assert unused == {name for name, p in model.named_parameters() if not p.requires_grad}


def test_unused_norm_is_without_effect() -> None:
    block = ResidualBlock(3, 3).train()
    x = torch.randn(2, 3, 5, 9)
    before = block(x)
    nn.init.constant_(block.bn1.weight, 7.0)
    torch.testing.assert_close(block(x), before, rtol=0, atol=0)


@pytest.mark.parametrize("bands", [20, 60, 80, 128])
@pytest.mark.parametrize("frames", [9, 32, 320])
def test_features_of_any_size(bands: int, frames: int) -> None:
    model = AASIST(in_channels=bands, **SMALL)
    logits = model(torch.randn(2, bands, frames))
    assert logits.shape == (2, 2)
    assert model.encode(torch.randn(2, bands, frames)).shape == (2, 6, 23, frames // 9)
    logits[:, 1].sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("n_samples", [2315, 5000, 16000, 160000])
def test_any_duration(n_samples: int) -> None:
    model = AASIST(in_channels=1, **SMALL).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 1, n_samples)).isfinite().all()


@pytest.mark.parametrize(("in_channels", "size", "least"), [(1, 2314, "2315 samples"), (60, 8, "9 frames")])
def test_too_short(in_channels: int, size: int, least: str) -> None:
    with pytest.raises(InputError, match=least):
        AASIST(in_channels=in_channels, **SMALL)(torch.randn(1, in_channels, size))


@pytest.mark.parametrize("in_channels", [1, 60])
def test_batch_does_not_matter_in_evaluation(in_channels: int) -> None:
    model = AASIST(in_channels=in_channels, **SMALL).eval()
    features = torch.randn(4, in_channels, SHORT if in_channels == 1 else 40)
    with torch.no_grad():
        together = model(features)
        apart = torch.cat([model(one[None]) for one in features])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-5)


def test_dropout_only_in_training() -> None:
    model = AASIST(in_channels=1, **SMALL)
    waveform = torch.randn(2, 1, SHORT)
    assert not torch.equal(model.train()(waveform), model(waveform))
    assert torch.equal(model.eval()(waveform), model(waveform))


def test_layout_is_for_evaluation_on_a_cpu_without_gradients() -> None:
    model = AASIST(in_channels=1, recompute=0, **SMALL)
    layouts = []
    model.encoder[0].register_forward_hook(
        lambda module, inputs, output: layouts.append(output.is_contiguous(memory_format=torch.channels_last))
    )
    waveform = torch.randn(1, 1, 9000)
    model.train()(waveform)
    model.eval()(waveform)
    with torch.no_grad():
        model.train()(waveform)
        model.eval()(waveform)
    assert layouts == [False, False, False, True]


def test_blocks_that_do_not_recompute_train_in_the_default_layout() -> None:
    model, layouts = AASIST(in_channels=1, recompute=1, **SMALL).train(), []
    for block in model.encoder:
        block.register_forward_pre_hook(
            lambda module, inputs: layouts.append(inputs[0].is_contiguous() and inputs[0].stride(3) == 1)
        )
    waveform = torch.randn(2, 1, SHORT)
    model(waveform)
    assert layouts == [True] * 6


def test_a_run_of_any_length_at_any_place_is_silenced() -> None:
    x, runs = torch.rand(2, 1, 70, 5) + 1, []
    for _ in range(600):
        y = without_run(x, 19)
        rows = torch.where((y == 0).all(dim=3).all(dim=0)[0])[0].tolist()
        assert not rows or rows == list(range(rows[0], rows[-1] + 1))
        kept = [row for row in range(70) if row not in rows]
        assert torch.equal(y[:, :, kept], x[:, :, kept])
        runs.append(rows)
    assert {len(rows) for rows in runs} == set(range(20))
    assert {row for rows in runs for row in rows} == set(range(70))
    assert (x >= 1).all()


def test_filters_are_masked_in_training_alone() -> None:
    model = AASIST(in_channels=1, mask_filters=70, dropout=0, node_dropout=0, pool_dropout=0, branch_dropout=0, **SMALL)
    plain = AASIST(in_channels=1, **SMALL)
    plain.load_state_dict(model.state_dict())
    waveform = torch.randn(2, 1, SHORT)
    assert torch.equal(model.eval()(waveform), plain.eval()(waveform))
    with torch.no_grad():
        first, second = model.train()(waveform), model(waveform)
        assert not torch.equal(first, second)
        assert torch.equal(plain.train().encode(waveform), plain.encode(waveform))


def test_cosine_head() -> None:
    model = AASIST(in_channels=1, head="cosine", **SMALL)
    score = model(10 * torch.randn(3, 1, SHORT))
    assert score.shape == (3, 1)
    assert score.abs().max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("channels", (32, 32)),
        ("channels", (32, 32, 0, 64, 64, 64)),
        ("graph_dims", (64,)),
        ("pool_ratios", (0.5, 1.5, 0.5)),
        ("temperatures", (2.0, 0.0, 100.0)),
        ("time_pools", (3, 3)),
        ("n_filters", 2),
        ("filter_taps", 128),
        ("dropout", 1.0),
        ("branch_dropout", -0.1),
        ("head", "arcface"),
        ("in_channels", 0),
        ("mask_filters", -1),
        ("mask_filters", 71),
    ],
)
def test_bad_hyper_parameters(keyword: str, value: object) -> None:
    with pytest.raises(InputError):
        AASIST(**{"in_channels": 1, keyword: value})


def test_a_feature_has_no_filters_to_mask() -> None:
    with pytest.raises(InputError, match="mask_filters"):
        AASIST(in_channels=60, mask_filters=19, **SMALL)


def test_other_channels_than_it_was_made_for() -> None:
    with pytest.raises(InputError, match=r"\[B, 60, L\]"):
        AASIST(in_channels=60, **SMALL)(torch.randn(2, 80, 100))
