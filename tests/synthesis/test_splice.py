"""Splices: a stretch of spoofed speech in bona fide speech."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake.synthesis.splice import FADE, random_stretch, spliced


def test_only_the_stretch_differs_and_it_is_as_loud_as_what_it_replaces():
    rng = np.random.default_rng(0)
    bonafide, spoof = rng.standard_normal((2, 16000))
    made = spliced(bonafide, 7 * spoof, 5000, 9000)
    differs = np.flatnonzero(made != bonafide)
    assert differs[0] == 5000 - FADE // 2 and differs[-1] == 9000 + FADE // 2 - 1
    inner = slice(5000 + FADE // 2, 9000 - FADE // 2)
    ratio = made[inner] / spoof[inner]
    assert np.ptp(ratio) < 1e-12 and 0.9 < ratio[0] < 1.1
    middle = spliced(np.ones(16000), -np.ones(16000), 5000, 9000)
    assert middle[4999] > 0 > middle[5000] and np.all(np.diff(middle[4900:5100]) <= 0)


@settings(max_examples=50, deadline=None)
@given(st.integers(8000, 100_000), st.integers(0, 1000))
def test_a_stretch_lies_inside(n, seed):
    rng = np.random.default_rng(seed)
    start, end = random_stretch(rng.standard_normal(n), rng)
    assert FADE <= start < end <= n - FADE
    assert 0.2 * n < end - start <= 0.5 * n or 6400 <= end - start <= 32000


def test_a_stretch_is_not_in_a_pause():
    for seed in range(20):
        speech = np.random.default_rng(seed).standard_normal(64000) * (np.arange(64000) > 32000)
        start, end = random_stretch(speech, np.random.default_rng(seed))
        assert np.mean(speech[start:end] ** 2) > 0.2
