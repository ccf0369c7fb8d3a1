"""What `evaluate` says of scores: each number is the one that the metric's own function gives, and none is invented."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake.errors import InputError
from deepfake.evaluation import metrics as judging
from deepfake.evaluation.metrics import CALIBRATION, Intervals, evaluate
from deepfake.evaluation.tandem import Tandem, read_tandem
from deepfake.metrics import bootstrap, resampling
from deepfake.metrics.classification import auc, proportion_interval
from deepfake.metrics.cllr import cllr, min_cllr
from deepfake.metrics.dcf import act_dcf
from deepfake.metrics.eer import eer, eer_official
from deepfake.metrics.probability import brier, ece, misleading, posterior
from deepfake.metrics.tdcf import Weights, min_tdcf_of
from deepfake.scores.table import Scores

ALL = {"threshold": 0.5, "dataset": "demo", "partition": "eval"}
EVEN = Weights(0.0, 0.5, 0.5)
FEW = Intervals(n=50)


def made(n=60, *, seed=0, apart=1.5, **extras):
    """Every third trial bona fide, of five speakers; the spoofs by A01 and A02 in turn, sent through two codecs."""
    rng = np.random.default_rng(seed)
    i = np.arange(n)
    labels = (i % 3 == 0).astype(int)
    columns = {"speaker": [f"s{k % 5}" for k in i], "codec": [f"c{k % 2}" for k in i // 3], **extras}
    attacks = ["" if label else f"A0{1 + k % 2}" for k, label in zip(i, labels, strict=True)]
    return Scores([f"u{k}" for k in i], labels, attacks, rng.normal(size=n) + apart * labels, columns)


def in_order(scores):
    """Scores and labels as `evaluate` has them, sorted: which resamples are drawn depends on the order."""
    order = np.argsort(scores.scores, kind="stable")
    return scores.scores[order], scores.labels[order]


def rows(scores, chosen):
    return scores.scores[chosen], scores.labels[chosen]


# ---------------------------------------------------------------- intervals


def test_intervals_are_those_of_the_bootstrap():
    scores = made()
    tandem = Tandem({"min_tdcf": EVEN})
    metrics = evaluate(scores, tandem=tandem, intervals=Intervals(n=50, confidence=0.9, seed=7), **ALL)
    options = {"n": 50, "confidence": 0.9, "seed": 7}
    expected = bootstrap.intervals(*in_order(scores), tdcf={"min_tdcf": EVEN}, **options)
    n = {"fpr": metrics["n_spoof"], "fnr": metrics["n_bonafide"]}
    expected |= {name: proportion_interval(metrics[name], n[name], 0.9) for name in n}
    assert metrics["ci"] == {name: list(bounds) for name, bounds in expected.items()}
    assert set(metrics["ci"]) == {"eer", "auc", "min_dcf", "min_tdcf", "fpr", "fnr"}
    assert metrics["confidence"] == 0.9
    for name, (low, high) in metrics["ci"].items():
        assert low <= metrics[name] <= high, name
    few = rows(scores, (scores.labels == 1) | (np.array(scores.attacks) == "A01"))
    low, high = bootstrap.eer_interval(*few, **options)
    assert metrics["by_attack"]["A01"]["ci"] == {"eer": [low, high]}


@pytest.mark.parametrize("asked", [{}, {"intervals": Intervals(n=0)}])
def test_none_are_made_where_none_are_asked_for(asked):
    metrics = evaluate(made(), **asked, **ALL)
    assert metrics["ci"] == {} and metrics["confidence"] is None
    assert all(entry["ci"] == {} for entry in metrics["by_attack"].values())


def test_one_trial_of_a_class_or_of_an_attack_has_none():
    scores = Scores(list("abcdef"), [1, 0, 0, 0, 0, 0], [""] + ["A01"] * 5, np.arange(6.0))
    metrics = evaluate(scores, intervals=FEW, **ALL)
    assert metrics["eer"] is not None and set(metrics["ci"]) == {"fpr", "fnr"}
    assert metrics["by_attack"]["A01"]["ci"] == {}
    scores = Scores(list("abcdef"), [1, 1, 1, 0, 0, 0], ["", "", "", "A01", "A02", "A02"], [1, 3, 5, 0, 2, 4])
    metrics = evaluate(scores, intervals=FEW, **ALL)
    assert {name for name, entry in metrics["by_attack"].items() if entry["ci"]} == {"A02"}


def test_no_error_is_not_no_chance_of_one():
    scores = Scores(list("abcdefg"), [1, 1, 1, 0, 0, 0, 0], [""] * 3 + ["A01"] * 4, [5, 6, 7, 1, 2, 3, 4])
    metrics = evaluate(scores, intervals=FEW, dataset="", partition="", threshold=4.5)
    assert metrics["eer"] == 0 and metrics["ci"]["eer"] == list(proportion_interval(0, 3))
    assert metrics["by_attack"]["A01"]["ci"]["eer"] == metrics["ci"]["eer"] == metrics["ci"]["fnr"]
    assert metrics["ci"]["fpr"][1] == pytest.approx(1 - 0.025 ** (1 / 4))  # a row of 4 without one, twice the tail


def test_one_class_alone_has_an_interval_of_its_rate():
    scores = Scores(["a", "b"], [1, 1], ["", ""], [1.0, 2.0])
    metrics = evaluate(scores, intervals=FEW, dataset="", partition="", threshold=1.5)
    assert metrics["ci"] == {"fnr": list(proportion_interval(0.5, 2))}


def test_the_dearer_ones_are_made_on_request_of_the_likelihood_ratios():
    scores = made()
    scores.extras["llr"] = [repr(float(s) / 3) for s in scores.scores]
    metrics = evaluate(scores, intervals=Intervals(n=40, metrics=("cllr", "eer_official")), **ALL)
    s, y = in_order(scores)
    assert metrics["ci"]["cllr"] == pytest.approx(resampling.interval(cllr, s / 3, y, n=40))
    expected = resampling.interval(lambda s, y: eer_official(s, y)[0], s, y, n=40)
    assert metrics["ci"]["eer_official"] == pytest.approx(expected)
    assert "act_dcf" not in metrics["ci"]


def test_bca():
    scores = made(40)
    plain = evaluate(scores, intervals=Intervals(n=50), tandem=Tandem({"min_tdcf": EVEN}), **ALL)
    found = evaluate(scores, intervals=Intervals(n=50, method="bca"), tandem=Tandem({"min_tdcf": EVEN}), **ALL)
    assert (
        set(found["ci"]) == {"eer", "auc", "min_dcf", "min_tdcf", "fpr", "fnr"}
        and found["ci"]["eer"] != plain["ci"]["eer"]
    )
    expected = resampling.interval(auc, *in_order(scores), n=50, method="bca")
    assert found["ci"]["auc"] == pytest.approx(expected)


@pytest.mark.parametrize("cluster", ["speaker", "attack", "codec"])
def test_whole_clusters_are_drawn(cluster):
    scores = made()
    metrics = evaluate(scores, intervals=Intervals(n=50, cluster=cluster), **ALL)
    names = scores.attacks if cluster == "attack" else scores.extras[cluster]
    names = [names[i] for i in np.argsort(scores.scores, kind="stable")]
    expected = bootstrap.intervals(*in_order(scores), threshold=0.5, n=50, clusters=names)
    assert metrics["ci"]["eer"] == list(expected["eer"])


@pytest.mark.parametrize(
    ("intervals", "message"),
    [
        (Intervals(n=50, cluster="microphone"), "bootstrap.cluster=microphone"),
        (Intervals(n=50, cluster="same"), "bootstrap.cluster=same"),
        (Intervals(n=50, metrics=("t_eer",)), r"t_eer.* not among eer_official, act_dcf, cllr, min_cllr"),
        (Intervals(n=50, method="jackknife"), "bootstrap.method=jackknife"),
        (Intervals(n=5), "too few"),
        (Intervals(n=50, confidence=1.5), "confidence"),
    ],
)
def test_intervals_that_cannot_be_made(intervals, message):
    with pytest.raises(InputError, match=message):
        evaluate(made(same=["x"] * 60), intervals=intervals, **ALL)


# ---------------------------------------------------------------- conditions


def test_a_condition_is_judged_value_by_value():
    scores = made()
    metrics = evaluate(scores, **ALL)
    codecs, is_bonafide = np.array(scores.extras["codec"]), scores.labels == 1
    for codec in ("c0", "c1"):
        chosen, found = codecs == codec, metrics["by_codec"][codec]
        s, y = rows(scores, chosen)
        assert (found["n_bonafide"], found["n"]) == (int(y.sum()), int((y == 0).sum()))
        assert (found["eer"], found["eer_official"]) == (eer(s, y)[0], eer_official(s, y)[0])
        assert found["auc"] == auc(s, y)
        assert (found["fpr"], found["fnr"]) == (np.mean(s[y == 0] > 0.5), np.mean(s[y == 1] <= 0.5))
        for attack in ("A01", "A02"):
            of = chosen & (is_bonafide | (np.array(scores.attacks) == attack))
            assert metrics["by_attack_and_codec"][attack][codec] == eer(*rows(scores, of))[0]
    assert set(metrics["by_speaker"]) == {f"s{i}" for i in range(5)}
    assert "by_attack_and_speaker" not in metrics


def test_a_group_without_bona_fide_of_its_own_is_judged_against_all():
    scores = made(codec=["c0" if i % 3 == 0 else f"c{i % 2}" for i in range(60)])  # c1 is spoof only
    metrics = evaluate(scores, **ALL)
    found = metrics["by_codec"]["c1"]
    assert found["n_bonafide"] == 0 and found["n"] == 20
    against_all = (scores.labels == 1) | (np.array(scores.extras["codec"]) == "c1")
    assert found["eer"] == eer(*rows(scores, against_all))[0]
    assert found["fnr"] == metrics["fnr"]
    assert metrics["by_attack_and_codec"] == {  # A01 is the even ones
        "A01": {"c0": pytest.approx(metrics["by_attack"]["A01"]["eer"]), "c1": None},
        "A02": {"c0": None, "c1": pytest.approx(metrics["by_attack"]["A02"]["eer"])},
    }


def test_a_group_of_bona_fide_speech_only_has_no_eer():
    metrics = evaluate(made(codec=["studio" if i % 3 == 0 else "phone" for i in range(60)]), **ALL)
    studio = metrics["by_codec"]["studio"]
    assert (studio["n_bonafide"], studio["n"], studio["eer"], studio["fpr"]) == (20, 0, None, None)
    assert studio["fnr"] == metrics["fnr"]
    assert metrics["by_attack_and_codec"]["A01"]["studio"] is None


@pytest.mark.parametrize("codec", [["x"] * 60, [""] * 60, ["x"] * 30 + [""] * 30])
def test_a_column_of_one_value_is_no_condition(codec):
    metrics = evaluate(made(codec=codec), **ALL)
    assert not {"by_codec", "by_attack_and_codec"} & set(metrics)


def test_utterances_without_the_condition_are_in_no_group():
    metrics = evaluate(made(codec=["", "x", "y"] * 10 + ["x"] * 30), **ALL)
    assert set(metrics["by_codec"]) == {"x", "y"}
    assert sum(group["n"] + group["n_bonafide"] for group in metrics["by_codec"].values()) == 50


def test_a_column_of_very_many_values_is_no_condition(monkeypatch):
    monkeypatch.setattr(judging, "MOST_GROUPS", 4)
    metrics = evaluate(made(), **ALL)
    assert "by_speaker" not in metrics and "by_codec" in metrics
    assert "by_path" not in evaluate(made(path=[f"{i}.wav" for i in range(60)]), **ALL)


def test_unlabelled_utterances_are_in_no_group():
    scores = made()
    scores.labels[:30] = -1
    metrics = evaluate(scores, intervals=FEW, **ALL)
    assert sum(group["n"] + group["n_bonafide"] for group in metrics["by_codec"].values()) == 30


def test_attacks_of_the_training_stand_apart():
    scores = made()
    metrics = evaluate(scores, trained_on=["A01", "A99"], **ALL)
    expected = {"seen": "A01", "unseen": "A02"}
    assert metrics["by_training"] == {k: {**metrics["by_attack"][a], "attacks": [a]} for k, a in expected.items()}
    for trained_on in ((), ["A99"], ["A01", "A02"]):  # nothing to set apart
        assert evaluate(scores, trained_on=trained_on, **ALL)["by_training"] == {}


# ---------------------------------------------------------------- calibration


def test_likelihood_ratios_are_judged_where_there_are_any():
    scores = made()
    llrs = np.clip(2 * scores.scores - 1, -3, 3)
    plain = evaluate(scores, **ALL)
    scores.extras["llr"] = [repr(float(llr)) for llr in llrs]
    metrics = evaluate(scores, **ALL)
    y, p, wrong = scores.labels, posterior(llrs, 1 / 3), misleading(llrs, scores.labels)
    expected = {"act_dcf": act_dcf(llrs, y), "cllr": cllr(llrs, y), "min_cllr": min_cllr(llrs, y)}
    expected |= {"ece": ece(p, y), "brier": brier(p, y)}
    expected |= {"misleading_bonafide": wrong[0], "misleading_spoof": wrong[1]}
    assert set(expected) == set(CALIBRATION)
    assert {key: metrics[key] for key in CALIBRATION} == pytest.approx(expected, abs=1e-12)
    assert metrics["calibrated"] and not plain["calibrated"]
    assert not any("not calibrated" in note for note in metrics["notes"])
    assert any("not calibrated" in note for note in plain["notes"])
    assert plain["cllr"] == pytest.approx(cllr(scores.scores, y), abs=1e-12)  # as if they were likelihood ratios
    assert {k: v for k, v in metrics.items() if k not in {*CALIBRATION, "calibrated", "notes"}} == {
        k: v for k, v in plain.items() if k not in {*CALIBRATION, "calibrated", "notes"}
    }  # the rest is of the scores, which no cap has tied


# ---------------------------------------------------------------- tandem


def test_coefficients_alone_give_the_revised_cost_and_no_tandem_eer(tmp_path):
    cell = {"C0": 0.1, "C1": 0.8, "C2": 0.4}
    (tmp_path / "c012.json").write_text(json.dumps({"Pooled": {"Pooled": cell}}))
    scores = made()
    metrics = evaluate(scores, tandem=read_tandem(tmp_path / "c012.json"), intervals=FEW, **ALL)
    assert metrics["min_tdcf"] == min_tdcf_of(scores.scores, scores.labels, c0=0.1, c1=0.8, c2=0.4)[0]
    assert metrics["min_tdcf_legacy"] is None and metrics["t_eer"] is None
    assert metrics["tdcf_weights"] == {"min_tdcf": [0.1, 0.8, 0.4]}
    assert "min_tdcf" in metrics["ci"] and "min_tdcf_legacy" not in metrics["ci"]


def test_asv_scores_give_all_three(tmp_path):
    rng = np.random.default_rng(0)
    kinds = [("bonafide target", 3), ("bonafide nontarget", -3), ("A01 spoof", 1)]
    lines = [f"{kind} {mean + rng.normal():.6f}" for kind, mean in kinds for _ in range(40)]
    (tmp_path / "asv.txt").write_text("\n".join(lines) + "\n")
    metrics = evaluate(made(), tandem=read_tandem(tmp_path / "asv.txt"), **ALL)
    assert all(0 < metrics[key] <= 1 for key in ("min_tdcf_legacy", "min_tdcf", "t_eer"))


# ---------------------------------------------------------------- the trials


def changed(of, **fields):
    return Scores(**{"ids": of.ids, "labels": of.labels, "attacks": of.attacks, "scores": of.scores} | fields)


def test_the_hash_of_the_trials_tells_other_trials_and_nothing_else():
    def digest(scores):
        return evaluate(scores, **ALL)["trials_sha256"]

    scores = made()
    before = digest(scores)
    assert re.fullmatch("[0-9a-f]{64}", before)
    back = slice(None, None, -1)
    turned = {"ids": scores.ids[back], "labels": scores.labels[back], "attacks": scores.attacks[back]}
    assert digest(changed(scores, **turned)) == before
    assert digest(changed(scores, scores=-scores.scores)) == before
    assert digest(changed(scores, ids=[f"eval/{name}.flac" for name in scores.ids])) == before
    assert digest(changed(scores, attacks=[attack or "-" for attack in scores.attacks])) == before
    other = scores.labels.copy()
    other[0] = 0
    assert digest(changed(scores, labels=other)) != before
    other[0] = -1
    assert digest(changed(scores, labels=other)) != before
    assert digest(changed(scores, ids=["v0", *scores.ids[1:]])) != before
    assert digest(changed(scores, attacks=["A03" if a == "A02" else a for a in scores.attacks])) != before
    swapped = [scores.ids[3], *scores.ids[1:3], scores.ids[0], *scores.ids[4:]]  # two bona fide ones: the same set
    assert digest(changed(scores, ids=swapped)) == before


@given(
    ids=st.lists(
        st.text(st.characters(exclude_characters="/\\.\0", codec="utf-8"), min_size=1), min_size=1, unique=True
    )
)
@settings(max_examples=200, deadline=None)
def test_the_hash_is_over_the_columns_in_the_order_of_the_ids(ids):
    n = len(ids)
    attacks = [f"A{i % 3}" if i % 2 else "" for i in range(n)]
    scores = Scores(ids, [1 - i % 2 for i in range(n)], attacks, range(n))
    names = sorted({attack or "-" for attack in attacks})
    rows = sorted((name.encode(), 1 - i % 2, names.index(attacks[i] or "-")) for i, name in enumerate(ids))
    width = max(len(name) for name, _, _ in rows)
    digest = hashlib.sha256(json.dumps([n, *names]).encode())
    digest.update(b"".join(name.ljust(width, b"\0") for name, _, _ in rows))
    for column in (1, 2):
        digest.update(b"".join(row[column].to_bytes(4, "little") for row in rows))
    assert evaluate(scores, **ALL)["trials_sha256"] == digest.hexdigest()


# ---------------------------------------------------------------- whatever comes


TEXTS = st.sampled_from(["", "-", "x", "y", "A01", "ä, \n\"'"])
LIKELY = st.sampled_from([0.0, 1.0, -1.0]) | st.floats(-1e100, 1e100)


@st.composite
def score_files(draw):
    n = draw(st.integers(1, 12))

    def column(cells):
        return draw(st.lists(cells, min_size=n, max_size=n))

    extras = {name: column(TEXTS) for name in draw(st.sets(st.sampled_from(["speaker", "codec", "room"])))}
    if draw(st.booleans()):
        extras["llr"] = [repr(llr) for llr in column(st.floats(-50, 50))]
    labels = column(st.sampled_from([0, 1, None]))
    return Scores([f"u{i}" for i in range(n)], labels, column(TEXTS), column(LIKELY), extras)


@settings(deadline=None, max_examples=150)
@given(
    score_files(),
    st.none() | st.floats(-2, 2),
    st.booleans(),
    st.sampled_from([Intervals(n=0), Intervals(n=40), Intervals(n=40, metrics=("cllr", "act_dcf"))]),
)
def test_any_score_file_is_judged_in_finite_numbers(scores, threshold, with_asv, intervals):
    tandem = Tandem({"min_tdcf_legacy": EVEN, "min_tdcf": Weights(0.1, 0.2, 0.3)}) if with_asv else None
    options = {"tandem": tandem, "intervals": intervals, "trained_on": ["A01"], "dataset": "d", "partition": "p"}
    metrics = evaluate(scores, threshold=threshold, **options)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    n = metrics["n_bonafide"], metrics["n_spoof"]
    assert n == (int((scores.labels == 1).sum()), int((scores.labels == 0).sum()))
    assert (metrics["eer"] is None) == (0 in n)
    shares = ("eer", "eer_official", "auc", "fpr", "fnr", "accuracy", "min_dcf", "min_tdcf", "ece", "brier")
    assert all(metrics[key] is None or 0 <= metrics[key] <= 1 + 1e-12 for key in shares)
    assert sum(entry["n"] for entry in metrics["by_attack"].values()) in (0, n[1])


def test_every_key_is_there_whatever_the_data():
    # what reads metrics.json need not ask
    whole, empty = evaluate(made(), **ALL), evaluate(Scores(["a"], [None], [""], [1.0]), **ALL)
    conditions = {key for key in whole if key.startswith("by_")} - {"by_attack", "by_training"}
    assert set(empty) == set(whole) - conditions
