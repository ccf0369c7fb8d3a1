"""The bootstrap over cells against resampling trial by trial, and what a million trials cost."""

import itertools
import time

import numpy as np
import pytest
from scipy.stats import binom, ks_2samp

from deepfake.errors import InputError
from deepfake.metrics import bootstrap
from deepfake.metrics.bootstrap import eer_interval, intervals, replicates
from deepfake.metrics.ranked import Ranked, costs
from deepfake.metrics.trials import Trials

TDCF = {"legacy": (0.0, 0.81, 0.38), "revised": (0.0256, 0.915, 0.38), "c012": (0.0789, 0.8616, 0.348)}


def gaussian(n=1500, seed=0, decimals=None):
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 5 == 0).astype(int)
    scores = rng.normal(2.0 * labels, 1)
    return scores if decimals is None else scores.round(decimals), labels


def trial_by_trial(scores, labels, n, seed=99):
    """The stratified bootstrap as it is told: draw trials, compute."""
    rng = np.random.default_rng(seed)
    ranked = Ranked(Trials(scores, labels), costs=costs(TDCF), threshold=0.7)
    values = []
    for _ in range(n):
        counts = np.zeros(len(labels), dtype=int)
        for label in (0, 1):
            of = np.flatnonzero(labels == label)
            np.add.at(counts, rng.choice(of, len(of)), 1)
        values.append(ranked.metrics(counts))
    return dict(zip(ranked.names, np.array(values).T, strict=True))


@pytest.mark.parametrize("cells", [4, 32, 4096])
@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_its_distribution_is_that_of_drawing_trials(monkeypatch, cells, decimals):
    monkeypatch.setattr(bootstrap, "CELLS", cells)
    scores, labels = gaussian(decimals=decimals)
    ours = replicates(scores, labels, tdcf=TDCF, threshold=0.7, n=1500)
    plain = trial_by_trial(scores, labels, 1500)
    assert list(ours) == list(plain)
    for name in plain:
        if name == "auc" and cells == 4:
            continue  # pairs within a quarter of the trials enter with their mean: the next test
        assert ks_2samp(ours[name], plain[name]).pvalue > 1e-4, name
        for q in (0.025, 0.5, 0.975):  # six standard errors of a quantile, four of a difference of two
            low, high = np.quantile(plain[name], np.clip(q + np.array([-6, 6]) * np.sqrt(q * (1 - q) / 1500), 0, 1))
            assert low - 1e-12 <= np.quantile(ours[name], q) <= high + 1e-12, name


def test_auc_differs_by_no_more_than_the_share_of_pairs_within_one_cell(monkeypatch):
    scores, labels = gaussian(4000, seed=1)
    monkeypatch.setattr(bootstrap, "CELLS", 64)
    coarse = replicates(scores, labels, n=400)["auc"]
    plain = trial_by_trial(scores, labels, 400)["auc"]
    assert np.quantile(coarse, [0.025, 0.975]) == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.003)
    assert np.std(coarse) == pytest.approx(np.std(plain), rel=0.2)


@pytest.mark.parametrize("cells", [2, 7, 50])
def test_every_replicate_has_the_metrics_of_one_resample(monkeypatch, cells):
    """Searching only the cells that can matter finds what drawing every cell to the end would."""
    monkeypatch.setattr(bootstrap, "CELLS", cells)
    scores, labels = gaussian(400, seed=2, decimals=1)
    bonafide, spoof = scores[labels == 1], scores[labels == 0]
    many = replicates(scores, labels, tdcf={"equal": (0.0, 1.0, 1.0)}, n=500)
    # of the least sum of both rates: where they cross it is twice the EER, and the larger one is nowhere below the EER
    assert np.all(many["equal"] <= 2 * many["eer"] + 1e-12)
    assert np.all(many["equal"] >= many["eer"] - 1e-12)
    steps = many["min_dcf"] * len(bonafide) * len(spoof) * 10  # 1.9 k / N_b + l / N_s
    np.testing.assert_allclose(steps, steps.round(), atol=1e-6)


def test_rates_at_a_threshold_are_binomial():
    scores, labels = gaussian(2000, seed=3)
    draws = replicates(scores, labels, threshold=0.7, n=2000)
    for name, of, wrong in (("fpr", 0, scores > 0.7), ("fnr", 1, scores <= 0.7)):
        size, p = np.sum(labels == of), np.mean(wrong[labels == of])
        counts = np.rint(draws[name] * size)
        np.testing.assert_allclose(counts / size, draws[name], atol=1e-12)
        assert ks_2samp(counts, binom.rvs(size, p, size=20000, random_state=0)).pvalue > 1e-4


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_of_the_eer_alone_too_the_distribution_is_that_of_drawing_trials(decimals):
    scores, labels = gaussian(decimals=decimals)
    plain = trial_by_trial(scores, labels, 2000)["eer"]
    for confidence in (0.2, 0.6, 0.95):  # ends at six quantiles, each within six standard errors, as above
        ends = eer_interval(scores, labels, n=2000, confidence=confidence)
        for end, q in zip(ends, ((1 - confidence) / 2, (1 + confidence) / 2), strict=True):
            low, high = np.quantile(plain, np.clip(q + np.array([-6, 6]) * np.sqrt(q * (1 - q) / 2000), 0, 1))
            assert low - 1e-12 <= end <= high + 1e-12


