"""Windows of blocks against slices of the whole, and the mirror against numpy's."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepfake.audio.windows import Cutter, mirrored


@given(data=st.data(), n_samples=st.integers(1, 100), n=st.integers(1, 12))
def test_windows_of_blocks_are_slices_of_the_whole(data, n_samples, n):
    hop = data.draw(st.integers(1, n))
    borders = sorted(data.draw(st.lists(st.integers(0, n_samples), max_size=5)))
    whole, cutter = torch.arange(n_samples), Cutter(n, hop)
    windows = []
    for block in whole.tensor_split(borders):
        windows += cutter.take(block.float())
    starts = range(0, max(n_samples - n, 0), hop)  # of those that end before the whole does
    assert [w.tolist() for w in windows] == [whole[i : i + n].tolist() for i in starts]
    assert (cutter.n_cut, cutter.n_taken) == (len(starts), n_samples)
    assert cutter.last.tolist() == whole[-n:].tolist()
    assert cutter.rest.tolist() == whole[len(starts) * hop :].tolist() and 0 < len(cutter.rest) <= n


@given(n=st.integers(1, 30), n_samples=st.integers(1, 100))
def test_mirroring_is_numpys(n, n_samples):
    got = mirrored(torch.arange(n), n_samples).tolist()
    assert got == np.pad(np.arange(n), (0, max(n_samples - n, 0)), mode="symmetric")[:n_samples].tolist()
