"""The generator."""

from __future__ import annotations

import pytest
import torch

from deepfake.errors import InputError
from deepfake.models.blocks.generator import Generator
from deepfake.models.blocks.self_attention import SelfAttention


@pytest.mark.parametrize("n_bands", [20, 60, 80, 128])
@pytest.mark.parametrize("n_frames", [16, 126, 401])
def test_pictures_of_any_size(n_bands, n_frames):
    generator = Generator(noise_dim=6, n_bands=n_bands, n_frames=n_frames, channels=(8, 4, 4, 4))
    pictures = generator(torch.randn(2, 6))
    assert pictures.shape == (2, n_bands, n_frames)
    pictures.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in generator.parameters())


@pytest.mark.parametrize(("attention_rows", "rows"), [(None, []), (1, []), (16, [16]), (40, [32]), (999, [128])])
def test_self_attention_stands_where_it_was_asked_for(attention_rows, rows):
    generator = Generator(noise_dim=6, n_bands=128, n_frames=32, channels=(8, 4, 4, 4), attention_rows=attention_rows)
    seen = []
    for layer in generator.modules():
        if isinstance(layer, SelfAttention):
            layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[2]))
    generator(torch.randn(2, 6))
    assert seen == rows


def test_noise_decides_and_the_settings_rebuild_it():
    generator = Generator(noise_dim=6, n_bands=20, n_frames=30, channels=(4, 4)).eval()
    a, b = torch.randn(2, 1, 6)
    assert not torch.equal(generator(a), generator(b))
    twin = Generator(**generator.config).eval()
    twin.load_state_dict(generator.state_dict())
    assert torch.equal(twin(a), generator(a))


@pytest.mark.parametrize("wrong", [{"noise_dim": 0}, {"channels": ()}, {"channels": (8, 0)}])
def test_bad_hyper_parameters(wrong):
    with pytest.raises(InputError, match=r"task\.noise_dim"):
        Generator(**{"noise_dim": 4, "n_bands": 20, "n_frames": 20, **wrong})
