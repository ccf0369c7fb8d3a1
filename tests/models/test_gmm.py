"""Two Gaussian mixtures: their score, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from deepfake.errors import InputError
from deepfake.models.gmm import GaussianMixtures


def drawn(n_components: int, n_channels: int, seed: int, offset: float = 0.0) -> GaussianMixtures:
    torch.manual_seed(seed)
    model = GaussianMixtures(in_channels=n_channels, n_components=n_components)
    with torch.no_grad():
        model.means.add_(offset)
        model.log_weights.copy_(torch.randn(2, n_components))
        model.log_variances.copy_(torch.randn(2, n_components, n_channels))
    return model


def theirs(model: GaussianMixtures, label: int) -> GaussianMixture:
    """The same mixture as scikit-learn has it."""
    weights, means, log_variances = (
        p[label].detach().double() for p in (model.log_weights.softmax(1), model.means, model.log_variances)
    )
    other = GaussianMixture(len(weights), covariance_type="diag")
    other.weights_, other.means_ = weights.numpy(), means.numpy()
    other.precisions_cholesky_ = (-log_variances / 2).exp().numpy()
    return other


@pytest.mark.parametrize("offset", [0.0, -20.0])
def test_score_is_the_difference_of_mean_log_likelihoods(offset: float) -> None:
    model = drawn(5, 12, seed=0, offset=offset)
    features = offset + 2 * torch.randn(3, 12, 40)
    expected = [[theirs(model, label).score(clip.T.numpy()) for label in (0, 1)] for clip in features]
    embedded, score = model.embed(features).detach().numpy(), model(features).detach().numpy()
    np.testing.assert_allclose(embedded, expected, rtol=1e-5)
    np.testing.assert_allclose(score[:, 0], np.diff(expected)[:, 0], rtol=1e-4, atol=1e-4)
    of_frames = theirs(model, 1).score_samples(features[0].T.numpy())
    np.testing.assert_allclose(model.log_likelihoods(features)[0, :, 1].detach(), of_frames, rtol=1e-4)


def test_order_in_time_does_not_matter_and_batches_neither() -> None:
    model = drawn(3, 4, seed=1)
    features = torch.randn(3, 4, 30)
    shuffled = features[:, :, torch.randperm(30)]
    torch.testing.assert_close(model(shuffled), model(features), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model(features[1:2]), model(features)[1:2], rtol=1e-5, atol=1e-5)


def test_gradients_of_features_and_parameters() -> None:
    model = drawn(3, 4, seed=2).double()
    features = torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(model, (features,))
    model(features).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


def test_far_from_every_component_the_score_stays_finite() -> None:
    features = torch.full((1, 4, 3), 1e6, requires_grad=True)
    score = drawn(3, 4, seed=3)(features)
    score.sum().backward()
    assert score.isfinite().all() and features.grad is not None and features.grad.isfinite().all()


def test_a_mixture_is_put_in_its_class() -> None:
    model = drawn(2, 3, seed=4)
    before = model.means[0].clone()
    model.put(1, torch.tensor([0.25, 0.75]).log(), torch.ones(2, 3), torch.full((2, 3), 0.5))
    assert torch.equal(model.means[0], before) and (model.means[1] == 1).all()
    assert theirs(model, 1).weights_ == pytest.approx([0.25, 0.75])
    assert theirs(model, 0).score(np.zeros((1, 3))) != theirs(model, 1).score(np.zeros((1, 3)))


def test_what_it_cannot_be_made_of_is_said() -> None:
    with pytest.raises(InputError, match="raw audio"):
        GaussianMixtures(in_channels=1)
    with pytest.raises(InputError, match="n_components=0"):
        GaussianMixtures(in_channels=60, n_components=0)
    with pytest.raises(InputError, match=r"\[B, 60, L\] was expected"):
        GaussianMixtures(in_channels=60, n_components=2)(torch.randn(1, 20, 9))
