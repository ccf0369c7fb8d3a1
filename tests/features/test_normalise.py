"""Normalisation: the statistics are numpy's however the data is cut, and travel with the weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake.errors import InputError
from deepfake.features.normalise import Normalise


def fit(batches: list[torch.Tensor]) -> Normalise:
    normalise = Normalise("train_stats", batches[0].shape[1])
    for batch in batches:
        normalise.update(batch)
    normalise.finish()
    return normalise


def test_none_changes_nothing():
    features = torch.randn(2, 3, 5)
    assert Normalise("none", 3)(features) is features


def test_utterance_is_per_clip_and_channel():
    features = torch.randn(4, 3, 50) * torch.tensor([1.0, 10.0, 0.1])[:, None] + 7.0
    out = Normalise("utterance", 3)(features)
    assert out.mean(dim=-1).abs().max() < 1e-4
    assert (out.std(dim=-1, correction=0) - 1).abs().max() < 1e-4
    assert torch.allclose(out[2], Normalise("utterance", 3)(features[2:3])[0], atol=1e-6)


@pytest.mark.parametrize("mode", ["utterance", "train_stats"])
def test_constant_channels_and_single_frames_stay_finite(mode):
    features = torch.full((2, 3, 1), 5.0)
    normalise = fit([features]) if mode == "train_stats" else Normalise(mode, 3)
    assert normalise(features).abs().max() < 1e-3


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9)), min_size=1, max_size=8), st.floats(-1e4, 1e4))
def test_streaming_statistics_are_numpys(shapes, offset):
    rng = np.random.default_rng(len(shapes))
    batches = [rng.normal(offset, 0.1, size=(b, 2, n)) for b, n in shapes]
    frames = np.concatenate([batch.transpose(1, 0, 2).reshape(2, -1) for batch in batches], axis=1)
    if frames.shape[1] == 0:
        with pytest.raises(InputError):
            fit([torch.from_numpy(batch) for batch in batches])
        return
    normalise = fit([torch.from_numpy(batch) for batch in batches])
    np.testing.assert_allclose(normalise.mean.numpy(), frames.mean(axis=1), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(normalise.std.numpy(), np.maximum(frames.std(axis=1), 1e-5), rtol=1e-6)


def test_train_stats_standardise_what_they_were_fitted_on():
    features = torch.randn(8, 3, 40) * 4 + 2
    out = fit(list(features.split(3)))(features)
    assert out.mean(dim=(0, 2)).abs().max() < 1e-5
    assert (out.std(dim=(0, 2), correction=0) - 1).abs().max() < 1e-5


def test_before_fitting_it_says_so():
    normalise = Normalise("train_stats", 3)
    assert not normalise.fitted
    with pytest.raises(InputError, match="not fitted"):
        normalise(torch.zeros(1, 3, 4))


def test_state_dict_restores_the_fit():
    features = torch.randn(4, 3, 40)
    fitted, fresh = fit([features]), Normalise("train_stats", 3)
    fresh.load_state_dict(fitted.state_dict())
    assert fresh.fitted
    assert torch.equal(fresh(features), fitted(features))
    fresh.load_state_dict(Normalise("train_stats", 3).state_dict())  # and an unfitted one takes it away
    with pytest.raises(InputError, match="not fitted"):
        fresh(features)


def test_only_train_stats_has_anything_to_save():
    assert not Normalise("none", 3).state_dict()
    assert not Normalise("utterance", 3).state_dict()
    assert set(Normalise("train_stats", 3).state_dict()) == {"mean", "std", "fitted"}


def test_what_cannot_be_fitted():
    with pytest.raises(InputError, match="none, utterance, train_stats"):
        Normalise("global", 3)
    with pytest.raises(InputError, match="no statistics to fit"):
        Normalise("none", 3).finish()
    with pytest.raises(InputError, match="0 frames"):
        Normalise("train_stats", 3).finish()
    with pytest.raises(InputError, match="finite frames were expected"):
        fit([torch.full((1, 3, 4), torch.nan)])
