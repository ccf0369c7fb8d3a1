from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deepfake.loading.sampler import SeededSampler


@given(st.integers(1, 50), st.integers(1, 4))
def test_scoring_reaches_every_item_and_gives_each_rank_equally_many(n, world_size):
    shards = [list(SeededSampler(n, seed=None, rank=r, world_size=world_size)) for r in range(world_size)]
    assert {i for shard in shards for i, _ in shard} == set(range(n))
    assert {len(shard) for shard in shards} == {len(SeededSampler(n, seed=None, world_size=world_size))}
    assert all(seed is None for shard in shards for _, seed in shard)


@given(st.integers(1, 50), st.integers(1, 4), st.integers(0, 3), st.integers(0, 5))
def test_training_shards_are_disjoint_equal_and_a_function_of_seed_and_epoch(n, world_size, seed, epoch):
    def shards():
        samplers = [SeededSampler(n, seed=seed, rank=r, world_size=world_size) for r in range(world_size)]
        for sampler in samplers:
            sampler.set_epoch(epoch)
        return [list(s) for s in samplers]

    first = shards()
    assert first == shards()
    indices = [i for shard in first for i, _ in shard]
    assert {len(s) for s in first} == {max(n // world_size, 1)}
    if n >= world_size:
        assert len(set(indices)) == len(indices)


def test_epochs_and_seeds_differ():
    def order(seed, epoch):
        sampler = SeededSampler(100, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 0) != order(0, 1) and order(0, 0) != order(1, 0)
    assert len({s for _, s in order(0, 0)}) == 100


def drawn(weights, *, seed=0, epoch=0, world_size=1, rank=0):
    sampler = SeededSampler(len(weights), seed=seed, rank=rank, world_size=world_size, weights=weights)
    sampler.set_epoch(epoch)
    return list(sampler)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 4.0]), min_size=2, max_size=50), st.integers(1, 4), st.integers(0, 5))
def test_weighted_ranks_are_slices_of_one_list_of_as_many_draws(weights, world_size, epoch):
    weights = [*weights, 2.0]
    shards = [drawn(weights, epoch=epoch, world_size=world_size, rank=r) for r in range(world_size)]
    n = max(len(weights) // world_size, 1)
    assert {len(shard) for shard in shards} == {n} == {len(SeededSampler(len(weights), seed=0, world_size=world_size))}
    assert shards == [drawn(weights, epoch=epoch, world_size=world_size, rank=r) for r in range(world_size)]
    if len(set(weights)) > 1:
        assert all(weights[i] > 0 for shard in shards for i, _ in shard)
    if len(weights) % world_size == 0:
        whole = drawn(weights, epoch=epoch)
        assert [shard[k] for k in range(n) for shard in shards] == whole
    assert len({seed for shard in shards for _, seed in shard}) == n * world_size


def test_weights_are_shares_of_the_draws():
    weights = [1 / 900] * 900 + [3 / 100] * 100  # three of four draws are of the last hundred
    order = [i for epoch in range(20) for i, _ in drawn(weights, epoch=epoch)]
    assert len(order) == 20000
    assert abs(sum(i >= 900 for i in order) / len(order) - 0.75) < 0.01
    assert drawn(weights, epoch=1) != drawn(weights, epoch=2) and drawn(weights, seed=1) != drawn(weights)


def test_without_different_weights_nothing_changes():
    """The order that runs of before weights had."""
    sampler = SeededSampler(6, seed=3)
    sampler.set_epoch(2)
    rng = np.random.default_rng([3, 2])
    before = list(zip(rng.permutation(6).tolist(), rng.integers(2**63, size=6).tolist(), strict=True))
    assert list(sampler) == before == drawn([2.0] * 6, seed=3, epoch=2)


def test_scoring_takes_no_notice_of_weights():
    assert list(SeededSampler(3, seed=None, weights=[0, 1, 9])) == [(0, None), (1, None), (2, None)]
