"""A corpus from its config: what is read of it, its settings and paths, and what cannot be used."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from omegaconf import OmegaConf
from tiny import REPOSITORY, compose, write_lines

from deepfake.datasets.corpus import Corpus, Reader
from deepfake.errors import InputError

LA = {"name": "la", "_target_": "deepfake.datasets.asvspoof2019_la.utterances", "_partial_": True}


@pytest.mark.parametrize("name", sorted(p.stem for p in (REPOSITORY / "conf" / "dataset").glob("*.yaml")))
def test_every_config_describes_a_corpus(name):
    root = [f"dataset.root={REPOSITORY}"] if name != "mix" else []
    config: Any = OmegaConf.to_container(compose(f"dataset={name}", *root).dataset, resolve=True)
    corpus = Corpus.of(config)
    assert corpus.name == name and corpus.config == config and corpus.on_bad_audio == "raise"
    assert not {"name", "per_class", "on_bad_audio", "_target_", "_partial_"} & set(corpus.settings)


def test_what_is_known_of_a_corpus(tiny_la):
    corpus = Corpus.of({**LA, "root": str(tiny_la)})
    assert len(corpus.read("dev")) == 12 and corpus.segments("dev") is None
    found = corpus.asv_scores("dev")
    assert found is not None and found.name == "ASVspoof2019.LA.asv.dev.gi.trl.scores.txt"
    assert corpus.asv_scores("train") is None
    plain = Corpus("mine", Reader(lambda partition, n: [n]), {"n": 3})
    assert plain.read("dev") == [3] and plain.segments("dev") is None and plain.asv_scores("dev") is None


def test_an_unknown_partition_is_refused(tiny_la):
    corpus = Corpus.of({**LA, "root": str(tiny_la)})
    for question in (corpus.read, corpus.segments, corpus.asv_scores):
        with pytest.raises(InputError, match="partition=test: one of train, dev, eval was expected"):
            question("test")


def test_a_balanced_subset_is_selected_by_its_seed(tiny_la):
    corpus = Corpus.of({**LA, "root": str(tiny_la), "per_class": {"train": 2, "dev": None}})
    first, other = (corpus.select("train", seed) for seed in (0, 1))
    assert [sum(u.label == label for u in first) for label in (0, 1)] == [2, 2] and first != other
    assert first == corpus.select("train", 0) and len(corpus.select("dev", 0)) == len(corpus.select("eval", 0)) == 12


def test_paths_are_absolute_wherever_a_key_names_one(tmp_path, monkeypatch):
    write_lines(
        tmp_path / "mine.py",
        "def utterances(partition, *, root, noise_root=None, list_file=None, keys=None, variant='a'):",
        "    return [root, noise_root, list_file, keys, variant]",
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    paths = {"root": "a", "noise_root": "b", "list_file": "c", "keys": None, "variant": "d"}
    mine = {"name": "mine", "_target_": "mine.utterances", **paths}
    corpus = Corpus.of(mine)
    assert corpus.read("dev") == [*(str(tmp_path / name) for name in "abc"), None, "d"]
    mix = {"name": "mix", "_target_": "deepfake.datasets.mix.utterances", "parts": {"m": mine}}
    assert Corpus.of(mix).config["parts"]["m"]["root"] == str(tmp_path / "a")
    assert str(corpus) == f"mine, root={tmp_path}/a, noise_root={tmp_path}/b, list_file={tmp_path}/c, variant=d"
    sys.modules.pop("mine")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"root": "???"}, "dataset.root is needed and was not given"),
        ({}, "dataset: deepfake.datasets.asvspoof2019_la.utterances: missing a required .*'root'"),
        ({"root": "x", "typo": 1}, "dataset: deepfake.datasets.asvspoof2019_la.utterances: .*'typo'"),
        ({"root": "x", "on_bad_audio": "ignore"}, "dataset.on_bad_audio=ignore: raise or skip"),
        ({"_target_": "deepfake.datasets.nothing.utterances"}, "dataset._target_=deepfake.datasets.nothing"),
        ({"_target_": "deepfake.datasets.folder.nothing"}, "dataset._target_=deepfake.datasets.folder.nothing: a func"),
        ({"_target_": "utterances"}, "dataset._target_=utterances: a function of a module was expected"),
        ({"_target_": "deepfake.errors.__doc__"}, "dataset: deepfake.errors.__doc__: .* is not a callable"),
    ],
)
def test_unusable_settings_are_refused(config, message):
    with pytest.raises(InputError, match=message):
        Corpus.of(LA | config)


def test_what_a_part_of_a_mix_lacks_is_named():
    mix = {"name": "mix", "_target_": "deepfake.datasets.mix.utterances", "parts": {"a": LA | {"root": "???"}}}
    with pytest.raises(InputError, match=r"dataset\.parts\.a\.root is needed"):
        Corpus.of(mix)
