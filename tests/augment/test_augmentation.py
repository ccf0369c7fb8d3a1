"""Properties of every augmentation of conf/augment."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from tiny import REPOSITORY, touch

from deepfake.augment.augmentation import Augmentation, audio_files
from deepfake.errors import InputError

YAMLS = sorted((REPOSITORY / "conf/augment").glob("*.yaml"))
NEEDS = {"codec": "av", "reverb": "pyroomacoustics"}


def build(name: str, **keywords):
    """The augmentation of conf/augment/NAME.yaml at 16 kHz, always applied."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    yaml = OmegaConf.load(REPOSITORY / f"conf/augment/{name}.yaml")
    config = OmegaConf.merge({"sample_rate": 16_000}, {"augment": yaml})
    return instantiate(config.augment, _convert_="all", **{"p": 1.0, **keywords})


CHANGES = [
    ("noise", {}),
    ("reverb", {}),
    *(("rawboost", {"algo": algo}) for algo in range(1, 9)),
    *(("codec", {"codecs": [name]}) for name in ("mulaw", "alaw", "g722", "mp3", "opus", "aac")),
    ("band_limit", {}),
    ("speed", {}),
    ("gain", {}),
    ("mask", {}),
]


def clip(n: int, seed: int = 0, level: float = 0.1) -> torch.Tensor:
    return torch.from_numpy(level * np.random.default_rng(seed).standard_normal(n).astype(np.float32))


def test_every_yaml_is_tried_here_and_packaged_under_its_name():
    assert {yaml.stem for yaml in YAMLS} == {name for name, _ in CHANGES} | {"mixup"}
    for yaml in YAMLS:
        header, target = yaml.read_text().splitlines()[:2]
        assert header == f"# @package augment.{yaml.stem}"
        assert target.startswith(f"_target_: deepfake.augment.{yaml.stem}.")


@pytest.mark.parametrize(("name", "keywords"), CHANGES, ids=lambda value: str(value).strip("{}"))
def test_one_clip(name, keywords):
    augment = build(name, **keywords)
    assert not augment.batched

    @settings(max_examples=8, deadline=None, derandomize=True)
    @given(n=st.integers(160, 9_000), seed=st.integers(0, 10_000), level=st.sampled_from([0.0, 1e-4, 0.1, 1.0]))
    def holds(n, seed, level):
        waveform = clip(n, seed, level)
        before = waveform.clone()
        once, again = (augment(waveform, np.random.default_rng(seed)) for _ in range(2))
        assert once.shape == (n,)
        assert once.dtype == torch.float32
        assert once.isfinite().all()
        assert torch.equal(once, again)
        assert torch.equal(waveform, before)
        assert once.abs().max() <= 10 * waveform.abs().max() + 1e-3  # A-law has no zero

    holds()
    draws = [augment(clip(4_000), np.random.default_rng(seed)) for seed in range(6)]
    assert not any(torch.equal(drawn, clip(4_000)) for drawn in draws)
    telephone = name == "codec" and keywords["codecs"][0] in ("mulaw", "alaw", "g722")  # nothing to draw
    assert any(not torch.equal(drawn, draws[0]) for drawn in draws) != telephone


@pytest.mark.parametrize("name", [yaml.stem for yaml in YAMLS])
def test_it_travels_to_a_loader_process(name):
    augment = build(name)
    copy = pickle.loads(pickle.dumps(augment))
    rng = np.random.default_rng
    if augment.batched:
        given = torch.stack([clip(900), clip(900, 1)]), torch.tensor([0, 1])
        assert torch.equal(augment(*given, [rng(0), rng(1)])[0], copy(*given, [rng(0), rng(1)])[0])
    else:
        assert torch.equal(augment(clip(900), rng(0)), copy(clip(900), rng(0)))


def test_probability():
    augment, waveform = build("gain", p=0.3), clip(16)
    changed = sum(not torch.equal(augment(waveform, np.random.default_rng(i)), waveform) for i in range(1_000))
    assert 250 < changed < 350
    never = build("gain", p=0.0)
    assert all(never(waveform, np.random.default_rng(i)) is waveform for i in range(5))


def test_the_rest_of_a_generator_does_not_matter():
    rng = np.random.default_rng(3)
    state = rng.bit_generator.state
    first = build("noise")(clip(500), rng)
    rng.bit_generator.state = state
    assert torch.equal(build("noise")(clip(500), rng), first)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_p_must_be_a_probability(p):
    with pytest.raises(InputError, match="from 0 to 1"):
        Augmentation(p=p)


@pytest.mark.parametrize(
    ("name", "keywords", "says"),
    [
        ("noise", {"snr_min": 10, "snr_max": 5}, "augment.noise.snr from 10 to 5"),
        ("noise", {"colours": ["green"]}, "green"),
        ("noise", {"files_min": 0}, "augment.noise.files"),
        ("reverb", {"rt60_min": 0}, "augment.reverb.rt60"),
        ("rawboost", {"algo": 9}, "1 to 8"),
        ("rawboost", {"f_max": 9_000}, "augment.rawboost.f "),
        ("rawboost", {"n_powers": 0}, "at least 1"),
        ("rawboost", {"percent_max": 101}, "augment.rawboost.percent"),
        ("codec", {"codecs": ["mp4"]}, "mp4"),
        ("codec", {"kbps": []}, "at least one bit rate"),
        ("codec", {"kbps": [2]}, "augment.codec.kbps"),
        ("band_limit", {"cutoff_max": 8_000}, "augment.band_limit.cutoff"),
        ("band_limit", {"telephone": 2}, "augment.band_limit.telephone"),
        ("speed", {"factor_min": 0}, "augment.speed.factor"),
        ("gain", {"gain_max": float("inf")}, "augment.gain.gain"),
        ("mask", {"hz_max": 9_000}, "augment.mask.hz"),
        ("mask", {"n_times": -1}, "augment.mask.n_times"),
        ("mixup", {"alpha": 0}, "augment.mixup.alpha"),
        ("mixup", {"p": 2}, "augment.mixup.p"),
    ],
)
def test_bad_settings(name, keywords, says):
    try:
        build(name, **keywords)
    except Exception as error:  # hydra wraps what a constructor raises
        found = error.__cause__ or error
        assert isinstance(found, InputError)
        assert says in str(found)
    else:
        pytest.fail("was accepted")


def test_audio_below_a_folder_in_order(tmp_path):
    touch(tmp_path, "b.WAV", "a/c.flac", "a/notes.txt", "z.mp3", ".hidden")
    (tmp_path / "folder.wav").mkdir()
    assert [path.name for path in audio_files(build("gain"), str(tmp_path))] == ["c.flac", "b.WAV", "z.mp3"]


@pytest.mark.parametrize("name", ["noise", "reverb"])
def test_a_folder_without_audio(tmp_path, name):
    with pytest.raises(InputError, match=rf"augment.{name}.root=.*nowhere: a folder with audio files"):
        audio_files(build(name), str(tmp_path / "nowhere"))
