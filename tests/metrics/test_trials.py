"""Trials checked and sorted once: every metric says the same of them as of scores and labels."""

import numpy as np
import pytest

from deepfake.errors import InputError
from deepfake.evaluation.metrics import Intervals, evaluate
from deepfake.metrics.bootstrap import intervals
from deepfake.metrics.bounds import supported
from deepfake.metrics.calibration import calibrate
from deepfake.metrics.classification import at_threshold, auc
from deepfake.metrics.cllr import cllr, min_cllr, pav
from deepfake.metrics.dcf import act_dcf, min_dcf
from deepfake.metrics.eer import carried_threshold, eer, eer_official, official_points, roc
from deepfake.metrics.logistic import fit
from deepfake.metrics.probability import brier, ece, empirical_cross_entropy, misleading, posterior, reliability
from deepfake.metrics.resampling import interval
from deepfake.metrics.tdcf import min_tdcf_of
from deepfake.metrics.teer import t_eer
from deepfake.metrics.trials import Trials
from deepfake.scores.table import Scores

METRICS = [auc, carried_threshold, eer, eer_official, official_points, roc, min_dcf, act_dcf, cllr, pav, min_cllr]
METRICS += [supported, calibrate, fit, misleading]
WITH_MORE = {
    "intervals": lambda s, y: intervals(s, y, n=50),
    "of speakers": lambda s, y: intervals(s, y, n=50, clusters=[f"s{i % 7}" for i in range(60)]),
    "interval": lambda s, y: interval(auc, s, y, n=50),
    "at threshold": lambda s, y: at_threshold(s, y, 0.3),
    "t-DCF": lambda s, y: min_tdcf_of(s, y, c0=0.1, c1=0.8, c2=0.4),
    "t-EER": lambda s, y: t_eer(s, y, [3, 4, 5], [0, 1, 2], [1, 2, 3]),
    "cross-entropy": lambda s, y: empirical_cross_entropy(s, y, [-1.0, 0.0, 1.0]),
}
rng = np.random.default_rng(0)
LABELS = np.arange(60) % 3 == 0
SCORES = np.round(rng.normal(1.5 * LABELS), 1)


@pytest.mark.parametrize("metric", [*METRICS, *WITH_MORE.values()], ids=[*(m.__name__ for m in METRICS), *WITH_MORE])
def test_a_metric_says_the_same_of_trials(metric):
    np.testing.assert_equal(metric(Trials(SCORES, LABELS), None), metric(SCORES, LABELS.astype(int)))


@pytest.mark.parametrize("metric", [ece, brier, reliability])
def test_a_metric_of_probabilities_does(metric):
    p = posterior(SCORES)
    np.testing.assert_equal(metric(Trials(p, LABELS)), metric(p, LABELS))


def test_what_a_metric_cannot_take_it_refuses_of_trials_too():
    for trials, words in ((Trials([1, 2], [1, 1]), "2 bona fide and 0 spoof"), (Trials([1, np.inf], [1, 0]), "1 of 2")):
        with pytest.raises(InputError, match=words):
            eer(trials)
    assert cllr(Trials([np.inf, -np.inf], [1, 0])) == 0
    assert at_threshold(Trials([1, 2], [1, 1]), None, 1.5)["fnr"] == 0.5
    with pytest.raises(InputError, match="labels of shape"):
        eer(SCORES)


def test_from_the_scores_of_either_class():
    assert eer(Trials.of_classes(SCORES[LABELS], SCORES[~LABELS])) == eer(SCORES, LABELS)


def test_counts_up_to_each_distinct_score():
    trials = Trials(SCORES, LABELS)
    bonafide, spoof = trials.rejected
    assert trials.distinct.tolist() == sorted({*SCORES.tolist()}) == trials.ranking.distinct.tolist()
    for i, score in enumerate([-np.inf, *trials.distinct]):
        assert bonafide[i] == np.sum(SCORES[LABELS] <= score) and spoof[i] == np.sum(SCORES[~LABELS] <= score)
    amounts = rng.normal(size=60)
    sums = trials.ranking.up_to(amounts[trials.ranking.order])
    assert sums == pytest.approx([amounts[t >= SCORES].sum() for t in [-np.inf, *trials.distinct]])


def test_a_partition_is_not_checked_again(monkeypatch):
    scores = Scores([f"u{i}" for i in range(60)], LABELS.astype(int), ["A01"] * 60, SCORES)
    monkeypatch.setattr(Trials, "__init__", lambda *_: pytest.fail("checked a second time"))
    evaluate(scores, threshold=0.5, dataset="", partition="", intervals=Intervals(n=50))
