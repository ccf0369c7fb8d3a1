from __future__ import annotations

import pytest

from deepfake.datasets.corpus import Corpus, Reader
from deepfake.datasets.folder import utterances
from deepfake.errors import InputError


def fill(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def read(partition, root, **options):
    return Corpus("folder", Reader(utterances), {"root": str(root), **options}).select(partition, 0)


def test_splits_classes_and_formats(tmp_path):
    fill(tmp_path, ["train/real/a.wav", "train/fake/tts1/b.mp3", "train/fake/c.flac", "train/fake/notes.txt"])
    fill(tmp_path, ["validation/bona-fide/d.ogg", "validation/spoof/e.m4a", "test/real/f.wav", "test/fake/g.wav"])
    assert {(u.id, u.label, u.attack) for u in read("train", tmp_path)} == {
        ("a", 1, ""),
        ("b", 0, "tts1"),
        ("c", 0, ""),
    }
    assert {(u.id, u.label) for u in read("dev", tmp_path)} == {("d", 1), ("e", 0)}
    assert {u.id for u in read("eval", tmp_path)} == {"f", "g"}


def test_the_same_name_in_both_classes_becomes_two_ids(tmp_path):
    fill(tmp_path, ["train/real/1.wav", "train/fake/1.wav", "train/fake/2.wav"])
    assert {u.id for u in read("train", tmp_path)} == {"train-real-1", "train-fake-1", "2"}


def test_without_splits_a_seeded_stratified_one_is_made(tmp_path):
    fill(tmp_path, [f"real/r{i}.wav" for i in range(10)] + [f"fake/f{i}.wav" for i in range(20)])
    train, dev = read("train", tmp_path), read("dev", tmp_path)
    assert (sum(u.label == 1 for u in train), sum(u.label == 0 for u in train)) == (8, 16)
    assert not {u.id for u in train} & {u.id for u in dev} and len(train) + len(dev) == 30
    assert [u.id for u in read("train", tmp_path)] == [u.id for u in train]
    assert {u.id for u in read("train", tmp_path, seed=1)} != {u.id for u in train}
    assert [u.id for u in read("eval", tmp_path)] == [u.id for u in dev]
    assert len(read("eval", tmp_path, train_share=0)) == 30


def test_other_names_of_partitions_and_classes(tmp_path):
    fill(tmp_path, ["Train/Genuine/a.wav", "Train/SPOOF/b.wav", "development/human/c.wav", "Test/Real/d.wav"])
    assert [(u.id, u.label) for u in read("train", tmp_path)] == [("a", 1), ("b", 0)]
    assert [(u.id, u.label) for u in read("dev", tmp_path)] == [("c", 1)]
    assert [(u.id, u.label) for u in read("eval", tmp_path)] == [("d", 1)]
    fill(tmp_path, ["val/real/e.wav"])
    with pytest.raises(InputError, match="holds development and val: one folder per partition was expected"):
        read("dev", tmp_path)


def test_class_folders_without_audio(tmp_path):
    fill(tmp_path, ["train/real/notes.txt", "train/fake/._b.wav"])
    with pytest.raises(InputError, match="train: there are no audio files in fake and real"):
        read("train", tmp_path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        read("train", tmp_path / "nowhere")
    with pytest.raises(InputError, match="no class folders"):
        read("train", tmp_path)
    fill(tmp_path, ["train/real/a.wav"])
    with pytest.raises(InputError, match="holds train but no dev folder"):
        read("dev", tmp_path)


def test_the_shared_sample_reads(shared):
    assert len(read("train", shared / "data" / "real_fake")) == 8
