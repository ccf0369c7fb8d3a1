"""The conformer of DF_Arena against a plain transcription, and its published size."""

from __future__ import annotations

import math
import re
from typing import Any

import df_arena
import pytest
import torch

from deepfake.errors import InputError
from deepfake.features.ssl import SSL
from deepfake.models.conformer import Conformer, sinusoids
from deepfake.runs import catalogue

SMALL: dict[str, Any] = {"in_channels": 6, "n_blocks": 2, "n_heads": 3, "kernel_size": 4, "n_positions": 20}


@pytest.fixture(scope="module")
def pair() -> tuple[Conformer, df_arena.Weights]:
    """A model with random weights, and its tensors by the authors' names."""
    state = df_arena.checkpoint()
    model = Conformer(**{"in_channels": 16, **df_arena.HEAD}).eval()  # type: ignore[arg-type]
    own = {}
    for name, tensor in state.items():
        for pattern, replacement in catalogue.read("df_arena_1b").names:
            name = re.sub(pattern, replacement, name)
        own[name] = tensor
    model.load_state_dict({name.removeprefix("model."): t for name, t in own.items() if name.startswith("model.")})
    return model, state


@pytest.mark.parametrize("n_frames", [1, 2, 7, 40, 120])
def test_logits_are_those_of_the_transcription_at_any_duration(pair, n_frames):
    model, state = pair
    x = torch.randn(2, 16, n_frames) * torch.linspace(0, 2, n_frames)
    with torch.no_grad():
        for one, logits in zip(x, model(x), strict=True):
            torch.testing.assert_close(logits, df_arena.head(state, one.T), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("base", "published"), [("xlsr_300m", 436), ("xlsr_1b", 1148)])
def test_the_published_size(base, published):
    """In millions, on the leaderboard: with XLS-R, the gate and the positions."""
    sizes = {name: catalogue.choice("features", base)[name] for name in SSL.sizes}
    dim = sizes["dim"]
    with torch.device("meta"):
        model, front_end = Conformer(in_channels=dim), SSL(**sizes, pool="attention", weights="random")
    own = sum(p.numel() for p in model.parameters())
    assert own == 105 * dim**2 + 401 * dim + 4  # by hand, of four blocks
    whole = own + sum(p.numel() for p in front_end.parameters()) + model.positions.numel()
    assert whole / 1e6 == pytest.approx(published, abs=0.5) and model.positions.shape == (1, 10_000, dim)


def test_positions_are_sines_and_cosines_in_turn():
    found = sinusoids(5, 6)
    for p in range(5):
        for i in range(6):
            wave = math.cos if i % 2 else math.sin
            assert found[p, i] == pytest.approx(wave(p / 10_000 ** (2 * (i // 2) / 6)), abs=1e-6)


def test_a_projection_makes_any_width_of_any_front_end():
    wide = Conformer(**{**SMALL, "in_channels": 7}, width=6).eval()
    plain = Conformer(**SMALL).eval()
    with torch.no_grad():
        state = wide.state_dict()
        state["first_bn.running_mean"].fill_(0.3)
        plain.load_state_dict({k: v for k, v in state.items() if not k.startswith("project.")})
        x = torch.randn(2, 7, 9)
        projected = torch.einsum("dc,bcl->bdl", state["project.weight"], x) + state["project.bias"][:, None]
        torch.testing.assert_close(wide(x), plain(projected))


def test_gradients_and_one_clip_at_a_time():
    model = Conformer(**SMALL)
    model(torch.randn(3, 6, 10))[:, 1].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    model.eval()
    features = torch.randn(3, 6, 10)
    with torch.no_grad():
        torch.testing.assert_close(torch.cat([model(one[None]) for one in features]), model(features))
        assert Conformer(**SMALL, head="cosine")(features).shape == (3, 1)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"n_heads": 4}, "model.width=None: a multiple of model.n_heads=4 was expected, not 6; set model.width=4"),
        ({"width": 2}, "model.width=2: a multiple of model.n_heads=3 was expected, not 2; set model.width=3"),
        ({"n_blocks": 0}, "model.n_blocks=0"),
        ({"kernel_size": 0}, "model.kernel_size=0"),
    ],
)
def test_settings_out_of_range_are_named(wrong, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        Conformer(**{**SMALL, **wrong})


def test_a_clip_of_more_frames_than_positions_is_refused():
    with pytest.raises(InputError, match=r"21 frames: at most model\.n_positions=20"):
        Conformer(**SMALL)(torch.randn(1, 6, 21))
