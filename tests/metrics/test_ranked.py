"""Metrics from counts against the metrics of the trials written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from deepfake.errors import InputError
from deepfake.metrics.classification import at_threshold, auc
from deepfake.metrics.eer import eer, eer_on, roc
from deepfake.metrics.ranked import Pool, Ranked, costs
from deepfake.metrics.tdcf import min_tdcf_of
from deepfake.metrics.trials import Trials

TDCF = {"legacy": (0.0, 0.8, 0.4), "revised": (0.03, 0.9, 0.4)}


@given(
    st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 3)), min_size=3, max_size=15),
    st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 3)), min_size=3, max_size=15),
)
@settings(max_examples=200, deadline=None)
def test_counts_stand_for_trials_repeated(bonafide, spoof):
    scores = np.array([s for s, _ in bonafide + spoof]) / 2
    labels = np.repeat([1, 0], [len(bonafide), len(spoof)])
    counts = np.array([c for _, c in bonafide + spoof])
    counts[[0, -1]] = 1
    ranked = Ranked(Trials(scores, labels), costs=costs(TDCF), threshold=0.5)
    found = dict(zip(ranked.names, ranked.metrics(counts), strict=True))
    s, y = np.repeat(scores, counts), np.repeat(labels, counts)
    far, frr, _ = roc(s, y)
    expected = {"eer": eer(s, y)[0], "auc": auc(s, y), "min_dcf": np.min(1.9 * frr + far)}
    for name, (c0, c1, c2) in TDCF.items():
        if len(set(s)) < 3:
            expected[name] = np.min(c0 + c1 * frr + c2 * far) / (c0 + min(c1, c2))
        else:
            expected[name] = min_tdcf_of(s, y, c0=c0, c1=c1, c2=c2)[0]
    rates = at_threshold(s, y, 0.5)
    assert found == pytest.approx(expected | {"fpr": rates["fpr"], "fnr": rates["fnr"]}, abs=1e-12)


def test_a_pool_is_that_of_files_written_out():
    rng = np.random.default_rng(0)
    files = [rng.integers(0, 6, n).astype(float) for n in (5, 9, 7)]
    labels = [rng.integers(0, 2, len(f)) for f in files]
    labels[2][:] = 1
    pool = Pool(files, labels, [1 - y for y in labels])
    for counts in ([1, 1, 1], [2, 0, 1], [0, 3, 0]):
        s, y = (
            np.concatenate([np.tile(p, c) for p, c in zip(parts, counts, strict=True)]) for parts in (files, labels)
        )
        assert pool.auc(np.array(counts)) == pytest.approx(roc_auc_score(y, s))
        points = pool.roc(np.array(counts))
        assert points is not None and eer_on(points)[0] == pytest.approx(eer(s, y)[0])
    assert np.isnan(pool.auc(np.array([0, 0, 1]))) and pool.roc(np.array([0, 0, 1])) is None


@pytest.mark.parametrize(
    ("tdcf", "message"),
    [
        ({"a": (0, -1, 1)}, "weights of a"),
        ({"a": (0, np.nan, 1)}, "weights of a"),
        ({"a": (0, 0, 1)}, "weights of a"),
        ({"eer": (0, 1, 1)}, "another metric"),
        ({"min_dcf": (0, 1, 1)}, "another metric"),
    ],
)
def test_unusable_weights_raise(tdcf, message):
    with pytest.raises(InputError, match=message):
        costs(tdcf)