def test_of_the_eer_alone_the_quantiles_are_those_of_all_resamples_there_are():
    """Three bona fide and three spoof trials, one tie: all 27 x 27 resamples, each EER from its own error rates."""
    bonafide, spoof = np.array([0.0, 2.0, 3.0]), np.array([-1.0, 0.0, 2.5])
    every = []
    for b, s in itertools.product(itertools.product(bonafide, repeat=3), itertools.product(spoof, repeat=3)):
        frr, far = (
            [np.mean(rule(t)) for t in (-9, -1, 0, 2, 2.5, 3)] for rule in (np.array(b).__le__, np.array(s).__gt__)
        )
        gap, at = zip(*sorted({(x - y, x) for x, y in zip(frr, far, strict=True)}), strict=True)
        every.append(np.interp(0.0, gap, at))
    for confidence in (0.15, 0.57, 0.66, 0.9):  # no end within five standard errors of a step
        found = eer_interval([*bonafide, *spoof], [1, 1, 1, 0, 0, 0], n=40_000, confidence=confidence)
        assert found == pytest.approx(np.quantile(every, [(1 - confidence) / 2, (1 + confidence) / 2]), abs=1e-9)


def test_intervals_are_percentiles_decided_by_the_seed():
    scores, labels = gaussian()
    found = intervals(scores, labels, tdcf=TDCF, n=300, confidence=0.9, seed=5)
    draws = replicates(scores, labels, tdcf=TDCF, n=300, seed=5)
    assert found == {name: pytest.approx(np.quantile(values, [0.05, 0.95])) for name, values in draws.items()}
    assert found == intervals(scores, labels, tdcf=TDCF, n=300, confidence=0.9, seed=5)
    assert found != intervals(scores, labels, tdcf=TDCF, n=300, confidence=0.9, seed=6)
    assert list(found) == ["eer", "auc", "min_dcf", *TDCF]


@pytest.mark.parametrize("clustered", [False, True])
def test_separable_and_tied_scores_have_intervals_of_no_width(clustered):
    labels = np.array([1, 1, 0, 0, 0])
    names = ["-"] * 5 if clustered else None
    separable = intervals([5, 4, 3, 2, 1], labels, threshold=3.5, n=50, clusters=names)
    assert separable == {"eer": (0, 0), "auc": (1, 1), "min_dcf": (0, 0), "fpr": (0, 0), "fnr": (0, 0)}
    tied = intervals([1, 1, 1, 1, 1], labels, threshold=0, n=50, clusters=names)
    assert tied == {"eer": (0.5, 0.5), "auc": (0.5, 0.5), "min_dcf": (1, 1), "fpr": (1, 1), "fnr": (0, 0)}


def test_it_covers_the_truth_about_as_often_as_it_says():
    covered = [
        low <= 0.158655 <= high  # EER of two normal distributions two standard deviations apart
        for seed in range(200)
        for low, high in [intervals(*gaussian(600, seed=seed), n=200, seed=seed)["eer"]]
    ]
    assert 0.88 <= np.mean(covered) <= 0.99  # 0.95 give or take four standard errors, less what a small sample costs


def test_clusters_of_correlated_trials_widen_the_interval():
    rng = np.random.default_rng(7)
    speaker = np.repeat(np.arange(40), 50)
    labels = np.tile([1, 0], 1000)
    scores = rng.normal(size=40)[speaker] + rng.normal(2.0 * labels, 0.3)
    plain = intervals(scores, labels, n=300)["eer"]
    clustered = intervals(scores, labels, n=300, clusters=speaker)["eer"]
    assert clustered[1] - clustered[0] > 2 * (plain[1] - plain[0])
    alone = replicates(scores, labels, n=1000, clusters=np.full(2000, "-"))["eer"]
    assert ks_2samp(alone, replicates(scores, labels, n=1000)["eer"]).pvalue > 1e-4


def test_a_million_trials_take_seconds():
    rng = np.random.default_rng(6)
    labels = np.arange(1_000_000) < 100_000
    scores = rng.normal(2.0 * labels, 1)
    start = time.process_time()
    found = intervals(scores, labels, tdcf=TDCF, threshold=1.0, n=250)
    assert time.process_time() - start < 10
    assert found["eer"] == pytest.approx((0.1575, 0.1598), abs=0.001)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 39}, "39 replicates are too few"),
        ({"confidence": 1.0}, "confidence"),
        ({"confidence": np.nan}, "confidence"),
        ({"threshold": np.nan}, "threshold"),
        ({"tdcf": {"a": (0, -1, 1)}}, "weights"),
        ({"clusters": ["a", "b"]}, "one name a trial"),
        ({"clusters": ["a"] * 5}, "one cluster 'a'"),
    ],
)
def test_unusable_options_raise(options, message):
    with pytest.raises(InputError, match=message):
        intervals([5, 4, 3, 2, 1], [1, 1, 0, 0, 0], **options)


@pytest.mark.parametrize(
    ("scores", "labels"), [([1, 2, 3], [1, 0, 0]), ([1, 2], [0, 0]), ([1, np.nan, 2, 3], [1, 1, 0, 0])]
)
def test_unusable_trials_raise(scores, labels):
    with pytest.raises(InputError):
        intervals(scores, labels)
