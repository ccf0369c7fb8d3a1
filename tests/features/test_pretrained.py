"""What pre-trained front ends share: what is trained of them, and low-rank adapters."""

from __future__ import annotations

import re

import pytest
import torch
from small_detectors import front_end

from deepfake.errors import InputError
from deepfake.features.whisper import Whisper

KINDS = ("ssl", "xlsr_300m", "wavlm_large", "whisper_tiny_en")
LORA = {"rank": 2, "alpha": 4.0}


def clip() -> torch.Tensor:
    return 0.1 * torch.randn(2, 4_800, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_is_trained_goes_unused(kind):
    """Or data-parallel training would wait for its gradient."""
    settings = [(layers, pool, {"freeze": f}) for f in ("all", "cnn", "first_1", "none") for layers, pool in (
        ("all", "weighted"), ("last", "weighted"), ([0, 1], "gate"), ([1, 2], "last"), ([0], "gate")
    )]  # fmt: skip
    settings += [("all", "gate", {"lora": LORA}), ([1], "weighted", {"lora": LORA})]
    for layers, pool, more in settings:
        made = front_end(kind, layers=layers, pool=pool, **more).train()
        made(clip().requires_grad_()).square().sum().backward()
        unused = [name for name, p in made.named_parameters() if p.requires_grad and p.grad is None]
        assert not unused, (layers, pool, more)


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_change_nothing_at_the_start_and_are_trained_alone(kind):
    plain, made = front_end(kind), front_end(kind, lora=LORA)
    made.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():  # torch may choose another attention kernel for gradients
        assert torch.equal(made(clip()), plain(clip()))
    trained = {name for name, p in made.named_parameters() if p.requires_grad} - {"weight"}
    added = made.state_dict().keys() - plain.state_dict().keys()
    assert trained == added
    n_matrices = 4 if kind == "wavlm_large" else 6  # there queries, keys and values are one
    assert len(added) == 2 * 2 * n_matrices
    assert plain.state_dict().keys() <= made.state_dict().keys()


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_adds_the_product_of_its_factors_to_its_matrix(kind):
    plain, made = front_end(kind), front_end(kind, lora=LORA)
    state = plain.state_dict()
    made.load_state_dict(state, strict=False)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if ".lora." in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape))
    factors = made.state_dict()
    for name in [name for name in factors if name.endswith("lora.up")]:
        at = name.removesuffix("lora.up")
        matrix = f"{at}weight" if f"{at}weight" in state else f"{at}in_proj_weight"
        state[matrix] = state[matrix] + 4.0 / 2 * factors[name] @ factors[f"{at}lora.down"]
    before = plain(clip())
    plain.load_state_dict(state)
    torch.testing.assert_close(made(clip()), plain(clip()))
    assert (before - plain(clip())).abs().max() > 1e-3


def test_adapters_lie_in_the_layers_that_are_used():
    made = front_end("whisper_tiny_en", layers=[1], lora=LORA)
    assert {re.sub(r"\..*", "", name.removeprefix("base.blocks.")) for name in made.state_dict() if "lora" in name} == {
        "0"
    }


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"lora": {"rank": -1}}, "features.lora="),
        ({"lora": {"rank": 1.5}}, "a whole number from 0"),
        ({"lora": {"rank": 2, "alpha": 0}}, "alpha, above 0"),
        ({"lora": {"rank": 2, "dropout": 0.1}}, "features.lora="),
        ({"lora": {"rank": 2}, "freeze": "none"}, "features.freeze=none: all was expected with features.lora.rank=2"),
    ],
)
def test_settings_out_of_range_are_named(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        Whisper(n_mels=20, dim=8, n_layers=1, n_heads=2, ffn=8, **wrong)
