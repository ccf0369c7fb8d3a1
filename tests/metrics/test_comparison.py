"""The paired test and the interval of a mean, on systems whose difference is known."""

import time

import numpy as np
import pytest

from deepfake.errors import InputError
from deepfake.metrics.bootstrap import intervals
from deepfake.metrics.comparison import mean_of_systems, paired
from deepfake.metrics.eer import eer
from deepfake.metrics.resampling import interval

TDCF = {"tdcf": (0.03, 0.9, 0.4)}


def systems(n=1200, seed=0, better=0.0):
    """Two systems that share most of what they get wrong."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 4 == 0).astype(int)
    common = rng.normal(2.0 * labels, 1)
    return common + rng.normal(better * labels, 0.3), common + rng.normal(0, 0.3, n), labels


def test_a_system_against_itself():
    a, _, labels = systems()
    for name, found in paired(a, 2 * a + 1, labels, tdcf=TDCF, n=50).items():
        assert found.a == found.b, name
        assert found[2:] == (0, 0, 0, 1), name


def test_a_better_system_and_the_sign():
    a, b, labels = systems(better=1.0)
    found = paired(a, b, labels, tdcf=TDCF, n=199)
    assert list(found) == ["eer", "auc", "min_dcf", "tdcf"]
    assert found["eer"].a == pytest.approx(eer(a, labels)[0]) and found["eer"].b == pytest.approx(eer(b, labels)[0])
    for name, (x, y, difference, low, high, p) in found.items():
        assert difference == x - y and low <= difference <= high
        assert p == 2 / 200, name  # the least there is
        assert (low > 0) == (name == "auc") and (high < 0) == (name != "auc")
    turned = paired(b, a, labels, tdcf=TDCF, n=199)
    assert turned["eer"][2:] == pytest.approx((-found["eer"].difference, -found["eer"].high, -found["eer"].low, 0.01))


def test_the_interval_is_that_of_the_difference_trial_by_trial():
    a, b, labels = systems(better=0.2)
    both = np.column_stack([a, b])
    # the trials are drawn by their number, so that the statistic sees both systems
    expected = interval(
        lambda i, y: eer(both[i.astype(int), 0], y)[0] - eer(both[i.astype(int), 1], y)[0],
        np.arange(len(labels)),
        labels,
        n=300,
    )
    found = paired(a, b, labels, n=300)["eer"]
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
    assert (found.p < 0.05) <= (not found.low <= 0 <= found.high)


def test_equal_systems_are_seldom_told_apart():
    p = [paired(*systems(400, seed=seed), n=99)["eer"].p for seed in range(60)]
    assert np.mean(np.array(p) <= 0.05) <= 0.17  # 0.05 and four standard errors
    assert np.median(p) > 0.2


def test_the_mean_of_systems():
    a, b, labels = systems()
    alone = mean_of_systems([a], labels, n=1000)
    fast = intervals(a, labels, n=1000)
    for name, (low, high) in alone.items():
        assert (low, high) == pytest.approx(fast[name], abs=0.3 * (high - low)), name
    assert mean_of_systems([a, a, a], labels, n=1000)["eer"] == pytest.approx(alone["eer"], abs=1e-12)
    low, high = mean_of_systems([a, b], labels, n=200, clusters=["-"] * len(a))["eer"]
    assert low < (eer(a, labels)[0] + eer(b, labels)[0]) / 2 < high


def test_an_evaluation_set_takes_seconds():
    a, b, labels = systems(71_237)
    start = time.process_time()
    paired(a, b, labels, tdcf=TDCF, n=100)
    assert time.process_time() - start < 6


def test_unusable_input_raises():
    with pytest.raises(InputError, match="no systems"):
        mean_of_systems([], [1, 0])
    with pytest.raises(InputError, match="equal"):
        paired([1, 2, 3, 4], [1, 2, 3], [1, 1, 0, 0])
    with pytest.raises(InputError, match="too few"):
        paired([1, 2, 3, 4], [1, 2, 3, 4], [1, 1, 0, 0], n=10)
