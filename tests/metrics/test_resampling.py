"""The general bootstrap against scipy's, and how clusters are drawn."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from deepfake.errors import InputError
from deepfake.metrics import resampling
from deepfake.metrics.classification import auc
from deepfake.metrics.resampling import Resampler, interval, share_interval


def data(n=150, seed=0):
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 3 == 0).astype(int)
    return rng.gumbel(1.5 * labels, 1), labels


def ratio(scores, labels):
    """A skewed statistic."""
    return float(np.exp(scores[labels == 1]).mean() / np.exp(scores[labels == 0]).mean())


@pytest.mark.parametrize("statistic", [ratio, auc])
@pytest.mark.parametrize(("method", "name"), [("percentile", "percentile"), ("bca", "BCa")])
def test_scipy_makes_the_same_interval_of_the_same_replicates(statistic, method, name):
    scores, labels = data()
    drawn = []

    def spied(s, y):
        drawn.append(statistic(s, y))
        return drawn[-1]

    found = interval(spied, scores, labels, n=400, confidence=0.9, method=method)
    theirs = stats.bootstrap(
        (scores[labels == 1], scores[labels == 0]),
        lambda b, s: statistic(np.concatenate([b, s]), np.repeat([1, 0], [len(b), len(s)])),
        n_resamples=0,
        bootstrap_result=SimpleNamespace(bootstrap_distribution=np.array(drawn[1:401])),
        vectorized=False,
        confidence_level=0.9,
        method=name,
    )
    assert found == pytest.approx(tuple(theirs.confidence_interval), rel=1e-9)


def test_scipy_draws_from_the_same_distribution():
    scores, labels = data()
    theirs = stats.bootstrap(
        (scores[labels == 1], scores[labels == 0]),
        lambda b, s: ratio(np.concatenate([b, s]), np.repeat([1, 0], [len(b), len(s)])),
        n_resamples=2000,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    spread = float(theirs.standard_error)
    assert interval(ratio, scores, labels, n=2000) == pytest.approx(
        tuple(theirs.confidence_interval), abs=0.25 * spread
    )


def test_groups_of_trials_give_about_the_acceleration_of_single_ones(monkeypatch):
    scores, labels = data(600)
    single = 600
    monkeypatch.setattr(resampling, "JACKKNIFE_GROUPS", 2 * single)
    every = interval(ratio, scores, labels, n=500, method="bca")
    monkeypatch.setattr(resampling, "JACKKNIFE_GROUPS", 200)
    grouped = interval(ratio, scores, labels, n=500, method="bca")
    assert grouped != every
    assert grouped == pytest.approx(every, abs=0.1 * (every[1] - every[0]))


def test_a_statistic_that_never_moves_and_the_seed():
    scores, labels = data()
    for method in ("percentile", "bca"):
        assert interval(lambda s, y: 3.0, scores, labels, n=50, method=method) == (3, 3)
    assert interval(ratio, scores, labels, n=50) == interval(ratio, scores, labels, n=50)
    assert interval(ratio, scores, labels, n=50) != interval(ratio, scores, labels, n=50, seed=1)


def counts_of(labels, clusters, n=200):
    resampler = Resampler(np.array(labels, dtype=bool), clusters)
    return np.array(list(resampler.counts(np.random.default_rng(0), n)))


def test_without_clusters_the_size_of_each_class_stays():
    counts = counts_of([1, 0, 0, 1, 0], None)
    assert (counts[:, [0, 3]].sum(axis=1) == 2).all() and (counts[:, [1, 2, 4]].sum(axis=1) == 3).all()
    assert len(np.unique(counts, axis=0)) > 10


def test_attacks_are_drawn_whole_and_bona_fide_one_by_one():
    labels = [1, 1, 1, 0, 0, 0, 0, 0]
    counts = counts_of(labels, ["-", "-", "", "A01", "A01", "A01", "A02", "A02"])
    assert (counts[:, :3].sum(axis=1) == 3).all()
    assert (np.ptp(counts[:, 3:6], axis=1) == 0).all() and (np.ptp(counts[:, 6:], axis=1) == 0).all()
    assert (counts[:, 3] + counts[:, 6] == 2).all()
    assert len(np.unique(counts[:, 3])) == 3 and len(np.unique(counts[:, :3], axis=0)) > 5


def test_speakers_of_both_classes_and_of_one_are_drawn_among_their_like():
    labels = [1, 0, 1, 0, 1, 1, 1]  # two speakers with both, three with bona fide alone
    counts = counts_of(labels, ["a", "a", "b", "b", "c", "d", "e"])
    assert (counts[:, 0] == counts[:, 1]).all() and (counts[:, 2] == counts[:, 3]).all()
    assert (counts[:, 0] + counts[:, 2] == 2).all() and (counts[:, 4:].sum(axis=1) == 3).all()


def test_a_lone_cluster_of_one_class_joins_the_mixed_and_no_replicate_loses_a_class():
    labels = np.array([1, 0, 1], dtype=bool)
    counts = counts_of(labels, ["a", "a", "b"], n=500)
    assert len(np.unique(counts, axis=0)) == 2  # a twice, or a and b; b twice would have no spoof
    assert (counts[:, ~labels] > 0).all()


@pytest.mark.parametrize(
    ("clusters", "message"),
    [
        (["a", "a", "b", "b"], "one cluster 'b'"),  # one of each class
        (["a"] * 4, "one cluster 'a'"),
        (["-", "-", "-", "a"], "one cluster 'a'"),
        (["a", "b"], "one name a trial"),
    ],
)
def test_what_would_never_vary_raises(clusters, message):
    with pytest.raises(InputError, match=message):
        Resampler(np.array([True, True, False, False]), clusters)


def test_one_trial_of_a_class_raises():
    with pytest.raises(InputError, match="one trial"):
        Resampler(np.array([True, False, False]))


def test_unusable_statistics_raise():
    scores, labels = data()
    with pytest.raises(InputError, match="statistic is nan"):
        interval(lambda s, y: np.nan, scores, labels)
    with pytest.raises(InputError, match="method"):
        interval(ratio, scores, labels, method="studentised")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="jackknife"):
        interval(ratio, [3, 1, 2], [1, 0, 1], n=40, method="bca", clusters=["a", "a", "b"])


def test_a_share_is_drawn_in_whole_clusters():
    """Three clusters of 1, 2 and 3 trials, of which the last alone counts: all 27 draws, by hand."""
    shares = [np.mean([c == 2 for c in draw for _ in range(c + 1)]) for draw in np.ndindex(3, 3, 3)]
    counts, clusters = np.array([False, False, False, True, True, True]), ["a", "b", "b", "c", "c", "c"]
    low, high = share_interval(counts, clusters, n=20_000, confidence=0.8)
    assert (low, high) == pytest.approx(tuple(np.quantile(shares, [0.1, 0.9])), abs=1e-9)
    assert (low, high) == (0.0, 6 / 7)


def test_a_share_of_trials_without_a_cluster_is_drawn_one_by_one():
    counts = np.arange(200) < 20
    low, high = share_interval(counts, ["-"] * 100 + [""] * 100, n=4000)
    assert (low, high) == pytest.approx((0.06, 0.145), abs=0.006)  # of a binomial share of 0.1
    with pytest.raises(InputError, match="all trials are of one cluster"):
        share_interval(counts, ["a"] * 200)
