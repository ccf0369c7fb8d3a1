"""The critic as a network like any other."""

from __future__ import annotations

import pytest
import torch

from deepfake.errors import InputError
from deepfake.models.blocks.self_attention import SelfAttention
from deepfake.models.wgan_gp_critic import WGANGPCritic


def test_parameter_count():
    convolutions = 16 * (1 * 32 + 32 * 64 + 64 * 96 + 96 * 128) + 32 + 64 + 96 + 128
    norms = 2 * (64 + 96 + 128)
    attention = 4 * 96 * 12 + 1
    head = 2 * 128 * (128 // 16) + 1
    n_parameters = sum(p.numel() for p in WGANGPCritic(in_channels=128).parameters())
    assert n_parameters == convolutions + norms + attention + head
    assert f"{n_parameters:,} parameters for 128" in " ".join(WGANGPCritic.__doc__.split())


@pytest.mark.parametrize("bands", [16, 60, 80, 128])
@pytest.mark.parametrize("frames", [16, 33, 126])
def test_features_of_any_size(bands, frames):
    critic = WGANGPCritic(in_channels=bands)
    features = torch.randn(2, bands, frames)
    assert critic.embed(features).shape == (2, 256 * (bands // 16))
    values = critic(features)
    assert values.shape == (2, 1)
    values.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in critic.parameters())


def test_in_training_too_a_clip_is_judged_by_itself():
    critic = WGANGPCritic(in_channels=32, dropout=0.0).train()
    features = torch.randn(4, 32, 40)
    one_by_one = torch.cat([critic(one[None]) for one in features])
    torch.testing.assert_close(critic(features), one_by_one, rtol=0, atol=1e-5)
    assert not [m for m in critic.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize(("attention_rows", "rows"), [(None, []), (3, []), (16, [16]), (40, [32]), (999, [64])])
def test_self_attention_stands_where_it_was_asked_for(attention_rows, rows):
    critic = WGANGPCritic(in_channels=128, channels=(4, 4, 4, 8), attention_rows=attention_rows)
    seen = []
    for layer in critic.modules():
        if isinstance(layer, SelfAttention):
            layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[2]))
    critic(torch.randn(1, 128, 32))
    assert seen == rows


@pytest.mark.parametrize("attention_rows", [None, 4])
def test_the_last_map_is_as_large_as_it_says(attention_rows):
    critic = WGANGPCritic(in_channels=64, channels=(4, 4, 4, 8), attention_rows=attention_rows)
    last_map = critic.last_map
    maps = []
    last_map.module.register_forward_hook(lambda _, __, out: maps.append(out.shape[2:]))
    critic(torch.randn(1, 64, 96))
    assert maps == [(64 / last_map.bands, 96 / last_map.frames)]


@pytest.mark.parametrize("wrong", [{"channels": ()}, {"channels": (8, 0)}, {"dropout": 1.0}, {"head": "none"}])
def test_bad_hyper_parameters(wrong):
    with pytest.raises(InputError):
        WGANGPCritic(in_channels=128, **wrong)


def test_raw_audio_and_short_clips_are_refused():
    with pytest.raises(InputError, match="raw audio"):
        WGANGPCritic(in_channels=1)
    with pytest.raises(InputError, match="at least 16 frames"):
        WGANGPCritic(in_channels=16)(torch.randn(2, 16, 15))
