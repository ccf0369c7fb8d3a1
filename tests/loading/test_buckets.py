"""Batches by seconds: every utterance once, the bound, ranks, draws by weight, runs on clips of their own length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from interrupted import train_until, train_without_report, with_any_workers
from omegaconf import OmegaConf
from tiny import compose, write_audio

from deepfake import run
from deepfake.datasets.corpus import Corpus
from deepfake.errors import InputError
from deepfake.loading.buckets import BucketSampler, buckets

LENGTHS = st.lists(st.integers(100, 1000), min_size=2, max_size=80)


def epoch_of(found, most, *, seed=0, epoch=0, world_size=1, weights=None):
    """The batches of each rank."""
    samplers = [
        BucketSampler(found, most, seed=seed, rank=rank, world_size=world_size, weights=weights)
        for rank in range(world_size)
    ]
    for sampler in samplers:
        sampler.sampler.set_epoch(epoch)
    assert len({len(sampler) for sampler in samplers}) == 1
    shards = [list(sampler) for sampler in samplers]
    assert [len(shard) for shard in shards] == [len(samplers[0])] * world_size
    return shards


@given(LENGTHS)
@example([100, 100, 100, 1000])
@example([1000, 100])
@example([1000, 995, 100, 100])
def test_a_bucket_holds_utterances_of_like_lengths_and_none_is_alone(lengths):
    found = buckets(lengths)
    assert sorted(i for b in found for i in b.members) == list(range(len(lengths)))
    for b in found:
        own = sorted((lengths[i] for i in b.members), reverse=True)
        assert b.n_drawn == len(own) >= 2
        assert b.n_samples in own[-2:]  # the shortest, or the last but one where the shortest is alone
        if len(own) > 3:
            assert own[0] <= 1.1 * own[-2]
    assert [b.n_samples for b in found] == sorted((b.n_samples for b in found), reverse=True)


def test_buckets_by_hand():
    lengths = [1000, 950, 910, 909, 500, 480, 300, 200]
    found = [(b.members.tolist(), b.n_samples) for b in buckets(lengths)]
    assert found == [([0, 1, 2], 910), ([3, 4], 500), ([5, 6, 7], 300)]


@given(LENGTHS, st.integers(1000, 5000), st.integers(1, 4), st.integers(0, 3), st.integers(0, 5))
@example([100] * 2, 1000, 4, 0, 0)
def test_each_utterance_comes_once_in_batches_within_the_bound(lengths, most, world_size, seed, epoch):
    found = buckets(lengths)
    shards = epoch_of(found, most, seed=seed, epoch=epoch, world_size=world_size)
    assert shards == epoch_of(found, most, seed=seed, epoch=epoch, world_size=world_size)
    indices = [i for shard in shards for batch in shard for i, _ in batch]
    batches = [batch for shard in shards for batch in shard]
    alone = all(len(batch) == 1 for batch in batches)
    assert alone or sorted(indices) == list(range(len(lengths)))
    length = {i: b.n_samples for b in found for i in b.members.tolist()}
    for batch in batches:
        (own,) = {length[i] for i, _ in batch}
        assert len(batch) >= 1 and len(batch) * own <= most
    if not alone or len(lengths) % world_size == 0:
        assert len({seed for batch in batches for _, seed in batch}) == len(lengths)


def test_batches_of_single_clips_leave_some_out_or_repeat_some():
    found = buckets([700, 700, 700])
    assert sorted(i for shard in epoch_of(found, 1000) for [(i, _)] in shard) == [0, 1, 2]
    two = [i for shard in epoch_of(found, 1000, world_size=2) for [(i, _)] in shard]
    assert len(set(two)) == len(two) == 2
    assert len({tuple(sorted(i for s in epoch_of(found, 1000, epoch=e, world_size=2) for [(i, _)] in s))
                for e in range(9)}) > 1  # fmt: skip
    four = [i for shard in epoch_of(found, 1000, world_size=4) for [(i, _)] in shard]
    assert len(four) == 4 and set(four) == {0, 1, 2}


def test_epochs_and_seeds_differ_and_the_ranks_of_a_step_have_like_lengths():
    lengths = np.random.default_rng(0).integers(100, 1000, 400).tolist()
    found = buckets(lengths)
    first = epoch_of(found, 3000)
    assert first != epoch_of(found, 3000, epoch=1) and first != epoch_of(found, 3000, seed=1)
    length = {i: b.n_samples for b in found for i in b.members.tolist()}
    steps = zip(*epoch_of(found, 3000, world_size=2), strict=True)
    pairs = [[length[batch[0][0]] for batch in step] for step in steps]
    assert all(max(pair) <= 1.25 * min(pair) for pair in pairs)
    assert np.corrcoef(range(len(pairs)), [a for a, _ in pairs])[0, 1] < 0.5  # steps are shuffled
    sizes = [len(batch) * length[batch[0][0]] for batch in first[0]]
    assert np.mean(sizes) > 0.75 * 3000


def test_draws_by_weight_keep_their_shares_and_the_number_of_steps():
    rng = np.random.default_rng(0)
    lengths = [*rng.integers(100, 500, 300), *rng.integers(400, 1000, 100), 1000]
    weights = [1 / 900] * 300 + [3 / 100] * 100 + [0.0]  # of 10 draws 9 are of the second part
    found = buckets(lengths, weights)
    assert sum(b.n_drawn for b in found) == 401
    assert not any(400 in b.members for b in found)
    epochs = [epoch_of(found, 5000, epoch=epoch, weights=weights)[0] for epoch in range(40)]
    assert len({len(batches) for batches in epochs}) == 1
    drawn = np.array([i for batches in epochs for batch in batches for i, _ in batch])
    assert len(drawn) == 40 * 401 and abs(np.mean(drawn >= 300) - 0.9) < 0.01


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Ten training files of 0.4 to 2.2 s, and four of dev."""
    root = tmp_path_factory.mktemp("own lengths")
    for i in range(10):
        kind = ("real", "fake")[i % 2]
        write_audio(root / "train" / kind / f"{i}.wav", spoof=i % 2 == 1, seed=i, seconds=0.4 + 0.2 * i)
    for i in range(4):
        kind = ("real", "fake")[i % 2]
        write_audio(root / "dev" / kind / f"dev{i}.wav", spoof=i % 2 == 1, seed=50 + i)
    return root


