"""SLS against its authors' code, plain arithmetic and its published size."""

from __future__ import annotations

import math

import golden
import pytest
import torch

from deepfake.errors import InputError
from deepfake.models.sls import SLS


def test_log_probabilities_are_those_of_the_authors(shared):
    expected = golden.arrays(shared, "det_sls/expected.npz")["logprob"]
    front_end, head = golden.checkpoint(shared, "det_sls/model.pth", pool="gate")
    head = golden.renamed(head, ("fc1", "project"), ("fc3", "head"))
    front_end.gate.load_state_dict({part: head.pop(f"fc0.{part}") for part in ("weight", "bias")})
    model = SLS(in_channels=32, hidden=64).eval()
    model.load_state_dict(head, strict=True)
    with torch.no_grad():
        torch.testing.assert_close(model(front_end(golden.clips(shared))), expected, rtol=0, atol=1e-5)


def test_the_published_size():
    n = sum(p.numel() for p in SLS(in_channels=1024).parameters())
    assert n == 23_398_404  # and 1,025 in the front end's gate: the 23,399 k of the paper


def selu(x: float) -> float:
    return 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x))


@pytest.mark.parametrize("n_frames", [1, 4, 6, 7, 20])
def test_plain_arithmetic_at_any_duration(n_frames):
    model = SLS(in_channels=7, n_stretches=3, hidden=4).eval()
    with torch.no_grad():
        model.first_bn.running_mean.fill_(0.3), model.first_bn.running_var.fill_(2.0)
        x = torch.randn(1, 7, n_frames)
        found = model(x)[0]
        pooled = []
        for i in range(3):
            start, end = math.floor(i * n_frames / 3), math.ceil((i + 1) * n_frames / 3)
            for c in (0, 3):  # of the seven channels the last is left out
                scaled = (x[0, c : c + 3, start:end].flatten() - 0.3) / math.sqrt(2 + 1e-5)
                pooled.append(max(selu(float(v)) for v in scaled))
        hidden = [selu(float(v)) for v in model.project.weight @ torch.tensor(pooled) + model.project.bias]
        logits = [selu(float(v)) for v in model.head.weight @ torch.tensor(hidden) + model.head.bias]
        total = sum(math.exp(v) for v in logits)
        torch.testing.assert_close(found, torch.tensor([math.log(math.exp(v) / total) for v in logits]))


def test_gradients_and_one_clip_at_a_time():
    model = SLS(in_channels=9, n_stretches=4, hidden=6)
    model(torch.randn(3, 9, 10))[:, 1].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    model.eval()
    features = torch.randn(3, 9, 10)
    with torch.no_grad():
        torch.testing.assert_close(torch.cat([model(one[None]) for one in features]), model(features))
        assert model(features).exp().sum(dim=1).allclose(torch.ones(3))
        assert SLS(in_channels=9, head="cosine")(features).shape == (3, 1)


@pytest.mark.parametrize(("wrong", "sentence"), [({"n_stretches": 0}, "n_stretches"), ({"in_channels": 2}, "3 bands")])
def test_settings_out_of_range_are_named(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        SLS(**{"in_channels": 9, **wrong})
