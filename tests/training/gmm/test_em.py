"""Expectation maximisation, against a slow loop and scikit-learn."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.mixture import GaussianMixture

from deepfake.training.gmm.em import Mixture, e_step, fit_mixture, initial_mixture, m_step, standardise

FIT = {"max_iterations": 30, "tolerance": -math.inf, "variance_floor": 1e-3}


def clouds(n: int = 600, n_channels: int = 3, seed: int = 0) -> torch.Tensor:
    """Frames about four centres, each channel of its own width."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.standard_normal((4, n_channels))
    frames = centres[rng.integers(0, 4, n)] + rng.uniform(0.2, 1.5, n_channels) * rng.standard_normal((n, n_channels))
    return torch.from_numpy(frames.astype(np.float32))


def begun(frames: torch.Tensor, n_components: int, seed: int = 0) -> Mixture:
    return initial_mixture(frames, n_components, torch.Generator().manual_seed(seed))


def slow_step(frames: np.ndarray, mixture: Mixture, floor: float) -> tuple[tuple[np.ndarray, ...], float]:
    """One iteration frame by frame, component by component."""
    weights, means, variances = (
        x.numpy() for x in (mixture.log_weights.exp(), mixture.means, mixture.log_variances.exp())
    )
    k, c = means.shape
    counts, sums, squares, likelihood = np.zeros(k), np.zeros((k, c)), np.zeros((k, c)), 0.0
    for x in frames.astype(np.float64):
        densities = [w * np.prod(norm.pdf(x, m, np.sqrt(v))) for w, m, v in zip(weights, means, variances, strict=True)]
        likelihood += math.log(sum(densities))
        for j in range(k):
            share = densities[j] / sum(densities)
            counts[j] += share
            sums[j] += share * x
            squares[j] += share * x**2
    new = sums / counts[:, None]
    return (counts / len(frames), new, np.maximum(squares / counts[:, None] - new**2, floor)), likelihood / len(frames)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
@pytest.mark.parametrize("floor", [1e-3, 0.4])
def test_a_step_is_that_of_a_slow_loop(floor, dtype, tolerance):
    frames = clouds(200).to(dtype)
    standardise(frames)
    mixture = begun(frames, 5)
    for _ in range(3):
        (weights, means, variances), likelihood = slow_step(frames.numpy(), mixture, floor)
        moments, got = e_step(frames, mixture, "cpu", chunk=64)
        mixture = m_step(moments, floor)
        assert got == pytest.approx(likelihood, abs=tolerance)
        np.testing.assert_allclose(mixture.log_weights.exp(), weights, atol=tolerance)
        np.testing.assert_allclose(mixture.means, means, atol=tolerance)
        np.testing.assert_allclose(mixture.log_variances.exp(), variances, atol=tolerance)
    assert (variances == floor).any() == (floor == 0.4)


def test_from_one_start_it_ends_where_sklearn_does():
    frames = clouds(2000, 6)
    standardise(frames)
    start = begun(frames, 4)
    theirs = GaussianMixture(
        4, covariance_type="diag", max_iter=30, tol=0, reg_covar=0, weights_init=start.log_weights.exp().numpy(),
        means_init=start.means.numpy(), precisions_init=np.ones((4, 6)),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is stopped before it converges
        theirs.fit(frames.double().numpy())
    *_, (mixture, likelihood) = fit_mixture(frames, start, **FIT)
    assert likelihood == pytest.approx(theirs.lower_bound_, abs=1e-4)
    np.testing.assert_allclose(mixture.means, theirs.means_, atol=1e-3)
    np.testing.assert_allclose(mixture.log_variances.exp(), theirs.covariances_, atol=1e-3)
    np.testing.assert_allclose(mixture.log_weights.exp(), theirs.weights_, atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_the_likelihood_never_falls_and_the_fit_ends_when_it_hardly_grows(seed):
    frames = clouds(500, 8, seed)
    standardise(frames)
    run = [likelihood for _, likelihood in fit_mixture(frames, begun(frames, 6, seed), **FIT)]
    gains = np.diff(run)
    assert len(run) == 30 and gains.min() > -1e-6 and gains[0] > 0.1
    short = [x for _, x in fit_mixture(frames, begun(frames, 6, seed), **{**FIT, "tolerance": 0.02})]
    n = int(np.argmax(gains < 0.02)) + 2  # the likelihood of iteration n tells what the one before it gained
    assert 2 < n < 30 and short == run[:n]


def test_chunks_do_not_matter():
    frames = clouds(1000, 20)
    standardise(frames)
    mixture = begun(frames, 8)
    whole, likelihood = e_step(frames, mixture, "cpu", chunk=1000)
    for chunk in (1, 7, 64, 999):
        moments, other = e_step(frames, mixture, "cpu", chunk=chunk)
        assert other == pytest.approx(likelihood, abs=1e-6)
        torch.testing.assert_close(moments / 1000, whole / 1000, rtol=1e-6, atol=1e-6)


def test_scale_and_place_of_the_frames_do_not_matter():
    frames, scaled = clouds(), clouds()
    scale, place = torch.tensor([1e-4, 1.0, 1e4]), torch.tensor([3.0, -50.0, 1e5])
    scaled = scaled * scale + place
    ends = []
    for x in (frames, scaled):
        mean, std = standardise(x)
        assert x.mean(0).abs().max() < 1e-4 and (x.std(0, correction=0) - 1).abs().max() < 1e-4
        *_, (mixture, _) = fit_mixture(x, begun(x, 4), **FIT)
        ends.append(mixture.rescaled(mean, std))
    np.testing.assert_allclose(ends[0].means * scale + place, ends[1].means, rtol=1e-2)
    np.testing.assert_allclose(ends[0].log_variances + 2 * scale.log(), ends[1].log_variances, atol=0.05)


def test_moved_there_and_back():
    mean, std = torch.tensor([1.0, -20.0]).double(), torch.tensor([0.1, 7.0]).double()
    mixture = Mixture(torch.zeros(1).double(), torch.randn(1, 2).double(), torch.randn(1, 2).double())
    for there, back in zip(mixture, mixture.rescaled(mean, std).rescaled(-mean / std, 1 / std), strict=True):
        torch.testing.assert_close(there, back)


def test_constant_channels_equal_frames_and_empty_components_stay_finite():
    frames = torch.ones(50, 3)
    frames[:, 1] = torch.arange(50) % 2
    mean, std = standardise(frames)
    assert mean.tolist() == pytest.approx([1, 0.5, 1]) and std.tolist() == pytest.approx([1, 0.5, 1])
    start = begun(frames, 4)
    start.means[3] = 1e3  # nothing is near it
    *_, (mixture, likelihood) = fit_mixture(frames, start, **FIT)
    assert math.isfinite(likelihood) and all(x.isfinite().all() for x in mixture)
    assert mixture.log_weights.exp().sum() == pytest.approx(1) and mixture.log_weights[3] < -15
    assert mixture.log_variances.exp().min() == pytest.approx(1e-3)


def test_first_means_are_different_frames_by_seed():
    frames = clouds(100)
    one, same, other = (begun(frames, 100, seed).means for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert sorted(map(tuple, one.tolist())) == sorted(map(tuple, frames.double().tolist()))
