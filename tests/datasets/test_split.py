from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepfake.datasets.layout import NoPartition
from deepfake.datasets.split import split
from deepfake.datasets.utterance import PARTITIONS, Utterance
from deepfake.errors import InputError


def parts(utterances, **options):
    options = {"train_share": 0.6, "seed": 0, "source": "corpus"} | options
    return {p: split(utterances, p, **options) for p in PARTITIONS}


people = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 1)), min_size=1, max_size=40)


@given(people, st.floats(0.05, 0.95), st.integers(0, 9), st.randoms())
def test_every_utterance_is_in_one_partition_and_every_speaker_too(listed, share, seed, random):
    corpus = [Utterance(f"u{i}", "", label, speaker=speaker) for i, (speaker, label) in enumerate(listed)]
    found = parts(corpus, train_share=share, seed=seed)
    assert Counter(u.id for us in found.values() for u in us) == Counter(u.id for u in corpus)
    speakers = [{u.speaker for u in us} for us in found.values()]
    assert sum(map(len, speakers)) == len(set().union(*speakers))
    assert all(u.partition == p for p, us in found.items() for u in us)
    again = parts(random.sample(corpus, len(corpus)), train_share=share, seed=seed)
    assert {p: {u.id for u in us} for p, us in again.items()} == {p: {u.id for u in us} for p, us in found.items()}


def test_shares_hold_in_each_class():
    corpus = [Utterance(f"u{i}", "", int(i < 100)) for i in range(300)]
    found = parts(corpus)
    counts = {p: (sum(u.label == 1 for u in us), sum(u.label == 0 for u in us)) for p, us in found.items()}
    assert counts == {"train": (60, 120), "dev": (20, 40), "eval": (20, 40)}
    assert [u.id for u in parts(corpus, seed=1)["train"]] != [u.id for u in found["train"]]


def test_what_is_kept_together_can_be_something_else():
    corpus = [Utterance(f"{system}-{i}", "", 0) for system in "ab" for i in range(30)]
    found = parts(corpus, group=lambda u: u.id[2:])
    sentences = [{u.id[2:] for u in us} for us in found.values()]
    assert [len(s) for s in sentences] == [18, 6, 6] and len(set().union(*sentences)) == 30


def test_without_a_share_all_of_it_is_eval():
    corpus = [Utterance("a", "", 1), Utterance("b", "", 0)]
    assert [(u.id, u.partition) for u in split(corpus, "eval", train_share=0, seed=0, source="c")] == [
        ("a", "eval"),
        ("b", "eval"),
    ]
    for partition in ("train", "dev"):
        with pytest.raises(NoPartition, match=r"c was published without a split.*dataset.train_share=0.8"):
            split(corpus, partition, train_share=0, seed=0, source="c")


@pytest.mark.parametrize(("share", "seed"), [(1, 0), (-0.1, 0), (0.5, -1)])
def test_a_share_or_seed_out_of_range_is_refused(share, seed):
    with pytest.raises(InputError, match="a share from 0 to below 1 and a seed from 0"):
        split([], "train", train_share=share, seed=seed, source="c")
