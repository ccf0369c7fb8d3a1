"""Score files joined by trial, and fused."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake.errors import InputError
from deepfake.metrics.bounds import supported
from deepfake.metrics.calibration import dealt
from deepfake.metrics.cllr import cllr
from deepfake.metrics.eer import eer
from deepfake.metrics.logistic import fit
from deepfake.scores.fusion import aligned, fused
from deepfake.scores.table import Scores


def system(scores, *, labels=(1, 0, 0, 1), ids=("a", "b", "c", "d"), attacks=("", "A01", "A02", ""), **extras):
    return Scores(ids, labels, attacks, scores, extras)


def pair(n=600, *, seed=0, apart=1.5, speakers=20):
    """Two systems that are as good and that err independently, on the same trials."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 3 == 0).astype(int)
    fields = {"ids": [f"{seed}-{i}" for i in range(n)], "labels": labels, "attacks": [""] * n}
    extras = {"speaker": [f"s{i % speakers}" for i in range(n)]}
    made = (Scores(**fields, scores=rng.normal(size=n) + apart * labels, extras=extras) for _ in range(2))
    return dict(zip("AB", made, strict=True))


# ---------------------------------------------------------------- aligned


def test_trials_are_joined_whatever_their_order_and_the_form_of_their_ids():
    one = system([1.0, 2.0, 3.0, 4.0])
    two = system([40.0, 30.0, 20.0, 10.0], labels=(1, 0, 0, 1), ids=("x/d.flac", "y/c.wav", "b", "a.mp3"))
    found = aligned({"A": one, "B": two})
    assert list(found) == ["A", "B"]
    assert [s.ids for s in found.values()] == [["a", "b", "c", "d"]] * 2
    assert found["A"].scores.tolist() == [1, 2, 3, 4] and found["B"].scores.tolist() == [10, 20, 30, 40]
    assert all(s.labels.tolist() == [1, 0, 0, 1] for s in found.values())


def test_what_one_file_says_of_a_trial_holds_for_all():
    one = system([1.0, 2.0, 3.0, 4.0], labels=(1, None, None, None), attacks=[""] * 4, llr=["1", "2", "3", "4"])
    two = system([4.0, 3.0, 2.0, 1.0], labels=(None, None, 0, 1), ids=tuple("dcba"), attacks=("", "A02", "-", ""))
    two.extras["codec"] = ["kd", "kc", "kb", "ka"]
    found = aligned({"A": one, "B": two})
    assert found["A"].ids == ["a", "b"]  # of the two others nobody knows what they are
    assert [s.labels.tolist() for s in found.values()] == [[1, 0]] * 2
    assert found["A"].extras == {"codec": ["ka", "kb"], "llr": ["1", "2"]}
    assert found["B"].extras == {"codec": ["ka", "kb"]}
    two.labels[1] = 0
    assert aligned({"A": one, "B": two})["A"].attacks == ["", "-", "A02"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"ids": tuple("abce")}, "B lacks 1 of the utterances that A has: d$"),
        ({"labels": (1, 0, 1, 0)}, "B has another label than those before it for 2 utterances: c, d$"),
    ],
)
def test_other_trials_are_refused(other, message):
    with pytest.raises(InputError, match=message):
        aligned({"A": system([1.0, 2.0, 3.0, 4.0]), "B": system([1.0, 2.0, 3.0, 4.0], **other)})


def test_more_trials_are_refused():
    few = system([1.0, 2.0], labels=(1, 0), ids=("a", "b"), attacks=("", ""))
    with pytest.raises(InputError, match=r"A lacks 2 of the utterances that B has: c, d$"):
        aligned({"A": few, "B": system([1.0, 2.0, 3.0, 4.0])})
    ids = [f"u{i}" for i in range(9)]
    many, one = Scores(ids, [0] * 9, [""] * 9, np.arange(9.0)), Scores(["u0"], [0], [""], [0.0])
    with pytest.raises(InputError, match=r"A lacks 8 .* u1, u2, u3, u4, u5$"):
        aligned({"A": one, "B": many})


def test_without_any_label_there_is_nothing_to_compare():
    with pytest.raises(InputError, match="A, B: no utterance has a label; give protocol=FILE"):
        aligned({name: system([1.0, 2.0, 3.0, 4.0], labels=[None] * 4) for name in "AB"})


# ---------------------------------------------------------------- fused


def test_weights_fitted_on_other_trials_are_used_as_they_are():
    here, there = pair(), pair(seed=1)
    scores, fusion = fused(here, there)
    x, y = np.column_stack([s.scores for s in there.values()]), there["A"].labels
    weights, offset = fit(x, y)
    low, high = supported(x @ weights + offset, y)
    assert fusion["weights"] == {"A": weights[0], "B": weights[1]} and fusion["offset"] == offset
    assert fusion["bounds"] == [low, high]
    expected = np.column_stack([s.scores for s in here.values()]) @ weights + offset
    assert scores.scores == pytest.approx(expected)
    llrs = np.array(scores.extras["llr"], dtype=float)
    assert llrs == pytest.approx(np.clip(expected, low, high))
    n = int(np.sum((expected < low) | (expected > high)))
    assert n and f"{n} of 600 likelihood ratios were beyond" in fusion["how"]
    assert "fitted on 600 other trials: A, B." in fusion["how"]
    assert scores.ids == here["A"].ids and scores.extras["speaker"] == here["A"].extras["speaker"]


@pytest.mark.parametrize("held", [False, True])
def test_two_that_err_apart_are_better_together(held):
    systems = pair()
    scores, fusion = fused(systems, pair(seed=1) if held else None)
    alone = [eer(s.scores, s.labels)[0] for s in systems.values()]
    assert eer(scores.scores, scores.labels)[0] < 0.8 * min(alone)
    assert cllr(np.array(scores.extras["llr"], dtype=float), scores.labels) < 0.6
    assert list(fusion["weights"].values()) == pytest.approx([1.5, 1.5], abs=0.5)


def test_without_other_trials_nobody_is_judged_by_its_own_label_or_speaker():
    systems = pair(120, speakers=6)
    scores, fusion = fused(systems, None)
    x, y = np.column_stack([s.scores for s in systems.values()]), scores.labels
    speakers = np.unique(scores.extras["speaker"], return_inverse=True)[1]
    for inside, outside in dealt(y, speakers, folds=5, seed=0):
        assert not {*speakers[inside]} & {*speakers[outside]}
        weights, offset = fit(x[inside], y[inside])
        assert scores.scores[outside] == pytest.approx(x[outside] @ weights + offset)
    weights, _ = fit(x, y)
    assert list(fusion["weights"].values()) == weights.tolist() and "cross-validated" in fusion["how"]


def test_a_system_the_wrong_way_round_is_remarked_on():
    systems = pair()
    systems["B"].scores *= -1
    _, fusion = fused(systems, None)
    assert fusion["weights"]["B"] < 0 < fusion["weights"]["A"]
    assert "B: the weight is negative" in fusion["how"]


def test_the_strongest_scores_are_not_made_ties():
    scores, _ = fused(pair(), None)
    assert len({*scores.scores.tolist()}) == 600 > len({*scores.extras["llr"]})


def test_too_few_trials_to_be_cross_validated():
    systems = {name: system([1.0, 2.0, 3.0, 4.0], labels=(1, 0, 0, 0)) for name in "AB"}
    with pytest.raises(InputError, match="too few"):
        fused(systems, None)
