from __future__ import annotations

import pytest
from tiny import touch

from deepfake.datasets.corpus import Corpus, Reader
from deepfake.datasets.layout import NoPartition
from deepfake.datasets.librispeech import SUBSETS, utterances
from deepfake.errors import InputError


@pytest.fixture
def root(tmp_path):
    base = tmp_path / "LibriSpeech"
    for subset, speaker in (("train-clean-100", "103"), ("train-other-500", "20"), ("test-clean", "1089")):
        files = [f"{speaker}-1240-{n:04d}.flac" for n in range(2)]
        touch(base / subset / speaker / "1240", f"{speaker}-1240.trans.txt", *files)
    return touch(base, "SPEAKERS.TXT")


def read(partition, root, **options):
    return Corpus("librispeech", Reader(utterances), {"root": str(root), **options}).select(partition, 0)


def test_subsets_are_partitions_and_all_is_bona_fide(root, caplog):
    held_out, train = read("eval", root.parent), read("train", root)
    assert [(u.id, u.speaker, u.label) for u in train[::2]] == [("103-1240-0000", "103", 1), ("20-1240-0000", "20", 1)]
    assert train[0].conditions == {"subset": "train-clean-100"} and train[0].partition == "train"
    assert [u.id for u in held_out] == ["1089-1240-0000", "1089-1240-0001"]
    assert "librispeech, test-clean: 2 trials, 2,620 were published" in caplog.text


def test_some_subsets(root):
    only = read("train", root, subsets=["train-other-500"])
    assert {u.speaker for u in only} == {"20"}
    with pytest.raises(NoPartition, match=r"librispeech has no eval partition: none of dataset.subsets is of it"):
        read("eval", root, subsets=["train-other-500"])


def test_the_published_sizes():
    sizes = {partition: sum(names.values()) for partition, names in SUBSETS.items()}
    assert sizes == {"train": 281241, "dev": 5567, "eval": 5559} and sum(sizes.values()) == 292367


def test_unusable_settings_are_refused(root, tmp_path):
    with pytest.raises(InputError, match=r"dataset.subsets=clean: some of train-clean-100"):
        read("train", root, subsets=["clean"])
    with pytest.raises(InputError, match=r"lacks dev-clean, dev-other, which partition dev is read from"):
        read("dev", root)
    with pytest.raises(InputError, match="lacks train-clean-360"):
        read("train", root, subsets=["train-clean-100", "train-clean-360"])
    with pytest.raises(InputError, match="is not a folder"):
        read("train", tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no train-clean-100"):
        read("train", root / "test-clean")
