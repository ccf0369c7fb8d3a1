from __future__ import annotations

import pytest
from tiny import touch

from deepfake.datasets.corpus import Corpus, Reader
from deepfake.datasets.fake_or_real import VARIANTS, utterances
from deepfake.errors import InputError

FILES = [
    f"{part}/{c}/file{n}.wav" for part in ("training", "validation", "testing") for c in ("real", "fake") for n in "12"
]


def read(partition, root, **options):
    return Corpus("for", Reader(utterances), {"root": str(root), **options}).select(partition, 0)


@pytest.mark.parametrize(
    ("variant", "folder", "root"),
    [
        ("for-norm", "for-norm", "."),
        ("for-norm", "for-norm", "for-norm"),
        ("for-norm", "for-norm/for-norm", "."),
        ("for-2sec", "for-2seconds", "."),
        ("for-2sec", "for-2sec/for-2seconds", "for-2sec"),
        ("for-rerec", "for-rerec/for-rerecorded", "."),
        ("for-original", "for-original", "."),
    ],
)
def test_each_variant_where_its_archive_puts_it(tmp_path, variant, folder, root, caplog):
    touch(tmp_path / folder, *FILES)
    train = read("train", tmp_path / root, variant=variant)
    assert [(u.id, u.label) for u in train] == [
        ("training-fake-file1", 0),
        ("training-fake-file2", 0),
        ("training-real-file1", 1),
        ("training-real-file2", 1),
    ]
    assert {len(read(p, tmp_path / root, variant=variant)) for p in ("dev", "eval")} == {4}
    assert ("were published" in caplog.text) == (variant != "for-original")


def test_the_published_sizes(tmp_path, caplog):
    touch(tmp_path / "for-norm", *FILES)
    read("eval", tmp_path)
    assert "fake_or_real, for-norm, partition eval: 4 trials, 4,634 were published" in caplog.text
    assert {variant: sum(trials.values()) for variant, (_, trials) in VARIANTS.items()} == {
        "for-original": 0,
        "for-norm": 69300,
        "for-2sec": 17870,
        "for-rerec": 13268,
    }


def test_unusable_settings_are_refused(tmp_path):
    touch(tmp_path / "for-2seconds", *FILES)
    with pytest.raises(InputError, match=r"dataset.variant=norm: one of for-original, for-norm"):
        read("dev", tmp_path, variant="norm")
    with pytest.raises(InputError, match=r"holds no training.*give the folder for-norm or the one that holds it"):
        read("dev", tmp_path)
    with pytest.raises(InputError, match=r"for-2seconds may be any variant, as its name is not for-norm"):
        read("dev", tmp_path / "for-2seconds")
    touch(tmp_path / "for-norm", *FILES[:4])
    with pytest.raises(InputError, match=r"holds training but no eval folder"):
        read("eval", tmp_path)
