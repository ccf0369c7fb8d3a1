"""Bounds of supported LLRs against their definition at very many thresholds, and against values derived by hand."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deepfake.errors import InputError
from deepfake.metrics.bounds import supported

STEP = 1e-3
LLR = st.one_of(st.integers(-4, 4).map(float), st.floats(-6, 6), st.sampled_from([-np.inf, np.inf]))


@st.composite
def trials(draw):
    """A few LLRs, mostly on the right side, for otherwise the bounds are 0."""
    bonafide = draw(st.lists(LLR.map(lambda x: x + 2), min_size=1, max_size=25))
    spoof = draw(st.lists(LLR.map(lambda x: x - 2), min_size=1, max_size=25))
    return np.array(bonafide + spoof), np.repeat([1, 0], [len(bonafide), len(spoof)])


def by_search(llrs, labels):
    """The definition as it stands: at every threshold from 0 outwards, until the prior alone does better.

    Every threshold: those of a grid, and those just beside 0 and each LLR, for one that is closer to 0 than a step
    parts thresholds too.
    """
    bonafide, spoof = llrs[labels == 1], llrs[labels == 0]

    def as_good_as_the_prior(t):
        miss = (np.sum(bonafide <= t) + 1) / (len(bonafide) + 1)
        false_alarm = (np.sum(spoof > t) + 1) / (len(spoof) + 1)
        return miss + np.exp(t) * false_alarm <= min(1, np.exp(t)) + 1e-12

    edges = np.append(llrs[np.isfinite(llrs)], 0.0)
    beside = np.concatenate([np.nextafter(edges, side) for side in (-np.inf, np.inf)])
    thresholds = np.sort(np.concatenate([np.arange(-8, 8, STEP) + STEP / 2, beside]))
    high = next(t for t in thresholds[thresholds > 0] if not as_good_as_the_prior(t))
    low = next(t for t in thresholds[thresholds < 0][::-1] if not as_good_as_the_prior(t))
    return low, high


@given(trials())
@example((np.array([2, -2, 1e-5]), np.array([1, 0, 0])))  # just above 0 it costs 1/2 + 2/3 to listen
@settings(max_examples=60, deadline=None)
def test_by_the_definition(data):
    llrs, labels = data
    assert supported(llrs, labels) == pytest.approx(by_search(llrs, labels), abs=STEP)


def test_a_false_alarm_just_above_0_leaves_no_support():
    # LLRs 2 of bona fide, -2 and 1e-5 of spoof; by hand, with the added trials. At t in [0, 1e-5):
    #   P_miss = (0 + 1) / 2, P_fa = (1 + 1) / 3, and 1/2 + 2/3 > 1, so nothing above 0 is supported;
    # the thresholds of [1e-5, 0.405), 0.405 = log(3/2), where 1/2 + e^t 1/3 <= 1 again, lie beyond that failure.
    # At t in (-2, 0): 1/2 + e^t 2/3 <= e^t only from e^t >= 3/2 on, so nothing below 0 is supported either.
    assert supported([2, -2, 1e-5], [1, 0, 0]) == (0, 0)
    # With that trial at -1e-5, P_fa = 1/3 from there up: it holds at t in [-1e-5, 0) and, as above, up to log(3/2).
    assert supported([2, -2, -1e-5], [1, 0, 0]) == (-1e-5, pytest.approx(0.4054651081))


@given(trials())
@settings(max_examples=150, deadline=None)
def test_properties(data):
    llrs, labels = data
    low, high = supported(llrs, labels)
    n_bonafide, n_spoof = labels.sum(), (1 - labels).sum()
    assert -np.log(n_bonafide + 1) < low <= 0 <= high < np.log(n_spoof + 1)
    assert high <= max(0, llrs[labels == 1].max())  # nothing vouches for what no trial has
    assert low >= min(0, llrs[labels == 0].min())
    assert supported(-llrs, 1 - labels) == (-high, -low)
    clipped = np.clip(llrs, low, high)
    assert supported(clipped, labels) == pytest.approx((low, high))  # what was bounded needs no further bounds


def test_separated_without_limit():
    # at any t > 0: P_miss = 1 / (N1 + 1), P_fa = 1 / (N0 + 1), so e^t may reach N1 (N0 + 1) / (N1 + 1)
    for n_bonafide, n_spoof in ((3, 3), (10, 1000), (1, 1)):
        llrs = np.repeat([np.inf, -np.inf], [n_bonafide, n_spoof])
        low, high = supported(llrs, llrs > 0)
        assert high == pytest.approx(np.log(n_bonafide * (n_spoof + 1) / (n_bonafide + 1)))
        assert low == pytest.approx(-np.log(n_spoof * (n_bonafide + 1) / (n_spoof + 1)))
        assert str(low) != "-0.0"


@pytest.mark.parametrize(
    ("lrs", "labels", "published"),
    [  # what the authors' institute gets on a grid of 0.01 in log10, staying on the safe side by a step
        ([0.01, 0.1, 1, 10, 100], [0, 0, 1, 1, 1], (0.3801894, 1.4791084)),
        ([0.01, 0.1, 1, 10, 100], [0, 0, 0, 1, 1], (0.6760830, 2.6302680)),
        ([0.01, 0.1, 1, 10, 100], [1, 1, 1, 0, 0], (1, 1)),
        ([np.inf] * 3 + [0] * 3, [1, 1, 1, 0, 0, 0], (0.3388442, 2.9512092)),
        ([np.inf, 0], [1, 0], (1, 1)),
        ([1, 1], [1, 0], (1, 1)),
        ([10] * 10, [1] * 9 + [0], (1, 1)),
        ([10] * 10 + [1], [1] * 10 + [0], (1, 1.7782794)),
        ([1000] * 10 + [1.1], [1] * 10 + [0], (1, 1)),
    ],
)
def test_published_examples(lrs, labels, published):
    with np.errstate(divide="ignore"):
        bounds = np.array(supported(np.log(np.array(lrs, dtype=float)), labels)) / np.log(10)
    np.testing.assert_allclose(bounds, np.log10(published), atol=0.021)


def test_what_tells_nothing_supports_nothing():
    for llrs in ([3.0] * 20, np.tile([5.0, -5.0], 10), np.repeat([-2.0, 2.0], 10)):
        assert supported(llrs, np.repeat([1, 0], 10)) == (0, 0)


def test_more_trials_support_more_and_an_extreme_error_less():
    rng = np.random.default_rng(0)
    widths = []
    for n in (30, 300, 3000, 30_000):
        llrs, labels = np.concatenate([rng.normal(8, 4, n), rng.normal(-8, 4, n)]), np.arange(2 * n) < n
        low, high = supported(llrs, labels)
        widths.append(high - low)
    assert widths == sorted(widths)
    assert supported([*llrs, 40.0], [*labels, 0])[1] < high
    assert supported([*llrs, -40.0], [*labels, 1])[0] > low


def test_fast_on_a_million():
    rng = np.random.default_rng(0)
    llrs = np.concatenate([rng.normal(2, 2, 500_000), rng.normal(-2, 2, 500_000)])
    low, high = supported(llrs, np.arange(1_000_000) < 500_000)  # under a second; a grid against each trial takes hours
    assert -12 < low < -5
    assert 5 < high < 12


@pytest.mark.parametrize(
    ("llrs", "labels", "words"),
    [([np.nan, 1], [1, 0], "NaN"), ([1, 2], [1, 1], "0 spoof"), ([], [], "no trials"), (["a"], [1], "not numbers")],
)
def test_bad_input(llrs, labels, words):
    with pytest.raises(InputError, match=words):
        supported(llrs, labels)
