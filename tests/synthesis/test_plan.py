"""Who and what goes where."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake.errors import InputError
from deepfake.synthesis.plan import Recipe, generator, partitioned, plan, recordings

SYSTEMS = {"train": ["A1", "A2", "A3"], "dev": ["A1", "A2", "A3"], "eval": ["A1", "A2", "A3", "A9"]}


def planned(found, seed=0, shares=(60, 20, 20), spoofs=2, splices=0.2, per_speaker=None):
    options = {"shares": shares, "spoofs": spoofs, "splices": splices, "per_speaker": per_speaker}
    return plan(found, SYSTEMS, ["A1", "A9"], Recipe(Path(), Path(), seed=seed, **options))


FOUND = {f"s{i:02d}": [f"s{i:02d}/{j}.wav" for j in range(12)] for i in range(20)}


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 60), st.lists(st.floats(0.1, 100), min_size=3, max_size=3), st.integers(0, 9))
def test_every_partition_has_a_speaker_and_about_its_share(n, shares, seed):
    names = [f"s{i}" for i in range(n)]
    part_of = partitioned(names, shares, seed)
    assert set(part_of) == set(names) and partitioned(names[::-1], shares, seed) == part_of
    counts = Counter(part_of.values())
    assert set(counts) == {"train", "dev", "eval"}
    if min(n * share / sum(shares) for share in shares) >= 1:
        for part, share in zip(("train", "dev", "eval"), shares, strict=True):
            assert abs(counts[part] - n * share / sum(shares)) <= 1


def test_speakers_are_disjoint_and_each_recording_is_used_once():
    sources = planned(FOUND)
    partitions = {p: {s.speaker for s in sources if s.partition == p} for p in SYSTEMS}
    assert [len(partitions[p]) for p in SYSTEMS] == [12, 4, 4]
    assert len(set.union(*partitions.values())) == 20
    assert sorted(s.path for s in sources) == sorted(path for own in FOUND.values() for path in own)


def test_systems_are_balanced_and_some_are_in_eval_only():
    for partition, systems in SYSTEMS.items():
        own = [s for s in planned(FOUND) if s.partition == partition]
        made = Counter(f.system for s in own if not s.partial for f in s.files)
        assert set(made) == {"-", *systems}
        spoofs = [made[name] for name in systems]
        assert sum(spoofs) == 2 * made["-"] and max(spoofs) - min(spoofs) <= 1
        assert all(len({f.system for f in s.files}) == 3 for s in own if not s.partial)
        splices = Counter(s.files[0].system for s in own if s.partial)
        assert sum(splices.values()) == round(0.2 * len(own))
        assert set(splices) == ({"-", "A1", "A9"} if partition == "eval" else {"-", "A1"})
        assert abs(splices["-"] - sum(splices.values()) / 3) <= 1


def test_ids_are_unique_and_do_not_tell_the_class():
    sources = planned(FOUND, splices=0)
    files = [f for s in sources for f in s.files]
    assert len({f.id for f in files}) == len(files)
    train = sorted((f.id, f.system == "-") for s in sources if s.partition == "train" for f in s.files)
    places = np.flatnonzero([bonafide for _, bonafide in train])
    assert abs(places.mean() / len(train) - 0.5) < 0.06 and len(set(np.diff(places))) > 3


def test_a_seed_decides_and_per_speaker_draws():
    assert planned(FOUND) == planned(FOUND) != planned(FOUND, seed=1)
    few = planned(FOUND, per_speaker=3)
    assert Counter(s.speaker for s in few) == {f"LA_{i:04d}": 3 for i in range(1, 21)}
    drawn = {s.path.split("/")[1] for s in few}
    assert len(drawn) > 6


def test_generator_depends_on_all_of_its_key():
    draws = [generator(*key).random() for key in ((0, "a", "b"), (1, "a", "b"), (0, "ab"), (0, "a", "c"))]
    assert len(set(draws)) == 4 and generator(0, "a", "b").random() == draws[0]


def test_librispeech_and_folders_below_a_speaker(tmp_path):
    touch(tmp_path, "LibriSpeech/dev-clean/84/1/84-1-0.flac", "LibriSpeech/test-clean/61/2/61-2-0.flac")
    touch(tmp_path, "p225/x/y/1.mp3", "p225/notes.txt")
    found = recordings(tmp_path)
    assert list(found) == ["61", "84", "p225"] and found["84"] == ["LibriSpeech/dev-clean/84/1/84-1-0.flac"]
    (tmp_path / "p225/x/y/1.mp3").unlink()
    assert set(recordings_of_two(tmp_path)) == {"61", "84"}


def recordings_of_two(folder):
    touch(folder, "LibriSpeech/dev-clean/85/1/85-1-0.flac")
    return [name for name in recordings(folder / "LibriSpeech") if name != "85"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "holds no audio"),
        (("a/1.wav", "b/1.wav"), r"holds 2 speakers \(a, b\)"),
        (("a/1.wav",), r"holds 1 speaker \(a\)"),
        (("a/1.wav", "2.wav"), "2.wav: lies in no folder of a speaker"),
    ],
)
def test_a_folder_that_cannot_be_used(tmp_path, names, said):
    touch(tmp_path, *names)
    with pytest.raises(InputError, match=said):
        recordings(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        recordings(tmp_path / "none")


def test_the_defaults_of_a_recipe_and_the_longest_shortest_recording(tmp_path):
    recipe = Recipe(tmp_path, tmp_path)
    assert (recipe.shares, recipe.spoofs, recipe.splices) == ((60, 20, 20), 3, 0.15)
    assert (recipe.min_seconds, recipe.max_seconds) == (1.0, 6.0)
    assert Recipe(tmp_path, tmp_path, min_seconds=3.0).min_seconds == 3.0  # half of the longest
    with pytest.raises(InputError, match=r"--min-seconds 3\.1: from 0\.5, and at most half of --max-seconds 6"):
        Recipe(tmp_path, tmp_path, min_seconds=3.1)
