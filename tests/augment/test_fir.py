from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake.augment.fir import filtered


@given(n=st.integers(1, 300), half=st.integers(0, 200), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_centred_convolution_of_any_sizes(n, half, seed):
    rng = np.random.default_rng(seed)
    x, taps = rng.standard_normal(n), rng.standard_normal(2 * half + 1)
    expected = np.convolve(np.pad(x, half), taps, mode="valid")
    np.testing.assert_allclose(filtered(x, taps), expected, atol=1e-9)