def own_lengths(corpus, folder, *more):
    """A run on batches of at most 4 s, of clips of at most 2 s."""
    how = ("seconds=0.5", "train_seconds=2.0", "batch_seconds=4.0", "num_workers=0", "trainer.accelerator=cpu")
    how += ("trainer.max_epochs=3", "model.dropout=0.3", "augment=[gain,mixup]")
    return compose("dataset=folder", f"dataset.root='{corpus}'", f"run_dir={folder}", *how, *more)


def data_of(cfg):
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    data = run._composed(plain, Corpus.of(plain["dataset"]))[1].datamodule
    data.prepare_data()
    return data


@pytest.mark.parametrize("cache", ["false", "true"])
def test_clips_have_the_length_of_their_utterance_from_one_second_to_the_longest(corpus, tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    data = data_of(own_lengths(corpus, tmp_path / "run", f"dataset.cache={cache}"))
    loader = data.train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader)
    found = {i: batch["waveform"].shape[1] / 16000 for batch in batches for i in batch["index"].tolist()}
    seconds = {data.train[i].id: found[i] for i in found}
    own = {name: 0.4 + 0.2 * int(name.rpartition("/")[2].removesuffix(".wav")) for name in seconds}
    assert len(seconds) == 10
    for name, cropped in seconds.items():
        longest = min(max(own[name], 1.0), 2.0)
        assert longest / 1.45 <= cropped <= longest + 1e-6, name  # of ten files, few are of like lengths
    assert {round(s, 3) for s in seconds.values()} >= {1.0, 2.0}
    assert all(batch["waveform"].shape[0] * batch["waveform"].shape[1] <= 64000 for batch in batches)


def test_spliced_clips_have_one_length_too(corpus, tmp_path):
    data = data_of(own_lengths(corpus, tmp_path, "task=localisation", "model=frame_cnn", "augment=[]"))
    from deepfake.loading.splices import Splices

    data.clips["train"] = Splices
    batches = list(data.train_dataloader())
    assert sum(len(batch["label"]) for batch in batches) == 10
    for batch in batches:
        assert batch["spoofed"].shape[1] == -(-batch["waveform"].shape[1] // 160)


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    train_without_report(own_lengths(corpus, folder))
    return folder


@with_any_workers
def test_a_resumed_run_on_own_lengths_equals_an_uninterrupted_one(corpus, whole, tmp_path, workers):
    train_until(own_lengths(corpus, tmp_path, f"num_workers={workers}"), epoch=1, step=2)
    train_without_report(compose(f"resume={tmp_path}"))
    ours, theirs = (torch.load(folder / "detector.pt", weights_only=True)["state_dict"] for folder in (whole, tmp_path))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    last = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)
    assert (
        last["global_step"]
        == last["lr_schedulers"][0]["T_max"]
        == 3 * len(data_of(own_lengths(corpus, tmp_path / "other")).train_dataloader())
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["batch_seconds=1.5"], "batch_seconds=1.5: at least the longest clip was expected, that of train_seconds=2.0"),
        (["batch_seconds=0"], "batch_seconds=0: something above zero, or null, was expected"),
        (["task.compile=true"], "task.compile=true with batch_seconds: clips of one length were expected"),
        (
            ["task=wgan_gp", "model=wgan_gp_critic", "callbacks=wgan_gp", "~model.dropout"],
            "task=wgan_gp with batch_seconds: clips of one length were expected",
        ),
    ],
)
def test_what_does_not_go_with_own_lengths_is_refused(corpus, tmp_path, monkeypatch, more, message):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    with pytest.raises(InputError) as caught:
        run.train(own_lengths(corpus, tmp_path, *more))
    assert str(caught.value).startswith(message)
