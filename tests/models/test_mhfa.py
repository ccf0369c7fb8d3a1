"""MHFA against WeDefense's code and plain arithmetic, and how a front end hands over its layers."""

from __future__ import annotations

import golden
import pytest
import torch
from small_detectors import front_end, small

from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.models.mhfa import MHFA

SMALL = {"n_heads": 3, "compression": 4, "embedding": 5}


def test_the_embedding_is_that_of_wedefense(shared):
    expected = golden.arrays(shared, "det_mhfa/expected.npz")["embedding"]
    states = golden.arrays(shared, "wavlm_group/expected.npz")
    x = torch.stack([states[name] for name in ("hidden_0", "layer_1", "layer_2", "layer_3", "layer_4")])[None]
    model = MHFA(in_channels=160, n_layers=5, n_heads=4, compression=8, embedding=16)
    weights = torch.load(shared / "reference/ssl_parity/det_mhfa/model.pt", weights_only=True)
    own = ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "head.weight", "head.bias")
    found = model.load_state_dict(weights, strict=False)
    assert set(found.missing_keys) <= {*own, "norm.num_batches_tracked"} and not found.unexpected_keys
    with torch.no_grad():
        torch.testing.assert_close(model.pool(x), expected, rtol=0, atol=1e-5)


def test_plain_arithmetic_head_by_head():
    model = MHFA(in_channels=6, n_layers=2, **SMALL).eval()
    with torch.no_grad():
        model.weights_k.copy_(torch.tensor([0.5, -1.0])), model.weights_v.copy_(torch.tensor([2.0, 0.0]))
        features = torch.randn(1, 6, 7)
        layers = [features[0, i : i + 3].T for i in (0, 3)]  # [L, D] each
        layers = [x - x.mean(dim=1, keepdim=True) for x in layers]
        w = model.state_dict()

        def weighed(kind):
            a, b = w[f"weights_{kind}"].exp() / w[f"weights_{kind}"].exp().sum()
            return (a * layers[0] + b * layers[1]) @ w[f"cmp_linear_{kind}.weight"].T + w[f"cmp_linear_{kind}.bias"]

        keys, values, heads = weighed("k"), weighed("v"), []
        for h in range(3):
            e = (keys @ w["att_head.weight"][h] + w["att_head.bias"][h]).exp()
            heads.append(sum(e[t] / e.sum() * values[t] for t in range(7)))
        pooled = w["pooling_fc.weight"] @ torch.cat(heads) + w["pooling_fc.bias"]
        expected = (pooled / (1 + 1e-5) ** 0.5).clamp(min=0)
        torch.testing.assert_close(model.embed(features)[0], expected)
        torch.testing.assert_close(model(features)[0], w["head.weight"] @ expected + w["head.bias"])


def test_the_front_end_hands_over_every_layer_in_its_own_channels():
    stack, each = front_end("wavlm_base_plus_layers"), front_end("wavlm_base_plus", layers=[0, 1, 2], pool="weighted")
    each.load_state_dict(stack.state_dict(), strict=False)  # which has no weights of layers
    waveform = 0.1 * torch.randn(2, 8000)
    with torch.no_grad():
        states = each.eval().states(waveform)
        assert torch.equal(stack.eval()(waveform), torch.cat([x.transpose(1, 2) for x in states], dim=1))
    assert (stack.n_channels, stack.n_stacked, each.n_stacked) == (48, 3, 1)
    assert front_end("wavlm_base_plus", pool="none", layers="last").n_stacked == 1


def test_the_detector_tells_how_many_layers_there_are(tmp_path):
    detector = small("mhfa", "wavlm_base_plus_layers")
    assert detector.config["model"]["n_layers"] == 3 and len(detector.model.weights_k) == 3
    assert detector.model.cmp_linear_k.in_features == 16
    detector.save(tmp_path / "detector.pt")
    waveform = 0.1 * torch.randn(2, detector.n_samples)
    with torch.no_grad():
        assert torch.equal(Detector.load(tmp_path)(waveform), detector(waveform))
    single = small("mhfa", "mel")
    assert (
        single.config["model"]["n_layers"] == 1 and single.model.cmp_linear_k.in_features == single.features.n_channels
    )
    assert "n_layers" not in small("ssl_linear", "xlsr_300m").config["model"]


def test_gradients_and_one_clip_at_a_time():
    model = MHFA(in_channels=8, n_layers=2, **SMALL)
    model(torch.randn(4, 8, 9)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    features = torch.randn(3, 8, 9)
    with torch.no_grad():
        torch.testing.assert_close(torch.cat([model(one[None]) for one in features]), model(features))
        assert model(torch.randn(1, 8, 1)).isfinite().all()


@pytest.mark.parametrize("wrong", [{"n_heads": 0}, {"compression": 0}, {"embedding": 0}, {"n_layers": 0}])
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(InputError, match=f"model.{next(iter(wrong))}=0"):
        MHFA(in_channels=8, **{**SMALL, **wrong})
