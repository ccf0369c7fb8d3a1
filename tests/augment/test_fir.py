from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import firwin

from deepfake.augment.fir import N_TAPS, filtered


@pytest.mark.parametrize(("cutoff", "options"), [(1_000.0, {}), ([300.0, 3_400.0], {"pass_zero": False})])
def test_centred_convolution_of_clips_of_any_length(cutoff, options):
    @given(n=st.integers(1, 1_200), seed=st.integers(0, 99))
    @settings(max_examples=20, deadline=None)
    def holds(n, seed):
        x = np.random.default_rng(seed).standard_normal(n)
        taps: Any = firwin(N_TAPS, cutoff, fs=16_000, **options)
        expected = np.convolve(np.pad(x, N_TAPS // 2), taps, mode="valid")
        np.testing.assert_allclose(filtered(x, cutoff, 16_000, **options), expected, atol=1e-9)

    holds()
