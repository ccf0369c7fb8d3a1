"""Published detectors: from the authors' files to run folders, exactly, strictly, and with their licence accepted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import df_arena
import golden
import pytest
import soundfile
import torch
from omegaconf import OmegaConf
from tiny import write_audio
from torch import Tensor

from deepfake.cli import main
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.forensics.card import card as made_card
from deepfake.models.ssl_linear import SSLLinear
from deepfake.runs import catalogue, published
from deepfake.runs.catalogue import Published
from deepfake.runs.published import fetch, import_published

SIZES = {"conv_channels": 16, "dim": 32, "n_layers": 4, "n_heads": 4, "ffn": 64}
GOLDEN = {  # file, expected, settings of the tiny head, its front end as published
    "xlsr_aasist_la": ("det_tak/model.pth", "det_tak/expected.npz", "logits", {}),
    "xlsr_aasist_df": ("det_tak/model.pth", "det_tak/expected.npz", "logits", {}),
    "xlsr_sls": ("det_sls/model.pth", "det_sls/expected.npz", "logprob", {"hidden": 64}),
    "xlsr_nes2net_x": (
        "det_nes2net/mean.pth", "det_nes2net/expected_mean.npz", "logits", {"n_groups": 4, "n_slices": 4}
    ),
    "antideepfake_xls_r_1b": ("det_antideepfake/model.ckpt", "det_antideepfake/expected.npz", "", {}),
}  # fmt: skip
SMALL = {"dim": 16, "conv_channels": 4, "n_layers": 2, "n_heads": 2, "ffn": 8}
HEADS = {
    "xlsr_aasist_la": {"channels": [3, 3, 4, 4, 4, 4], "graph_dims": [4, 4], "n_rows": 12},
    "xlsr_sls": {"n_stretches": 4, "hidden": 5},
    "xlsr_nes2net_x": {"n_groups": 2, "n_slices": 2},
    "antideepfake_mms_300m": {},
}


@pytest.fixture
def describe(tmp_path, monkeypatch):
    """Describe a published detector in another size; all others are gone."""
    folder = tmp_path / "published"
    folder.mkdir()

    def described(name: str, features: dict, model: dict, **other) -> Published:
        merged = OmegaConf.merge(catalogue._merged(catalogue.CONF / "published", name), other)
        merged = OmegaConf.merge(merged, {"settings": {"features": features, "model": model}})
        OmegaConf.save(merged, folder / f"{name}.yaml")
        monkeypatch.setattr(catalogue, "FOLDER", folder)
        return catalogue.read(name)

    return described


def as_published(detector: Detector, entry: Published) -> dict[str, Tensor]:
    """The tensors of a detector by the authors' names, those of the front end by torchaudio's."""
    back = {
        "xlsr_aasist_la": [("^model\\.", "")],
        "xlsr_sls": [
            ("^features\\.gate", "fc0"),
            ("^model\\.project", "fc1"),
            ("^model\\.head", "fc3"),
            ("^model\\.", ""),
        ],
        "xlsr_nes2net_x": [
            ("^model\\.head", "model.fc"),
            ("^model\\.blocks", "model.Build_in_Res2Nets"),
            ("\\.squeeze\\.", ".se.se.1."),
            ("\\.excite\\.", ".se.se.3."),
            ("^model\\.", "Nested_Res2Net_TDNN."),
        ],
        "antideepfake_mms_300m": [("^model\\.head", "proj_fc")],
    }
    state = {}
    for name, tensor in detector.state_dict().items():
        own = name
        if name.startswith("features.base."):
            own = name.replace("features.base.", entry.base)
        else:
            for pattern, replacement in back[entry.name]:
                own = re.sub(pattern, replacement, own)
        state[own] = tensor
    return state


def write(file: Path, state: dict[str, Tensor]) -> Path:
    """A state dict as torch or safetensors have it."""
    if file.suffix != ".safetensors":
        torch.save(state, file)
        return file
    header, data = {}, b""
    for name, tensor in state.items():
        raw = tensor.numpy().tobytes()
        places = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": places}
        data += raw
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return file


def made(entry: Published) -> Detector:
    torch.manual_seed(0)
    config = entry.config({})
    detector = Detector(config)
    with torch.no_grad():
        detector.train()(0.1 * torch.randn(4, 8000))
    return detector.eval()


@pytest.mark.parametrize("name", GOLDEN)
def test_what_the_authors_code_gave_is_what_their_imported_file_gives(name, shared, describe, tmp_path):
    file, expected, key, model = GOLDEN[name]
    wanted = golden.arrays(shared, expected)
    describe(name, SIZES, model)
    content = torch.load(shared / "reference/ssl_parity" / file, weights_only=True)
    torch.save({f"module.{key}": tensor for key, tensor in content.items()}, tmp_path / "parallel.pth")
    for i, weights in enumerate((shared / "reference/ssl_parity" / file, tmp_path / "parallel.pth")):
        import_published(name, weights, tmp_path / str(i), accepted=True)
        detector = Detector.load(tmp_path / str(i))
        with torch.inference_mode():
            if key:
                logits = detector.logits(golden.clips(shared))
                torch.testing.assert_close(logits, wanted[key], rtol=1e-6, atol=1e-5)
                assert torch.equal(detector.score(logits), logits[:, 1])
                continue
            signals = golden.arrays(shared, "inputs.npz")
            for clip, n in (("a40", 64600), ("a41", 20000), ("a42", 9000)):
                logits = detector.logits(signals[clip][None])
                torch.testing.assert_close(logits, wanted[f"logits_{n}"], rtol=0, atol=1e-5)
                assert torch.equal(detector.score(logits), logits[:, 1] - logits[:, 0])


def test_every_tensor_of_the_golden_files_is_needed(shared, describe, tmp_path):
    golden.arrays(shared, "det_sls/expected.npz")
    describe("xlsr_sls", SIZES, {"hidden": 64})
    content = torch.load(shared / "reference/ssl_parity/det_sls/model.pth", weights_only=True)
    unused = re.compile(r"\.(quantizer|project_q|final_proj|mask_emb)")
    for name in [name for name in content if not unused.search(name)][::11]:
        torch.save({k: v for k, v in content.items() if k != name}, tmp_path / "w.pth")
        with pytest.raises(InputError, match=r"w.pth holds the weights of another detector than XLS-R \+ SLS"):
            import_published("xlsr_sls", tmp_path / "w.pth", tmp_path / "run", accepted=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", HEADS)
def test_a_published_layout_is_imported_and_scores_a_recording(name, describe, tmp_path, capsys):
    entry = describe(name, SMALL, HEADS[name], settings={"seconds": 0.5})
    source = made(entry)
    file = write(
        tmp_path / ("w.safetensors" if "model.safetensors" in entry.url else "w.pth"), as_published(source, entry)
    )
    run = tmp_path / "run"
    given = ["import", name, "--weights", str(file), "--output", str(run)]
    assert main(given) == 1
    refused = capsys.readouterr().err
    assert entry.licence in refused and "--accept-licence" in refused and refused.count("\n") == 1
    assert not run.exists()
    assert main([*given, "--accept-licence"]) == 0
    assert capsys.readouterr().out.strip() == str(run)
    loaded = Detector.load(run)
    assert all(torch.equal(tensor, loaded.state_dict()[key]) for key, tensor in source.state_dict().items())
    audio = write_audio(tmp_path / "a.wav", spoof=True, seed=1, seconds=0.5)
    assert main(["predict", "--run", str(run), "--format", "json", str(audio)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    samples = torch.from_numpy(soundfile.read(audio, dtype="float32")[0])[None]
    with torch.inference_mode():
        assert row["score"] == pytest.approx(source(samples).item(), abs=1e-5)
    assert made_card(run, loaded)["imported"]["card"]["licence"] == entry.licence
    card = (run / "model_card.md").read_text()
    facts = (entry.title, entry.licence, entry.paper, entry.trained_on, entry.clip, loaded.config["imported"]["sha256"])
    assert all(fact in card for fact in facts) and "Not measured." in card
    first = entry.published[0]
    trials = "not stated" if first["n_trials"] is None else f"{first['n_trials']:,}"
    assert f"| {first['corpus']} | {first['eer']:.2f} | {trials} | {first['by']} |" in card


@pytest.fixture
def arena(describe) -> Published:
    return describe("df_arena_500m", df_arena.SIZES, df_arena.HEAD, settings={"seconds": 0.5})


def chirp() -> Tensor:
    t = torch.arange(8000)
    return 0.5 * torch.sin(t * t / 20_000) * t / 8000


def test_df_arena_gives_the_logits_of_its_description(arena, tmp_path, capsys):
    """What a plain transcription gives on the same tensors, saved as transformers does and in other wrappings."""
    state, signal = df_arena.checkpoint(), chirp()
    old = {re.sub(r"parametrizations\.weight\.original(.)", lambda m: "weight_" + "gv"[int(m[1])], k): k for k in state}
    files = {
        "pytorch_model.bin": {f"backbone.{name}": tensor for name, tensor in state.items()},
        "older.bin": {f"backbone.{name}": state[key] for name, key in old.items()},
        "bare.pth": {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
    }
    for name, content in files.items():
        torch.save(content, tmp_path / name)
        given = ["import", arena.name, "--weights", str(tmp_path / name), "--output", str(tmp_path / f"of_{name}")]
        assert main(given) == 1 and "non-commercial research only" in capsys.readouterr().err
        assert main([*given, "--accept-licence"]) == 0
        detector = Detector.load(tmp_path / f"of_{name}")
        with torch.inference_mode():
            for clip in (signal, signal.flip(0), torch.zeros(8000)):
                expected = df_arena.logits(state, clip)
                logits = detector.logits(clip[None])
                torch.testing.assert_close(logits[0], expected, rtol=0, atol=1e-5)
                assert detector.score(logits).item() == pytest.approx(float(expected[1] - expected[0]), abs=2e-5)
    card = (tmp_path / "of_bare.pth" / "model_card.md").read_text()
    assert "the log-odds of bona fide" in card and "| In-the-Wild | 1.76 | 31,779 | the authors |" in card


def test_every_tensor_of_df_arena_is_needed_and_no_other_is_taken(arena):
    state = df_arena.checkpoint()
    wanted = Detector(arena.config({})).state_dict()

    def differences(changed: dict[str, Tensor]) -> list[str]:
        return published._differences(published._renamed(arena, changed, Path("w.bin"))[0], wanted)

    assert not differences(state)
    for name in state.keys() - {"ssl_model.masked_spec_embed"}:  # which only pre-training has a use for
        try:
            (one,) = differences({k: v for k, v in state.items() if k != name})
            assert one.endswith(" is not there")
        except InputError as error:
            assert name.startswith("ssl_model.") and "it has no " in str(error)
    for name in ("conformer.encoder_blocks.2.post_norm.weight", "ssl_model.encoder.more", "LL.weight", "fc0.more"):
        (one,) = differences(state | {name: torch.zeros(1)})
        assert one.endswith(" is unknown")
    (one,) = differences(state | {"conformer.positional_emb": torch.zeros(1, 119, 16)})
    assert one == "positions is (1, 119, 16), not (1, 120, 16)"


def test_each_difference_is_named(describe, tmp_path):
    entry = describe("xlsr_nes2net_x", SMALL, HEADS["xlsr_nes2net_x"])
    state = as_published(made(entry), entry)
    scale = "ssl_model.model.encoder.feature_projection.layer_norm.weight"
    cases = {
        "head.weight is (2, 3), not (2, 16)": state | {"Nested_Res2Net_TDNN.fc.weight": torch.zeros(2, 3)},
        "bn.weight is not there": {k: v for k, v in state.items() if k != "Nested_Res2Net_TDNN.bn.weight"},
        "classifier.weight is unknown": state | {"classifier.weight": torch.zeros(1)},
        "features.base.encoder.feature_projection.layer_norm.weight is not there": {
            k: v for k, v in state.items() if k != scale
        },
        "features.base.more is unknown": state | {"ssl_model.model.more": torch.zeros(1)},
        "it has no feature_extractor.conv_layers.0.conv.weight": {
            k: v for k, v in state.items() if not k.startswith("ssl_model.model.feature_extractor.conv_layers.0")
        },
    }
    for message, changed in cases.items():
        torch.save(changed, tmp_path / "w.pth")
        with pytest.raises(InputError, match=re.escape(message)):
            import_published(entry.name, tmp_path / "w.pth", tmp_path / "run", accepted=True)
        assert not (tmp_path / "run").exists()


def test_sizes_that_no_yaml_states_are_those_of_the_tensors(describe):
    entry = describe("antideepfake_wav2vec_large", {**SMALL, "n_layers": None}, {})
    told = {"wavlm": True, "norm": "layer", "conv_bias": False, "conv_channels": 512, "n_layers": 2}
    features = entry.config(told)["features"]
    assert (features["wavlm"], features["norm"], features["n_layers"], features["dim"]) == (False, "layer", 2, 16)
    assert features["conv_channels"] == 4 and features["scale_waveform"] is True


@pytest.mark.parametrize("name", catalogue.names())
def test_every_description_makes_a_detector_of_the_size_it_states(name):
    entry = catalogue.read(name)
    told = {"norm": "layer", "conv_bias": True, "conv_channels": 512}
    with torch.device("meta"):
        detector = Detector(entry.config(told if entry.base else {}))
    n = sum(p.numel() for p in detector.parameters()) / 1e6
    assert entry.millions == pytest.approx(n, rel=0.01, abs=1e-3)
    assert detector.features.n_stacked == 1 and detector.config["seconds"] in (4.0375, 13.0)
    assert all({"corpus", "eer", "n_trials", "by"} == set(row) and row["eer"] > 0.5 for row in entry.published)


def test_a_detector_without_an_address_says_where_to_get_it(tmp_path, capsys):
    assert main(["fetch", "xlsr_sls", "--output", str(tmp_path / "run")]) == 1
    assert "none stated" in capsys.readouterr().err
    assert main(["fetch", "xlsr_sls", "--output", str(tmp_path / "run"), "--accept-licence"]) == 1
    said = capsys.readouterr().err
    assert "drive.google.com" in said and "deepfake import xlsr_sls --weights FILE" in said and said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_fetch_imports_what_came_and_leaves_nothing_where_nothing_came(describe, tmp_path, capsys):
    name, folder = "antideepfake_mms_300m", tmp_path / "server"
    folder.mkdir()
    entry = describe(name, SMALL, {}, url=f"file://{folder}/model.pt", settings={"seconds": 0.5})
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["fetch", name, "--output", str(tmp_path / "runs" / "a"), "--accept-licence"]) == 1
    said = capsys.readouterr().err
    assert "could not be fetched" in said and f"deepfake import {name} --weights model.pt" in said
    assert said.count("\n") == 1 and sorted(path.name for path in tmp_path.iterdir()) == before
    torch.save(as_published(made(entry), entry), folder / "model.pt")
    detector = fetch(name, tmp_path / "runs" / "a", accepted=True)
    assert detector.config["imported"]["model"] == name
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["a"]


def test_the_table_names_each_with_what_is_known(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines if line.split() and line.split()[0] in catalogue.names()}
    assert set(rows) == set(catalogue.names())
    assert re.search(
        r"317\.8 +MIT +ASVspoof 2019 LA train +ASVspoof 2021 LA 0\.82 +not measured", rows["xlsr_aasist_la"]
    )
    assert "mini_la eval 14.70" in rows["aasist_l"] and "CC BY-NC-SA 4.0" in rows["antideepfake_mms_1b"]
    assert "none stated" in rows["xlsr_sls"]


def test_the_mean_alone_is_half_of_mean_and_deviation():
    features = torch.randn(2, 5, 9)
    both, mean = SSLLinear(in_channels=5), SSLLinear(in_channels=5, deviation=False, n_outputs=2)
    assert torch.equal(both.embed(features)[:, :5], mean.embed(features)) and mean(features).shape == (2, 2)
    with pytest.raises(InputError, match="n_outputs=3"):
        SSLLinear(in_channels=5, n_outputs=3)
