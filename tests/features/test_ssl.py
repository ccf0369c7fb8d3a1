"""Self-supervised front ends: published layouts against their originals, strict reading, layers, pools and freezing."""

from __future__ import annotations

import argparse
import json
import math
import re
import struct

import numpy as np
import pytest
import torch
from interrupted import train_until, train_without_report
from small_detectors import FRONT_ENDS, front_end, front_end_class, sizes, small
from tiny import compose, tiny_run, write_audio
from torch.nn import functional as F
from weight_files import write_safetensors

from deepfake import run
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.features import ssl_weights
from deepfake.features.ssl import SSL
from deepfake.features.ssl_weights import read_weights
from deepfake.training.train import new_detector

pytestmark = pytest.mark.usefixtures("undrawn")

NAMES = [name for name in FRONT_ENDS if front_end_class(name) is SSL]
SIZES = {"conv_channels": 4, "dim": 32, "n_layers": 3, "n_heads": 2, "ffn": 8}
KINDS = {
    "wav2vec2": {"wavlm": False, "norm": "group", "conv_bias": False},
    "xlsr": {"wavlm": False, "norm": "layer", "conv_bias": True},
    "wavlm": {"wavlm": True, "norm": "layer", "conv_bias": False},
}
LAYOUTS = ["hubert_group", "hubert_layer", "w2v2_group", "wavlm_group", "wavlm_layer", "xlsr_layer"]
DETAILS = {"torchaudio": "pth", "transformers": "safetensors", "fairseq": "pt"}


def built(kind: str, **keywords) -> SSL:
    """A network whose every weight is random, so that none could be swapped unnoticed."""
    made = SSL(**{**KINDS[kind], **SIZES, "weights": "random", **keywords})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.base.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return made.eval()


def clip(seconds: float = 0.3) -> torch.Tensor:
    return 0.1 * torch.randn(2, round(16_000 * seconds), generator=torch.Generator().manual_seed(2))


def as_transformers(state):
    """Names of transformers, with what pre-training alone needs."""
    for name, tensor in state.items():
        own = name.replace("encoder.transformer.", "encoder.").replace("encoder.feature_p", "feature_p")
        yield from split(own, tensor, ".attention.attention", ".attention")
    yield "masked_spec_embed", torch.zeros(3)
    yield "quantizer.codevectors", torch.zeros(1, 2, 3)


def as_fairseq(state):
    for name, tensor in state.items():
        own = re.sub(r"^(feature_extractor\.conv_layers\.\d)\.conv", r"\1.0", name)
        deep = "feature_extractor.conv_layers.1.layer_norm.weight" in state
        own = re.sub(r"^(feature_extractor\.conv_layers\.\d)\.layer_norm", r"\1.2.1" if deep else r"\1.2", own)
        own = own.replace("encoder.feature_projection.projection", "post_extract_proj")
        own = own.replace("encoder.feature_projection.layer_norm", "layer_norm")
        own = re.sub(r"^encoder\.transformer\.(layers\.\d\.)layer_norm", r"encoder.\1self_attn_layer_norm", own)
        own = own.replace("encoder.transformer.", "encoder.").replace("pos_conv_embed.conv", "pos_conv.0")
        own = own.replace("feed_forward.intermediate_dense", "fc1").replace("feed_forward.output_dense", "fc2")
        own = own.replace("gru_rel_pos_linear", "grep_linear").replace("gru_rel_pos_const", "grep_a")
        own = own.replace("rel_attn_embed", "relative_attention_bias").replace(
            "parametrizations.weight.original0", "weight_g"
        )
        own = own.replace("parametrizations.weight.original1", "weight_v")
        for part, value in split(own, tensor, ".attention.attention", ".attention"):
            yield part.replace(".attention.", ".self_attn."), value
    yield "mask_emb", torch.zeros(3)
    yield "project_q.weight", torch.zeros(3, 3)


def split(name, tensor, joined, single):
    """Queries, keys and values of WavLM each by itself."""
    name = name.replace(joined, single)
    if found := re.search(r"in_proj_(weight|bias)$", name):
        parts = tensor.chunk(3)
        yield from ((name.replace(found[0], f"{p}_proj.{found[1]}"), v) for p, v in zip("qkv", parts, strict=True))
    else:
        yield name, tensor


