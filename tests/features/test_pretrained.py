"""What pre-trained front ends share: what is trained of them, and low-rank adapters."""

from __future__ import annotations

import functools
import hashlib
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from small_detectors import front_end

from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.features.whisper import Whisper
from deepfake.training.train import new_detector

KINDS = ("ssl", "xlsr_300m", "wavlm_large", "whisper_tiny_en")
LORA = {"rank": 2, "alpha": 4.0}


def clip() -> torch.Tensor:
    return 0.1 * torch.randn(2, 4_800, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_is_trained_goes_unused(kind):
    """Or data-parallel training would wait for its gradient."""
    settings = [(layers, pool, {"freeze": f}) for f in ("all", "cnn", "first_1", "none") for layers, pool in (
        ("all", "weighted"), ("last", "weighted"), ([0, 1], "gate"), ([1, 2], "last"), ([2, 1], "last"), ([0], "gate")
    )]  # fmt: skip
    settings += [("hidden_states", "attention", {"freeze": f}) for f in ("all", "none")]
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


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Settings of a front end whose weights a server of this machine publishes, and the server."""
    made = Whisper(n_mels=20, dim=64, n_layers=1, n_heads=1, ffn=8, weights="random")
    (tmp_path / "there").mkdir()
    content = {"model_state_dict": made.base.state_dict(), "dims": {"n_audio_head": 1}}
    torch.save(content, file := tmp_path / "there" / "tiny.pt")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path / "there")) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        settings = {"address": f"http://127.0.0.1:{server.server_port}/tiny.pt", "weights": "fetch"}
        settings |= {"cache": str(tmp_path / "cache"), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        yield settings, file
        server.shutdown()
        thread.join()


def test_weights_are_downloaded_once_and_a_detector_finds_them_where_the_cache_is(published, tmp_path):
    settings, file = published
    config = {"features": {"_target_": "deepfake.features.whisper.Whisper", **settings}, "score": "log_odds"}
    config |= {"model": {"_target_": "deepfake.models.ssl_linear.SSLLinear"}, "sample_rate": 16_000, "seconds": 0.3}
    config |= {"init_from": None, "resume": None, "run_dir": tmp_path}
    detector = new_detector(config).eval()
    cached = tmp_path / "cache" / f"tiny-{settings['sha256'][:8]}.pt"
    assert detector.config["features"]["weights"] == str(cached) and cached.read_bytes() == file.read_bytes()
    assert torch.equal(detector.features.base.conv1.bias, torch.load(file)["model_state_dict"]["conv1.bias"])
    file.unlink()
    assert Whisper.completed(settings)["weights"] == str(cached)
    detector.config["features"]["cache"] = str(tmp_path / "moved")
    detector.save(tmp_path / "detector.pt")
    assert not any(".base." in name for name in torch.load(tmp_path / "detector.pt")["state_dict"])
    cached.parent.rename(tmp_path / "moved")
    with torch.no_grad():
        assert torch.equal(Detector.load(tmp_path)(clip()), detector(clip()))
    (tmp_path / "moved" / cached.name).unlink()
    with pytest.raises(InputError, match=rf"needs the pre-trained weights .* published at {settings['address']}"):
        Detector.load(tmp_path)


def test_what_cannot_be_downloaded_leaves_nothing(published, tmp_path):
    settings, file = published
    for more, sentence in (
        ({"sha256": None}, "no SHA-256 of http.*/tiny.pt is known .* download the file yourself"),
        ({"address": ""}, "no address is known"),
        ({"sha256": "0" * 64}, "is not the published file: its SHA-256 is"),
        ({"address": settings["address"].replace("tiny", "small")}, "could not be fetched .* features.weights=FILE"),
        (
            {"address": "http://127.0.0.1:9/tiny.pt"},
            "could not be fetched .*without a connection, download",
        ),
    ):
        with pytest.raises(InputError, match=sentence):
            Whisper.completed(settings | more)
        assert [path.name for path in (tmp_path / "cache").glob("[!.]*")] == []
    file.write_bytes(b"another")
    with pytest.raises(InputError, match="is not the published file"):
        Whisper.completed(settings)
