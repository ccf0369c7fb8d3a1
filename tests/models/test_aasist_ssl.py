"""AASIST on self-supervised frames, against its authors' code and its published size."""

from __future__ import annotations

import golden
import pytest
import torch

from deepfake.errors import InputError
from deepfake.models.aasist_ssl import AASISTSSL

SMALL = {"channels": (3, 3, 4, 4, 4, 4), "graph_dims": (4, 5), "n_rows": 13}


def test_logits_and_stages_are_those_of_the_authors(shared):
    expected = golden.arrays(shared, "det_tak/expected.npz")
    front_end, head = golden.checkpoint(shared, "det_tak/model.pth", layers="last")
    model, found = AASISTSSL(in_channels=32).eval(), {}
    model.load_state_dict(head, strict=True)

    def note(name, module, *, first):
        module.register_forward_hook(lambda _, inputs, output: found.update({name: inputs[0] if first else output}))

    for name, module in (("e_S", model.GAT_layer_S), ("e_T", model.GAT_layer_T), ("readout", model.out_layer)):
        note(name, module, first=True)
    for name, module in (("pool_S", model.pool_S), ("pool_T", model.pool_T)):
        note(name, module, first=False)
    with torch.no_grad():
        features = front_end(golden.clips(shared))
        logits = model(features)
    torch.testing.assert_close(features.transpose(1, 2), expected["ssl"], rtol=0, atol=1e-5)
    for name in ("e_S", "e_T", "pool_S", "pool_T", "readout"):  # values of up to 60
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=2e-4)
    torch.testing.assert_close(logits, expected["logits"], rtol=1e-6, atol=1e-5)


def test_the_published_size_and_what_it_never_uses():
    model = AASISTSSL(in_channels=1024)
    assert sum(p.numel() for p in model.parameters()) == 447_242
    small = AASISTSSL(in_channels=7, **SMALL)
    small(torch.randn(3, 7, 12)).square().sum().backward()
    unused = {name for name, p in small.named_parameters() if p.grad is None}
    assert unused == {f"encoder.{i}.0.bn1.{part}" for i in range(1, 6) for part in ("weight", "bias")}
    assert unused == {name for name, p in small.named_parameters() if not p.requires_grad}


@pytest.mark.parametrize("n_frames", [3, 24, 201])
def test_any_duration_one_clip_at_a_time_or_several(n_frames):
    model = AASISTSSL(in_channels=7, **SMALL).eval()
    features = torch.randn(3, 7, n_frames)
    with torch.no_grad():
        together = model(features)
        assert together.shape == (3, 2) and together.isfinite().all()
        torch.testing.assert_close(torch.cat([model(one[None]) for one in features]), together, rtol=0, atol=1e-5)


def test_its_map_has_a_row_for_each_third_of_the_projection():
    model, shapes = AASISTSSL(in_channels=8, **SMALL), []
    last = model.last_map
    last.module.register_forward_hook(lambda _, __, out: shapes.append(out.shape))
    model(torch.randn(2, 8, 26))
    assert shapes == [(2, 4, 4, 8)] and (last.bands, last.frames) == (2.0, 3)


def test_cosine_head():
    score = AASISTSSL(in_channels=7, head="cosine", **SMALL)(torch.randn(3, 7, 12))
    assert score.shape == (3, 1) and score.abs().max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"n_rows": 2}, "model.n_rows=2"),
        ({"channels": (3, 3)}, "model.channels"),
        ({"graph_dims": (4,)}, "model.graph_dims"),
        ({"pool_ratios": (0.5, 0.5, 1.5)}, "model.pool_ratios"),
        ({"temperatures": (2.0, 2.0)}, "model.temperatures"),
        ({"node_dropout": 1.0}, "model.node_dropout"),
    ],
)
def test_settings_out_of_range_are_named(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        AASISTSSL(in_channels=7, **{**SMALL, **wrong})


def test_too_short():
    with pytest.raises(InputError, match="at least 3 frames"):
        AASISTSSL(in_channels=7, **SMALL)(torch.randn(1, 7, 2))