def write(path, front_end_, layout, drop=None):
    """The weights of a front end in a published layout, without the tensor `drop` of torchaudio's names."""
    state = {k: v for k, v in front_end_.base.state_dict().items() if k != drop}
    n_heads = front_end_.base.encoder.transformer.layers[0].attention.num_heads
    file = path / f"model.{DETAILS[layout]}"
    if layout == "torchaudio":
        torch.save(state, file)
    elif layout == "fairseq":
        settings = {"model": {"encoder_attention_heads": n_heads}, "task": {"normalize": True}}
        torch.save({"args": None, "cfg": settings, "model": dict(as_fairseq(state))}, file)
    else:
        write_safetensors(file, dict(as_transformers(state)))
        (path / "config.json").write_text(json.dumps({"num_attention_heads": n_heads}))
    return file


def slow(made: SSL, waveform):
    """Every layer's output by plain arithmetic, `[B, L, dim]` each: the input of the first, raw outputs, the last."""
    w = made.base.state_dict()
    deep = "feature_extractor.conv_layers.1.layer_norm.weight" in w

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(dim=-1, keepdim=True)
        return (
            centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() * w[f"{name}.weight"]
            + w[f"{name}.bias"]
        )

    x = waveform[:, None]
    if made.scale_waveform:
        x = (x - x.mean(dim=2, keepdim=True)) / (x.var(dim=2, correction=0, keepdim=True) + 1e-5).sqrt()
    for i, stride in enumerate((5, 2, 2, 2, 2, 2, 2)):
        at = f"feature_extractor.conv_layers.{i}"
        x = F.conv1d(x, w[f"{at}.conv.weight"], w.get(f"{at}.conv.bias"), stride=stride)
        if deep:
            x = norm(x.transpose(1, 2), f"{at}.layer_norm").transpose(1, 2)
        elif i == 0:
            centred = x - x.mean(dim=2, keepdim=True)
            x = centred / (centred.square().mean(dim=2, keepdim=True) + 1e-5).sqrt()
            x = x * w[f"{at}.layer_norm.weight"][:, None] + w[f"{at}.layer_norm.bias"][:, None]
        x = x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    x = linear(
        norm(x.transpose(1, 2), "encoder.feature_projection.layer_norm"), "encoder.feature_projection.projection"
    )
    at = "encoder.transformer.pos_conv_embed.conv"
    g, v = (w[f"{at}.parametrizations.weight.original{i}"] for i in (0, 1))
    kernel = v * g / v.square().sum(dim=(0, 1), keepdim=True).sqrt()
    moved = F.conv1d(x.transpose(1, 2), kernel, w[f"{at}.bias"], padding=64, groups=16)[..., :-1].transpose(1, 2)
    x = x + moved * 0.5 * (1 + torch.erf(moved / math.sqrt(2)))
    if not deep:
        x = norm(x, "encoder.transformer.layer_norm")
    outputs = [x]
    for i in range(SIZES["n_layers"]):
        at = f"encoder.transformer.layers.{i}"
        y = attended(norm(x, f"{at}.layer_norm") if deep else x, w, f"{at}.attention", linear)
        x = x + y if deep else norm(x + y, f"{at}.layer_norm")
        y = linear(norm(x, f"{at}.final_layer_norm") if deep else x, f"{at}.feed_forward.intermediate_dense")
        y = linear(y * 0.5 * (1 + torch.erf(y / math.sqrt(2))), f"{at}.feed_forward.output_dense")
        x = x + y if deep else norm(x + y, f"{at}.final_layer_norm")
        outputs.append(x)
    return [*outputs, norm(x, "encoder.transformer.layer_norm") if deep else x]


