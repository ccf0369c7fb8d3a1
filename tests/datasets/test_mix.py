from __future__ import annotations

import math

import pytest

from deepfake.datasets.corpus import Corpus, Reader
from deepfake.datasets.layout import NoPartition
from deepfake.datasets.mix import utterances
from deepfake.datasets.utterance import PARTITIONS, Utterance, unique
from deepfake.errors import InputError
from deepfake.scores.table import Scores


def corpus(n, *, has=PARTITIONS, weights=None, **said):
    def read(partition):
        if partition not in has:
            raise NoPartition(f"there is no {partition}")
        return [
            Utterance(str(i), f"/{n}/{i}.wav", i % 2, conditions=said, weight=weights[i] if weights else 1.0)
            for i in range(n)
        ]

    return Corpus("part", Reader(read))


def part(tmp_path, *, stretches=None, asv=None):
    """A corpus of one bona fide, one spoofed and one unlabelled utterance, with what is known of it."""
    listed = [Utterance("r", "", 1), Utterance("f", "", 0, "A01"), Utterance("x", "", None)]
    path = tmp_path / asv if asv else None
    return Corpus("part", Reader(lambda partition: listed, lambda partition: stretches, lambda partition: path))


def shares(found):
    total = sum(u.weight for u in found)
    names = dict.fromkeys(u.conditions["corpus"] for u in found)
    return {name: sum(u.weight for u in found if u.conditions["corpus"] == name) / total for name in names}


def test_parts_keep_their_utterances_under_names_of_their_own():
    found = utterances("train", parts={"la": corpus(4, codec="alaw"), "itw": corpus(2)})
    assert [u.id for u in unique(found, "mix")] == ["la-0", "la-1", "la-2", "la-3", "itw-0", "itw-1"]
    assert found[0].conditions == {"codec": "alaw", "corpus": "la"} and found[4].conditions == {"corpus": "itw"}
    assert found[3].path == "/4/3.wav" and found[3].label == 1
    Scores([u.id for u in found], [u.label for u in found], [""] * 6, range(6))  # ids differ to the score file too


def test_a_weight_is_a_share_of_the_draws_whatever_the_size():
    parts = {"big": corpus(1000), "small": corpus(10)}
    assert shares(utterances("train", parts=parts)) == pytest.approx({"big": 0.5, "small": 0.5})
    found = utterances("train", parts=parts, weights={"small": 0.5})
    assert shares(found) == pytest.approx({"big": 2 / 3, "small": 1 / 3})
    assert sum(u.weight for u in found) == pytest.approx(len(found))
    assert shares(utterances("train", parts=parts, weights={"big": 0})) == {"big": 0, "small": 1}


def test_a_parts_own_weights_hold_within_it():
    parts = {"a": corpus(2, weights=[3.0, 1.0]), "b": corpus(4)}
    found = utterances("train", parts=parts)
    assert shares(found) == pytest.approx({"a": 0.5, "b": 0.5})
    assert found[0].weight == pytest.approx(3 * found[1].weight)


def test_equal_parts_need_no_weights():
    found = utterances("train", parts={"a": corpus(6), "b": corpus(6), "c": corpus(6)})
    assert {u.weight for u in found} == {1.0}


def test_a_part_without_a_partition_is_an_error_unless_said():
    parts = {"la": corpus(4), "itw": corpus(2, has=["eval"])}
    with pytest.raises(
        InputError, match=r"part itw: there is no train; or .*dataset.partitions=\{itw: \[dev, eval\]\}"
    ):
        utterances("train", parts=parts)
    assert len(utterances("train", parts=parts, partitions={"itw": ["eval"]})) == 4
    assert len(utterances("eval", parts=parts, partitions={"itw": ["eval"]})) == 6
    with pytest.raises(NoPartition, match="the mix has no dev partition"):
        utterances("dev", parts=parts, partitions={"itw": ["eval"], "la": ["train"]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": {}}, r"the mix has no parts: add some as \+dataset@dataset.parts.NAME=CORPUS"),
        ({"parts": {"a-b": corpus(2)}}, "dataset.parts.a-b: a name of letters"),
        ({"weights": {"b": 1}}, "dataset.weights.b: there is no such part, the parts are a"),
        ({"weights": {"a": -1}}, "dataset.weights.a=-1: a number from 0"),
        ({"weights": {"a": "much"}}, "dataset.weights.a=much: a number from 0"),
        ({"partitions": {"a": "eval"}}, "dataset.partitions.a=eval: a list of train, dev, eval"),
        ({"partitions": {"a": ["test"]}}, r"dataset.partitions.a=\['test'\]: a list of train"),
    ],
)
def test_unusable_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        utterances("train", **({"parts": {"a": corpus(2)}} | options))


def test_a_parts_error_names_the_part():
    def broken(partition):
        raise InputError("its root is not a folder")

    reader = Reader(broken, segments=broken, asv_scores=broken)
    for question in (utterances, utterances.segments, utterances.asv_scores):
        with pytest.raises(InputError, match="part a: its root is not a folder"):
            question("train", parts={"a": Corpus("part", reader)})


def test_stretches_of_parts_that_know_them_stand_beside_the_labels_of_those_that_do_not(tmp_path):
    known = {"r": [], "f": [(0.5, 1.0, "A02")], "x": []}
    parts = {"cut": part(tmp_path, stretches=known), "whole": part(tmp_path)}
    found = utterances.segments("eval", parts=parts)
    assert found == {
        "cut-r": [],
        "cut-f": [(0.5, 1.0, "A02")],
        "cut-x": [],
        "whole-r": [],
        "whole-f": [(0.0, math.inf, "A01")],
    }
    assert {u.id for u in utterances("eval", parts=parts)} - set(found) == {"whole-x"}  # it has no label to go by


def test_there_are_no_stretches_where_no_part_of_the_partition_knows_any(tmp_path):
    parts = {"cut": part(tmp_path, stretches={"r": [], "f": [(0.5, 1.0, "A02")], "x": []}), "whole": part(tmp_path)}
    taken = {"cut": ["train"]}
    assert utterances.segments("dev", parts=parts, partitions=taken) is None
    assert len(utterances.segments("train", parts=parts, partitions=taken)) == 5


@pytest.mark.parametrize(
    ("files", "found", "said"),
    [
        ({"a": "asv", "b": "asv"}, "asv", ""),
        ({"a": None, "b": None}, None, ""),
        ({"a": None, "b": "asv", "c": "asv"}, "asv", "the t-DCF of the mix takes the ASV scores of b, c for a too"),
        (
            {"a": "asv", "b": "other", "c": None},
            None,
            "the mix has no t-DCF: its parts a, b have ASV scores of their own",
        ),
    ],
)
def test_the_asv_scores_are_those_of_the_one_asv_system_of_the_parts(tmp_path, caplog, files, found, said):
    parts = {name: part(tmp_path, asv=file) for name, file in files.items()}
    assert utterances.asv_scores("eval", parts=parts) == (found and tmp_path / found)
    assert [record.message for record in caplog.records] == [said] * bool(said)


def test_a_mix_forwards_everything_of_a_mix_in_it(tmp_path):
    cut = part(tmp_path, stretches={"r": [], "f": [], "x": []}, asv="asv")
    parts = {"in": Corpus("mix", utterances, {"parts": {"cut": cut}})}
    assert [*utterances.segments("dev", parts=parts)] == ["in-cut-r", "in-cut-f", "in-cut-x"]
    assert utterances.asv_scores("dev", parts=parts) == tmp_path / "asv"
