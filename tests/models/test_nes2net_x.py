"""Nes2Net-X against its authors' code, plain arithmetic and its published size."""

from __future__ import annotations

import golden
import pytest
import torch
from torch.nn import functional as F

from deepfake.errors import InputError
from deepfake.models.nes2net_x import AttentiveStatistics, Nes2NetX, Res2Block

RULES = (
    (r"^Nested_Res2Net_TDNN\.", ""),
    (r"^Build_in_Res2Nets\.", "blocks."),
    (r"\.se\.se\.1\.", ".squeeze."),
    (r"\.se\.se\.3\.", ".excite."),
    (r"^fc\.", "head."),
)


@pytest.mark.parametrize(("name", "pool"), [("mean", "mean"), ("ASTP", "attentive")])
def test_logits_are_those_of_the_authors(name, pool, shared):
    expected = golden.arrays(shared, f"det_nes2net/expected_{name}.npz")["logits"]
    front_end, head = golden.checkpoint(shared, f"det_nes2net/{name}.pth", layers="last")
    model = Nes2NetX(in_channels=32, n_groups=4, n_slices=4, pool=pool).eval()
    model.load_state_dict(golden.renamed(head, *RULES), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(model(front_end(golden.clips(shared))), expected, rtol=0, atol=1e-5)


def test_the_published_size():
    assert sum(p.numel() for p in Nes2NetX(in_channels=1024).parameters()) == 512_039


def test_a_block_by_plain_arithmetic():
    block = Res2Block(6, 3, dilation=2, se_ratio=2).eval()
    with torch.no_grad():
        for p in block.parameters():
            p.copy_(torch.randn(p.shape))
        x = torch.randn(1, 6, 5)
        w, scale = block.state_dict(), (1 + 1e-5) ** -0.5

        def norm(y, name):
            return y * scale * w[f"{name}.weight"][:, None] + w[f"{name}.bias"][:, None]

        y = norm(F.relu(w["conv1.weight"][:, :, 0] @ x[0] + w["conv1.bias"][:, None]), "bn1")
        parts, stack, out = y.split(2), [y[4:]], []
        for j in range(2):
            stack.append(parts[j])
            kernel, bias = w[f"convs.{j}.weight"][..., 0], w[f"convs.{j}.bias"][:, None]
            moved = []
            for z in stack:
                z = F.pad(z, (2, 2))
                moved.append(
                    norm(F.relu(sum(kernel[:, :, k] @ z[:, 2 * k : 2 * k + 5] for k in range(3)) + bias), f"bns.{j}")
                )
            stack = moved
            out.append(sum(float(v) * z for v, z in zip(w[f"weighted_sum.{j}"].flatten(), stack, strict=True)))
        y = torch.cat([*out, parts[2]])
        y = norm(F.relu(w["conv3.weight"][:, :, 0] @ y + w["conv3.bias"][:, None]), "bn3")
        s = F.relu(w["squeeze.weight"][:, :, 0] @ y.mean(dim=1) + w["squeeze.bias"])
        gate = 1 / (1 + torch.exp(-(w["excite.weight"][:, :, 0] @ s + w["excite.bias"])))
        torch.testing.assert_close(block(x)[0], gate[:, None] * y + x[0])


def test_each_block_takes_its_group_and_what_the_one_before_gave():
    model = Nes2NetX(in_channels=8, n_groups=4, n_slices=2).eval()
    given, made = [], []
    for block, norm in zip(model.blocks, model.bns, strict=True):
        block.register_forward_hook(lambda _, inputs, __: given.append(inputs[0]))
        norm.register_forward_hook(lambda _, __, output: made.append(output))
    features = torch.randn(2, 8, 6)
    with torch.no_grad():
        embedding = model.embed(features)
    groups = features.split(2, dim=1)
    assert torch.equal(given[0], groups[0])
    assert all(torch.equal(given[i], groups[i] + made[i - 1]) for i in (1, 2))
    last = F.relu(groups[3] / (1 + 1e-5) ** 0.5).mean(dim=2)
    torch.testing.assert_close(embedding[:, 6:], last)


def test_attentive_statistics_with_even_weights_are_mean_and_deviation():
    pooling = AttentiveStatistics(3)
    with torch.no_grad():
        pooling.linear2.weight.zero_(), pooling.linear2.bias.zero_()
        x = torch.randn(2, 3, 50)
        expected = torch.cat([x.mean(dim=2), x.var(dim=2, correction=0).sqrt()], dim=1)
        torch.testing.assert_close(pooling(x), expected)
        assert pooling(torch.ones(1, 3, 4))[0, 3:].tolist() == pytest.approx([1e-5] * 3)


@pytest.mark.parametrize("pool", ["mean", "attentive"])
@pytest.mark.parametrize("in_channels", [3, 16, 17])
def test_channels_of_any_number_and_gradients(in_channels, pool):
    model = Nes2NetX(in_channels=in_channels, n_groups=2, n_slices=4, pool=pool)
    features = torch.randn(3, in_channels, 10, requires_grad=True)
    model(features).square().sum().backward()
    assert features.grad.abs().amax(dim=(0, 2)).min() > 0
    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    with torch.no_grad():
        together = model(features)
        torch.testing.assert_close(torch.cat([model(one[None]) for one in features]), together, rtol=0, atol=1e-5)
        assert together.shape == (3, 2) and model(torch.randn(1, in_channels, 1)).isfinite().all()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"pool": "max"}, "model.pool=max"),
        ({"n_groups": 1}, "n_groups"),
        ({"n_slices": 1}, "n_slices"),
        ({"dilation": 0}, "dilation"),
    ],
)
def test_settings_out_of_range_are_named(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        Nes2NetX(in_channels=8, **wrong)