def attended(x, w, at, linear):
    """Attention head by head; in WavLM with gated relative positions."""
    wavlm = f"{at}.attention.in_proj_weight" in w
    if wavlm:
        q, k, v = (x @ w[f"{at}.attention.in_proj_weight"].T + w[f"{at}.attention.in_proj_bias"]).chunk(3, dim=-1)
    else:
        q, k, v = (linear(x, f"{at}.{part}_proj") for part in "qkv")
    width, outputs = x.shape[-1] // SIZES["n_heads"], []
    for head in range(SIZES["n_heads"]):
        own = slice(head * width, (head + 1) * width)
        scores = q[..., own] @ k[..., own].transpose(1, 2) / math.sqrt(width)
        if wavlm:
            table = w[re.sub(r"layers\.\d", "layers.0", at) + ".rel_attn_embed.weight"][:, head]
            gates = linear(x[..., own], f"{at}.gru_rel_pos_linear").view(*x.shape[:2], 2, 4).sum(-1).sigmoid()
            a, b = gates[..., :1], gates[..., 1:]
            gate = a * (b * w[f"{at}.gru_rel_pos_const"][0, head, 0, 0] - 1) + 2
            scores = scores + gate * table[buckets(x.shape[1])]
        outputs.append(scores.softmax(dim=-1) @ v[..., own])
    return linear(torch.cat(outputs, dim=-1), f"{at}.attention.out_proj" if wavlm else f"{at}.out_proj")


