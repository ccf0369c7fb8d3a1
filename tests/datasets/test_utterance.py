from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepfake.datasets import manifest
from deepfake.datasets.utterance import (
    Utterance,
    by_attack,
    label_of,
    missing_files,
    present,
    speaker_overlap,
    subset,
    unique,
    write_manifest,
)
from deepfake.errors import InputError


def utterances(n_bonafide, n_spoof):
    labels = [1] * n_bonafide + [0] * n_spoof
    return [Utterance(f"u{i}", f"/nowhere/u{i}.wav", label) for i, label in enumerate(labels)]


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20), st.integers(0, 5), st.randoms())
def test_a_subset_is_balanced_seeded_and_independent_of_order(n_bonafide, n_spoof, per_class, seed, random):
    everything = utterances(n_bonafide, n_spoof)
    if per_class > min(n_bonafide, n_spoof):
        with pytest.raises(InputError, match="ask for fewer"):
            subset(everything, per_class, seed)
        return
    drawn = subset(everything, per_class, seed)
    assert [sum(u.label == label for u in drawn) for label in (0, 1)] == [per_class, per_class]
    assert drawn == [u for u in everything if u in drawn]
    shuffled = random.sample(everything, len(everything))
    assert {u.id for u in subset(shuffled, per_class, seed)} == {u.id for u in drawn}


def test_subsets_of_two_seeds_differ():
    everything = utterances(100, 100)
    assert subset(everything, 10, 1) != subset(everything, 10, 2)


def test_a_duplicate_names_both_lines():
    twice = [Utterance("a", "x", 1, where="p.txt, line 3"), Utterance("a", "y", 0, where="p.txt, line 9")]
    with pytest.raises(InputError, match=r"a is listed twice, in p.txt, line 3 and p.txt, line 9"):
        unique(twice, "corpus")


def test_an_empty_partition_is_refused():
    with pytest.raises(InputError, match="no utterances"):
        unique([], "corpus, partition dev")


def test_a_missing_file_is_named_with_its_line(tmp_path):
    (tmp_path / "a.wav").touch()
    listed = [Utterance(n, str(tmp_path / f"{n}.wav"), 1, where=f"m.csv, line {i}") for i, n in enumerate("ab")]
    with pytest.raises(InputError, match=r"m.csv, line 1: .*b.wav is missing \(1 of the 2 files are\)"):
        present(listed, "corpus")
    (tmp_path / "b.wav").symlink_to(tmp_path / "nowhere.wav")
    assert missing_files(listed) == listed[1:]
    (tmp_path / "b.wav").unlink()
    (tmp_path / "b.wav").symlink_to(tmp_path / "a.wav")
    assert missing_files(listed) == []


def test_speaker_overlap_is_found_by_pair():
    a = [Utterance("1", "", 1, speaker="s1"), Utterance("2", "", 1, speaker="s2"), Utterance("3", "", 1)]
    b = [Utterance("4", "", 1, speaker="s2"), Utterance("5", "", 1)]
    assert speaker_overlap({"train": a, "dev": b}) == {("train", "dev"): ["s2"]}
    assert speaker_overlap({"train": a, "dev": b[1:]}) == {}


def test_attacks_are_counted():
    assert by_attack([Utterance("1", "", 0, "A2"), Utterance("2", "", 0, "A1"), Utterance("3", "", 1)]) == {
        "A1": 1,
        "A2": 1,
    }


def test_a_manifest_reads_back_as_it_was_written(tmp_path):
    for name in ("a, b.wav", "c.flac"):
        (tmp_path / name).touch()
    written = [
        Utterance("a", str(tmp_path / "a, b.wav"), 1, "", "sp,1", "train", "", {"codec": "g722"}, 2.5),
        Utterance("c", str(tmp_path / "c.flac"), None, "A01", "", "train", "", {"language": "de, en"}),
    ]
    write_manifest(tmp_path / "m" / "train.csv", written)
    read = present(unique(manifest.utterances("train", root=str(tmp_path / "m")), "manifest"), "manifest")
    assert [replace(u, where="") for u in read] == written


@pytest.mark.parametrize(
    ("word", "label"),
    [
        *[("bonafide", 1), ("Bona-Fide", 1), ("bona_fide", 1), ("bona fide", 1), ("real", 1), ("genuine", 1)],
        *[("human", 1), ("1", 1), ("1.0", 1), ("True", 1), (" 1 ", 1)],
        *[("spoof", 0), ("fake", 0), ("0", 0), ("0.0", 0), ("False", 0)],
    ],
)
def test_key_words(word, label):
    assert label_of(word, "here") == label


def test_an_unknown_key_word_names_its_place():
    with pytest.raises(InputError, match=r"p.txt, line 2: unknown key 'genuin'"):
        label_of("genuin", "p.txt, line 2")
