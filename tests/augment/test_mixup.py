from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake.augment.mixup import Mixup


def rngs(n: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, i]) for i in range(n)]


@given(n=st.integers(2, 9), seed=st.integers(0, 99), alpha=st.sampled_from([0.1, 0.4, 1.0, 8.0]))
@settings(max_examples=40, deadline=None)
def test_clips_and_labels_are_mixed_alike(n, seed, alpha):
    waveform, label = torch.eye(n), torch.arange(n) % 2  # whose parts can be read off
    before = waveform.clone()
    mixed, y = Mixup(alpha=alpha)(waveform, label, rngs(n, seed))
    assert torch.equal(waveform, before)
    assert mixed.dtype == y.dtype == torch.float32
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(n))  # weights sum to 1
    assert ((mixed > 0).sum(dim=1) <= 2).all()  # of two clips at most, one of them its own
    torch.testing.assert_close(y, mixed @ label.float())
    again = Mixup(alpha=alpha)(waveform, label, rngs(n, seed))
    assert torch.equal(again[0], mixed)


def test_an_item_depends_on_its_own_generator():
    waveform, label = torch.eye(4), torch.tensor([0, 1, 0, 1])
    one, other = rngs(4), [*rngs(4)[:1], *rngs(4, seed=1)[1:]]
    assert torch.equal(Mixup()(waveform, label, one)[0][0], Mixup()(waveform, label, other)[0][0])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_weights_are_of_the_beta_distribution(alpha):
    weights = []
    for seed in range(2_000):
        weights += Mixup(alpha=alpha)(torch.eye(2), torch.tensor([0, 1]), rngs(2, seed))[0].diagonal().tolist()
    assert np.mean(weights) == pytest.approx(0.5, abs=0.02)
    assert np.var(weights) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.06)


def test_partners_are_any_but_itself():
    seen = set()
    for seed in range(200):
        mixed = Mixup(alpha=5.0)(torch.eye(4), torch.zeros(4), rngs(4, seed))[0]
        seen |= {(i, j) for i in range(4) for j in range(4) if i != j and mixed[i, j] > 0}
    assert len(seen) == 12


def test_one_alone_and_none():
    waveform, label = torch.ones(1, 5), torch.tensor([1])
    assert torch.equal(Mixup()(waveform, label, rngs(1))[0], waveform)
    mixed, y = Mixup(p=0)(torch.eye(3), torch.tensor([0, 1, 1]), rngs(3))
    assert torch.equal(mixed, torch.eye(3))
    assert y.tolist() == [0, 1, 1]


def test_batched():
    assert Mixup.batched


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_device():
    mixed, y = Mixup()(torch.eye(4).cuda(), torch.tensor([0, 1, 0, 1]).cuda(), rngs(4))
    assert mixed.is_cuda
    assert y.is_cuda
