from __future__ import annotations

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