def buckets(n):
    """WavLM's of 320: 160 for either direction, one each up to 80 frames, logarithmic to 800."""
    rows = []
    for i in range(n):
        far = [
            abs(j - i) if abs(j - i) < 80 else min(159, 80 + int(math.log(abs(j - i) / 80) / math.log(10) * 80))
            for j in range(n)
        ]
        rows.append([160 * (j > i) + far[j] for j in range(n)])
    return torch.tensor(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_the_layers_are_those_of_plain_arithmetic(kind):
    made, waveform = built(kind, layers=[0, 1, 2, 3]), clip()
    last = built(kind, layers="last")
    with torch.no_grad():
        both = [*made.states(waveform)[:3], *last.states(waveform)]
        assert all(map(torch.equal, built(kind, layers="hidden_states").states(waveform), both))
        found = [*made.states(waveform), *last.states(waveform)]
        expected = slow(made, waveform)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_is_torchaudios(kind):
    made, waveform = built(kind, layers="last", scale_waveform=False), clip()
    with torch.no_grad():
        torch.testing.assert_close(made.states(waveform)[0], made.base(waveform)[0])
        raw = built(kind, scale_waveform=False).states(waveform)
        for a, b in zip(raw, made.base.extract_features(waveform)[0], strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("layout", DETAILS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_layout_gives_settings_and_weights_again(kind, layout, tmp_path):
    made = built(kind, **({"n_heads": 16} if layout == "torchaudio" and kind != "wavlm" else {}))
    file = write(tmp_path, made, layout)
    settings = SSL.completed({"weights": str(file)})
    again = SSL(**settings).eval()
    again.pretrain()
    waveform = clip()
    with torch.no_grad():
        expected = SSL(**{**KINDS[kind], **SIZES, **settings})
        expected.base.load_state_dict(made.base.state_dict())
        assert torch.equal(again(waveform), expected(waveform))
    assert again.base.state_dict().keys() == made.base.state_dict().keys()
    assert {k: settings[k] for k in (*KINDS[kind], "dim", "n_layers", "ffn")} == {
        **KINDS[kind], **{k: SIZES[k] for k in ("dim", "n_layers", "ffn")}
    }  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_layouts_give_what_the_originals_gave(layout, shared):
    folder = shared / "reference" / "ssl_parity" / layout
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, made by the original implementations")
    expected = np.load(folder / "expected.npz")
    waveform = torch.from_numpy(expected["input"])[None]
    for file in (folder / "model.safetensors", next(folder.glob("*.pt"))):
        settings = SSL.completed({"weights": str(file)}) | {"scale_waveform": False}
        assert settings["n_heads"] == 4
        for layers, names in (
            ([0, 1, 2, 3, 4], ["hidden_0", *(f"layer_{i}" for i in range(1, 5))]),
            ("last", ["last"]),
            ("hidden_states", ["hidden_0", "layer_1", "layer_2", "layer_3", "last"]),
        ):
            made = SSL(**settings, layers=layers).eval()
            made.pretrain()
            with torch.no_grad():
                for found, name in zip(made.states(waveform), names, strict=True):
                    assert np.abs(found[0].numpy() - expected[name]).max() < 1e-5, (file, name)


@pytest.mark.parametrize("kind", KINDS)
def test_each_single_missing_tensor_is_refused(kind, tmp_path):
    made = built(kind)
    settings = {**KINDS[kind], **SIZES}
    for layout in ("torchaudio", "fairseq"):
        described = SSL(**settings, weights=str(write(tmp_path, made, layout)))
        for name in made.base.state_dict():
            file = write(tmp_path, made, layout, drop=name)
            with pytest.raises(InputError, match=r"features\.weights=.* expected"):
                described.pretrain()
            with pytest.raises(InputError, match=r"features\.weights=.* expected"):
                SSL(**SSL.completed({"weights": str(file)})).pretrain()
        SSL(**settings, weights=str(write(tmp_path, made, layout))).pretrain()


def test_an_unknown_tensor_and_one_of_another_shape_are_refused(tmp_path):
    made, file = built("xlsr"), tmp_path / "model.pth"
    state = made.base.state_dict()
    torch.save(state | {"encoder.adapter.weight": torch.zeros(2)}, file)
    with pytest.raises(InputError, match=r"unknown encoder\.adapter\.weight"):
        SSL(**KINDS["xlsr"], **SIZES, weights=str(file)).pretrain()
    torch.save(state | {"encoder.transformer.layers.2.final_layer_norm.bias": torch.zeros(31)}, file)
    with pytest.raises(InputError, match=r"layers\.2\.final_layer_norm\.bias .* \[32\], not \[31\]"):
        SSL(**KINDS["xlsr"], **SIZES, weights=str(file)).pretrain()
    torch.save(state, file)
    with pytest.raises(InputError, match=r"'dim': 64.* was expected, not .*32.*features=ssl"):
        SSL.completed({**KINDS["xlsr"], **SIZES, "dim": 64, "weights": str(file)})


def test_halved_and_old_files_are_read_and_no_code_is_executed(tmp_path):
    made = built("xlsr")
    state = {name: tensor.half() for name, tensor in made.base.state_dict().items()}
    found = read_weights(write_safetensors(tmp_path / "a.safetensors", state))[0]
    assert found.keys() == state.keys() and all(torch.equal(found[k], state[k].float()) for k in state)
    old = {"args": argparse.Namespace(encoder_attention_heads=8, normalize=True), "model": dict(as_fairseq(state))}
    torch.save(old, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert read_weights(tmp_path / "a.pt")[1]["n_heads"] == 8
    prefixed = {f"module.model.{name}": tensor for name, tensor in state.items()}
    torch.save(prefixed, tmp_path / "a.pth")
    assert read_weights(tmp_path / "a.pth")[0].keys() == state.keys()

    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("made").touch, ())

    torch.save({"model": Evil()}, tmp_path / "b.pt")
    with pytest.raises(InputError, match=r"b\.pt: weights of torchaudio"):
        read_weights(tmp_path / "b.pt")
    assert not (tmp_path / "made").exists()
    with pytest.raises(InputError, match=r"no\.pt: a file was expected"):
        read_weights(tmp_path / "no.pt")


def header(**entries):
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


def entry(begin, end, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "content",
    {
        "empty": b"",
        "header beyond the file": struct.pack("<Q", 1 << 60) + b"{}",
        "no JSON": struct.pack("<Q", 2) + b"xx",
        "beyond the file": header(a=entry(0, 80, (20,))) + bytes(8),
        "before the file": header(a=entry(-8, 0)) + bytes(8),
        "other shape": header(a=entry(0, 8, (3,))) + bytes(8),
        "below 0": header(a=entry(0, 8, (-1, -2))) + bytes(8),
        "overlap": header(a=entry(0, 8), b=entry(4, 12)) + bytes(12),
        "gap": header(a=entry(0, 8), b=entry(12, 20)) + bytes(20),
        "rest": header(a=entry(0, 8)) + bytes(12),
        "unknown type": header(a=entry(0, 8, (8,), "F8_E4M3")) + bytes(8),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_damaged_safetensors_file_is_refused_in_a_sentence(content, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(content[1])
    with pytest.raises(InputError, match=r"a\.safetensors: .* expected"):
        read_weights(tmp_path / "a.safetensors")


def test_each_clip_is_scaled_by_itself_where_the_network_was_trained_so():
    waveform = clip()
    louder = waveform * torch.tensor([[1.0], [30.0]])
    with torch.no_grad():
        made = built("xlsr")
        torch.testing.assert_close(made(waveform), made(louder), rtol=1e-3, atol=1e-3)
        plain = built("xlsr", scale_waveform=False)
        assert not torch.allclose(plain(waveform)[1], plain(louder)[1], rtol=1e-3, atol=1e-3)
        scaled = F.layer_norm(waveform, waveform.shape[1:])
        torch.testing.assert_close(plain(scaled), made(waveform))


def test_the_pools_of_layers():
    waveform = clip()
    with torch.no_grad():
        made = built("xlsr")
        states = torch.stack(made.states(waveform)).transpose(2, 3)  # [N, B, dim, L]
        torch.testing.assert_close(made(waveform), states.mean(dim=0))
        made.weight.copy_(torch.tensor([1.0, 0.0, -1.0]))
        shares = np.exp([1.0, 0.0, -1.0]) / np.exp([1.0, 0.0, -1.0]).sum()
        torch.testing.assert_close(made(waveform), sum(float(a) * x for a, x in zip(shares, states, strict=True)))
        torch.testing.assert_close(built("xlsr", pool="last")(waveform), states[-1])
        gated = built("xlsr", pool="gate")
        gates = [(x.mean(dim=2) @ gated.gate.weight[0] + gated.gate.bias).sigmoid() for x in states]
        expected = sum(g[:, None, None] * x for g, x in zip(gates, states, strict=True))
        torch.testing.assert_close(gated(waveform), expected)
        attentive = built("xlsr", pool="attention")
        shares = [torch.einsum("bdl,d->bl", x, attentive.attention.weight[0]).exp() for x in states]
        means = [torch.einsum("bdl,bl->bd", x, s) / s.sum(dim=1)[:, None] for x, s in zip(states, shares, strict=True)]
        gates = [(mean @ attentive.gate.weight[0] + attentive.gate.bias).sigmoid() for mean in means]
        expected = sum(g[:, None, None] * x for g, x in zip(gates, states, strict=True))
        torch.testing.assert_close(attentive(waveform), expected)
    assert built("xlsr", layers="last").weight is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", ["all", "last", [0, 2]])
@pytest.mark.parametrize("freeze", ["all", "cnn", "first_1", "none"])
def test_what_is_frozen_has_no_gradient_and_all_else_has_one(kind, layers, freeze):
    made = built(kind, layers=layers, freeze=freeze).train()
    made(clip().requires_grad_()).square().sum().backward()
    trained = {name for name, p in made.base.named_parameters() if p.requires_grad}
    assert trained == {
        name for name, p in made.base.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0
    } | {
        name
        for name in trained
        if name.endswith(("k_proj.bias",))  # which softmax takes out
    }
    parts = {name.partition(".")[0] for name in trained}
    numbers = {
        int(found[1]) for name in trained if (found := re.search(r"layers\.(\d)\.", name.partition("transformer")[2]))
    }
    top = 2 if layers == [0, 2] else 3
    assert parts == {"all": set(), "none": {"feature_extractor", "encoder"}}.get(freeze, {"encoder"})
    assert numbers == set({"all": (), "first_1": range(1, top)}.get(freeze, range(top)))


def test_checkpointing_changes_no_gradient():
    def gradients(checkpointing):
        made = built("wavlm", freeze="none", checkpointing=checkpointing).train()
        made(clip()).square().sum().backward()
        return [p.grad for p in made.parameters() if p.grad is not None]

    for a, b in zip(gradients(False), gradients(True), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"sample_rate": 8000}, "sample_rate=8000: 16000"),
        ({"layers": "first"}, "features.layers=first"),
        ({"layers": [4]}, "numbers from 0 to 3"),
        ({"layers": []}, "features.layers"),
        ({"pool": "max"}, "features.pool=max"),
        ({"freeze": "first_4"}, "first_1 to first_3"),
        ({"norm": "batch"}, "features.norm=batch"),
        ({"dim": 40}, "multiple of n_heads and of 16"),
        ({"dim": None}, "tells the sizes"),
    ],
)
def test_settings_out_of_range_are_named(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        built("xlsr", **wrong)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ssl"])
def test_every_choice_describes_the_network_that_is_published(name):
    config = compose("run_dir=.", f"features={name}").features
    with torch.device("meta"):
        made = SSL(**{k: v for k, v in config.items() if k != "_target_"})
    millions = {"xlsr_300m": 315.4, "xlsr_1b": 962.5, "xlsr_2b": 2159, "wavlm_base_plus": 94.4, "wavlm_large": 315.5}
    millions |= {"hubert_large": 315.4, "wav2vec2_base": 94.4}
    name = re.sub("_(last|gate|layers)$", "", name)
    assert sum(p.numel() for p in made.base.parameters()) / 1e6 == pytest.approx(millions[name], rel=1e-3)
    with pytest.raises(InputError, match=rf"features.weights=null: .* download {re.escape(config.address)}"):
        made.pretrain()
    assert config.scale_waveform == (config.norm == "layer")


def test_frames_lie_where_they_are_said_to():
    made = front_end("xlsr_300m", layers=[0])
    waveform = torch.zeros(1, 16_000, requires_grad=True)
    states = made.base.feature_extractor(waveform, None)[0]
    states[0, 10].sum().backward()
    (used,) = waveform.grad[0].nonzero(as_tuple=True)  # type: ignore[index]
    centre = (used[0] + used[-1] + 1) / 2 / 16_000
    assert float(centre) == pytest.approx(made.start_seconds + 10.5 / made.frames_per_second)
    assert made(torch.zeros(1, 64_600)).shape[2] == 201


def pretrained_detector(tmp_path, **features):
    file = write(tmp_path, built("xlsr"), "transformers")
    config = {"features": {"_target_": "deepfake.features.ssl.SSL", "weights": str(file), **features}}
    config |= {"model": {"_target_": "deepfake.models.ssl_linear.SSLLinear"}, "score": "log_odds"}
    config |= {"sample_rate": 16_000, "seconds": 0.3, "init_from": None, "resume": None, "run_dir": tmp_path}
    return file, new_detector(config).eval()


def test_a_detector_file_holds_what_its_training_changed_and_the_rest_comes_from_the_file_of_weights(tmp_path):
    file, detector = pretrained_detector(tmp_path, freeze="first_2")
    assert {k: detector.config["features"][k] for k in SSL.sizes} == KINDS["xlsr"] | SIZES
    changed = {f"features.{name}" for name, p in detector.features.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for p in detector.parameters():
            p.add_(0.01 * p.requires_grad)
    (folder := tmp_path / "run").mkdir()
    detector.save(folder / "detector.pt")
    stored = torch.load(folder / "detector.pt", weights_only=True)
    assert {k for k in stored["state_dict"] if k.startswith("features.")} == changed
    waveform = clip()
    with torch.no_grad():
        assert torch.equal(Detector.load(folder)(waveform), detector(waveform))
        assert Detector.load(folder).sha256 == detector.sha256 == stored["sha256"]
        moved = file.rename(folder / file.name)
        assert torch.equal(Detector.load(folder)(waveform), detector(waveform))
    moved.write_bytes(moved.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"SHA-256 .* was expected, of the pre-trained weights"):
        Detector.load(folder)
    moved.unlink()
    with pytest.raises(InputError, match=rf"detector\.pt needs the pre-trained weights {re.escape(str(file))}"):
        Detector.load(folder)


def test_a_detector_file_holds_the_adapters_of_a_network_that_is_not_trained(tmp_path):
    _, detector = pretrained_detector(tmp_path, lora={"rank": 2, "alpha": 4.0})
    _, plain = pretrained_detector(tmp_path)
    with torch.no_grad():
        detector.model.load_state_dict(plain.model.state_dict())
        assert torch.equal(detector(clip()), plain(clip()))
        for p in detector.parameters():
            p.add_(0.1 * p.requires_grad)
    detector.save(tmp_path / "detector.pt")
    stored = torch.load(tmp_path / "detector.pt", weights_only=True)["state_dict"]
    assert len(stored) == 3 * 6 * 2 + 3 and all(".lora." in k or ".base." not in k for k in stored)
    with torch.no_grad():
        assert torch.equal(Detector.load(tmp_path)(clip()), detector(clip()))
        assert not torch.equal(detector(clip()), plain(clip()))


def test_the_file_is_found_again_from_another_folder(tmp_path, monkeypatch):
    file = write(tmp_path, built("xlsr"), "transformers")
    monkeypatch.chdir(tmp_path)
    assert SSL.completed({"weights": file.name})["weights"] == str(file.resolve())


def test_a_detector_whose_file_of_weights_is_gone_is_stored_whole(tmp_path):
    file, detector = pretrained_detector(tmp_path)
    file.unlink()
    detector.save(tmp_path / "detector.pt")
    with torch.no_grad():
        assert torch.equal(Detector.load(tmp_path)(clip()), detector(clip()))


def test_a_file_of_a_detector_that_names_no_base_is_refused(tmp_path):
    _, detector = pretrained_detector(tmp_path)
    detector.save(tmp_path / "detector.pt")
    content = torch.load(tmp_path / "detector.pt", weights_only=True)
    for base in (None, {}, {"file": 3, "sha256": ""}):
        torch.save(content | {"base": base}, tmp_path / "detector.pt")
        with pytest.raises(InputError, match="file and SHA-256 of its pre-trained weights"):
            Detector.load(tmp_path)


def test_a_frozen_one_trains_resumes_and_is_used_with_the_weights_in_their_file(tiny_la, tmp_path):
    file = write(tmp_path, built("wavlm"), "fairseq")
    overrides = ("model=ssl_linear", "features=ssl", f"features.weights='{file}'", "optimizer.lr=0.01")
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    run.train(tiny_run(tiny_la, whole, *overrides))
    train_until(tiny_run(tiny_la, halved, *overrides), epoch=1, step=1)
    train_without_report(compose(f"resume='{halved}'"))
    stored, again = (torch.load(f / "detector.pt", weights_only=True)["state_dict"] for f in (whole, halved))
    assert set(stored) == set(again) == {"features.weight", "model.head.weight", "model.head.bias"}
    assert all(torch.equal(stored[name], again[name]) for name in stored) and stored["features.weight"].any()
    run.evaluate(compose(f"run='{whole}'", "partition=dev", "calibrate=true", config="evaluate"))
    assert Detector.load(whole).calibration is not None
    assert set(torch.load(whole / "detector.pt", weights_only=True)["state_dict"]) == set(stored)
    audio = write_audio(tmp_path / "a.wav", spoof=True, seed=1)
    run.explain(
        compose(f"run='{whole}'", f"input='{audio}'", "device=cpu", f"output='{tmp_path}/out'", config="explain")
    )
    assert Detector.load(whole).sha256 in (tmp_path / "out" / "a" / "report.json").read_text()
    file.unlink()
    with pytest.raises(InputError, match="needs the pre-trained weights"):
        run.evaluate(compose(f"run='{whole}'", "partition=dev", config="evaluate"))
    with pytest.raises(InputError, match=r"features\.weights=.*: a file was expected"):
        train_without_report(tiny_run(tiny_la, tmp_path / "new", *overrides))
    assert not (tmp_path / "new" / "detector.pt").exists()


def test_a_small_detector_has_the_front_end_that_is_asked_for():
    detector = small("ssl_linear", "wavlm_large")
    assert sizes("wavlm_large") and detector.features.base.encoder.transformer.layers[0].attention.has_position_bias
    assert ssl_weights.GATE in detector.features.base.state_dict()
