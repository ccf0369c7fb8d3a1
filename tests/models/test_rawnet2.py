"""RawNet2: the network of the ASVspoof 2021 baseline."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepfake.errors import InputError
from deepfake.models.rawnet2 import RawNet2

SMALL = {"n_filters": 4, "channels": (4, 4, 6, 6, 6, 6), "gru_units": 5, "dense_units": 7}


def test_parameter_count_and_names() -> None:
    """By hand, from the baseline's config: filts [20, [20, 20], [20, 128], [128, 128]], GRU 3 x 1024."""
    narrow = 2 * (3 * 20 * 20 + 20) + 2 * 20  # two convolutions and the norm between them
    wide = 2 * (3 * 128 * 128 + 128) + 2 * 128
    widening = 3 * 20 * 128 + 128 + 2 * 128 + 3 * 128 * 128 + 128 + 20 * 128 + 128
    unused = 2 * (20 + 20 + 3 * 128)
    scaling = 2 * (20 * 20 + 20) + 4 * (128 * 128 + 128)
    gru = 3 * 1024 * (128 + 1024 + 2) + 2 * 3 * 1024 * (1024 + 1024 + 2)
    dense = 1024 * 1024 + 1024 + 2 * 1024 + 2
    model = RawNet2(in_channels=1)
    n_parameters = sum(p.numel() for p in model.parameters())
    expected = 2 * narrow + widening + 3 * wide + unused + scaling + 2 * 20 + 2 * 128 + gru + dense
    assert n_parameters == expected == 17_621_410
    assert sum(p.numel() for p in model.parameters() if not p.requires_grad) == unused == 848
    assert f"{n_parameters:,} parameters" in " ".join((RawNet2.__doc__ or "").split())
    names = {name.rpartition(".")[0] for name in model.state_dict()}
    blocks = [f"block{i}.0.{part}" for i in range(6) for part in ("bn1", "conv1", "bn2", "conv2")][1:]
    others = ["first_bn", "block2.0.conv_downsample", "bn_before_gru", "gru", "fc1_gru", "fc2_gru"]
    assert names == {*blocks, *others, *(f"fc_attention{i}.0" for i in range(6))}


def test_frames_of_the_baselines_clip() -> None:
    model = RawNet2(in_channels=1, **SMALL).eval()
    with torch.no_grad():
        assert model.sinc(torch.zeros(1, 1, 64600)).shape == (1, 4, 63576)
        assert model.encode(torch.zeros(1, 1, 64600)).shape == (1, 6, 1, 29)


def test_stages_in_order() -> None:
    """|sinc|, maximum of three, norm, SELU, six times block and scaling, norm, SELU, GRU's last state, dense, head."""
    torch.manual_seed(0)
    model = RawNet2(in_channels=1, **SMALL).eval()
    waveform = torch.randn(2, 1, 6000)
    x = torch.nn.functional.conv1d(waveform, model.sinc.filters).abs()
    n = x.shape[2] // 3
    x = torch.selu(model.first_bn(x[..., : 3 * n].reshape(2, 4, n, 3).amax(dim=3)))
    modules = dict(model.named_children())
    for i in range(6):
        x = modules[f"block{i}"](x)
        scale = torch.sigmoid(modules[f"fc_attention{i}"][0](x.mean(dim=2)))[..., None]
        x = x * scale + scale
    _, last = model.gru(torch.selu(model.bn_before_gru(x)).transpose(1, 2))
    torch.testing.assert_close(model(waveform), model.fc2_gru(model.fc1_gru(last[-1])), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_samples", [3211, 5000, 16000, 100_000])
def test_any_duration(n_samples: int) -> None:
    model = RawNet2(in_channels=1, **SMALL)
    logits = model(torch.randn(2, 1, n_samples))
    assert logits.shape == (2, 2)
    assert model.embed(torch.randn(2, 1, n_samples)).shape == (2, 7)
    logits[:, 1].sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())


def test_batch_does_not_matter_in_evaluation() -> None:
    model = RawNet2(in_channels=1, **SMALL).eval()
    waveform = torch.randn(3, 1, 9000) * torch.tensor([1.0, 0.01, 0.3])[:, None, None]
    torch.testing.assert_close(model(waveform), torch.cat([model(one[None]) for one in waveform]), rtol=0, atol=1e-5)


def test_mixed_precision() -> None:
    model = RawNet2(in_channels=1, **SMALL).eval()
    waveform = torch.randn(2, 1, 9000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(waveform)
    torch.testing.assert_close(mixed.float(), model(waveform), rtol=0.1, atol=0.05)


def test_cosine_head() -> None:
    score = RawNet2(in_channels=1, head="cosine", **SMALL)(torch.randn(3, 1, 4000))
    assert score.shape == (3, 1) and score.abs().max() <= 1 + 1e-6


def test_its_map_is_one_row_over_all_frequencies() -> None:
    last = RawNet2(in_channels=1, **SMALL).last_map
    assert last.frames == 2187 and last.start == 512 and last.bands == 4
    np.testing.assert_allclose(last.hz, [0, 8000])


def test_what_it_cannot_hear() -> None:
    with pytest.raises(InputError, match=r"RawNet2, 60 channels: raw audio .* choose features=raw"):
        RawNet2(in_channels=60)
    with pytest.raises(InputError, match="at least 3211 samples"):
        RawNet2(in_channels=1, **SMALL)(torch.randn(1, 1, 3210))


@pytest.mark.parametrize(
    "wrong",
    [
        *({"channels": channels} for channels in ((4, 4), (4, 4, 0, 6, 6, 6))),
        *({name: 0} for name in ("gru_units", "gru_layers", "dense_units", "n_filters")),
        *({"filter_taps": 1024}, {"head": "x"}),
    ],
)
def test_bad_hyper_parameters(wrong: dict) -> None:
    with pytest.raises(InputError):
        RawNet2(in_channels=1, **{**SMALL, **wrong})
