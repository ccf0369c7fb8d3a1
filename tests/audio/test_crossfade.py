"""Crossfades: one inside, half at the edges, nothing outside."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake.audio.crossfade import crossfade


@settings(max_examples=50, deadline=None)
@given(start=st.integers(0, 900), n=st.integers(1, 1000), fade=st.integers(0, 200))
def test_the_window_is_one_inside_and_half_at_its_edges(start, n, fade):
    window = crossfade(2000, start, start + n, fade).numpy()
    at = np.arange(2000) + 0.5
    deep = (at > start + fade / 2) & (at < start + n - fade / 2)
    outside = (at < start - max(fade, 1) / 2) | (at > start + n + max(fade, 1) / 2)
    assert np.allclose(window[deep], 1, atol=1e-6) or fade == 0
    assert np.allclose(window[outside], 0, atol=1e-6)
    assert ((window > 0.5) == ((at > start) & (at < start + n))).all()
