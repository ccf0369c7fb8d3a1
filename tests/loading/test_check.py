from __future__ import annotations

import logging

from tiny import touch, write_audio

from deepfake.datasets import folder
from deepfake.datasets.corpus import Corpus, Reader
from deepfake.datasets.layout import NoPartition
from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError
from deepfake.loading.check import check


def corpus(tmp_path, error):
    paths = [write_audio(tmp_path / f"{i}.wav", spoof=i > 0, seed=i) for i in range(2)]

    def read(partition):
        if partition == "train":
            raise error
        return [Utterance(f"{partition}{i}", str(path), 1 - i, "A01" * i) for i, path in enumerate(paths)]

    return Corpus("la", Reader(read))


def test_a_partition_that_is_not_there_by_design_is_no_problem(tmp_path, capsys):
    assert check(corpus(tmp_path, NoPartition("it has no train partition"))) == 0
    shown = capsys.readouterr().out
    assert "\nit has no train partition\n" in shown and "A01:1" in shown


def test_a_partition_that_is_missing_is_a_problem(tmp_path, capsys):
    assert check(corpus(tmp_path, InputError("its protocol is missing"))) == 1
    assert "\n- its protocol is missing\n" in capsys.readouterr().out


def test_no_utterances_at_all_is_a_problem(capsys):
    assert check(Corpus("list", Reader(lambda partition: []))) == 1
    assert "\n- list: there are no utterances in any partition\n" in capsys.readouterr().out


def test_an_empty_partition_beside_others_is_stated(tmp_path, capsys):
    path = write_audio(tmp_path / "a.wav", spoof=False, seed=0)
    one = [Utterance("a", str(path), 1)]
    assert check(Corpus("list", Reader(lambda partition: one if partition == "eval" else []))) == 0
    assert "\nlist, partition dev: there are no utterances in it\n" in capsys.readouterr().out


def test_a_folder_of_links(tmp_path, capsys, caplog):
    store = tmp_path / "store"
    for partition in ("train", "dev", "eval"):
        for i, name in enumerate(("real", "fake")):
            write_audio(store / partition / name / f"{name}.wav", spoof=i > 0, seed=i)
            (tmp_path / "corpus" / partition).mkdir(parents=True, exist_ok=True)
            (tmp_path / "corpus" / partition / name).symlink_to(store / partition / name)
    touch(store, "eval/real/.DS_Store", "eval/real/._real.wav")
    corpus = Corpus("folder", Reader(folder.utterances), {"root": str(tmp_path / "corpus")})
    with caplog.at_level(logging.INFO, logger="deepfake"):
        assert check(corpus) == 0
    assert caplog.messages == [f"{tmp_path}/corpus/eval/real: 2 files that are not audio are skipped"]
    (store / "eval" / "real" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    assert check(corpus) == 1
    assert f"- eval: {tmp_path}/corpus/eval/real/gone.wav is missing (1 are)\n" in capsys.readouterr().out
    for partition in ("train", "dev", "eval"):
        for name in ("real", "fake"):
            (store / partition / name / f"{name}.wav").unlink()
    (store / "eval" / "real" / "gone.wav").unlink()
    assert check(corpus) == 3


def test_speakers_in_two_partitions_are_a_problem_that_names_them(tmp_path, capsys):
    path = str(write_audio(tmp_path / "a.wav", spoof=False, seed=0))
    speakers = {"train": "ann", "dev": "bob", "eval": "ann"}

    def read(partition):
        of_class = [(f"{partition}{label}", path, label, "A01" * (1 - label)) for label in (0, 1)]
        return [Utterance(*facts, speaker=speakers[partition]) for facts in of_class]

    assert check(Corpus("la", Reader(read))) == 1
    shown = capsys.readouterr().out
    assert "\n- 1 speakers are in both train and eval: ann\n" in shown and "bob" not in shown
    speakers["eval"] = "cid"
    assert check(Corpus("la", Reader(read))) == 0


def test_a_utterance_that_is_listed_twice_is_a_problem(tmp_path, capsys):
    path = str(write_audio(tmp_path / "a.wav", spoof=False, seed=0))

    def read(partition):
        return [Utterance(f"{partition}{i}", path, label, "A01" * (1 - label)) for i, label in enumerate((0, 1, 1))]

    def twice(partition):
        return [*read(partition), read(partition)[0]] if partition == "dev" else read(partition)

    assert check(Corpus("la", Reader(read))) == 0
    assert check(Corpus("la", Reader(twice))) == 1
    assert "- dev: 1 utterances are listed more than once, as dev0" in capsys.readouterr().out


def test_an_eval_partition_of_one_class_is_no_problem_but_one_to_train_on_is(tmp_path):
    path = str(write_audio(tmp_path / "a.wav", spoof=False, seed=0))
    single = {"eval"}

    def read(partition):
        labels = (1,) if partition in single else (0, 1)
        return [Utterance(f"{partition}{label}", path, label, "A01" * (1 - label)) for label in labels]

    assert check(Corpus("la", Reader(read))) == 0
    single.add("dev")
    assert check(Corpus("la", Reader(read))) == 1


def test_a_file_too_short_by_its_header_is_a_problem(tmp_path, capsys):
    good = str(write_audio(tmp_path / "a.wav", spoof=False, seed=0))
    short = str(write_audio(tmp_path / "short.wav", spoof=False, seed=0, seconds=0.009))

    def read(partition):
        paths = (good, short if partition == "dev" else good)
        return [Utterance(f"{partition}{i}", path, i, "A01" * (1 - i)) for i, path in enumerate(paths)]

    assert check(Corpus("la", Reader(read))) == 1
    assert "short.wav lasts 0.009 s: at least 0.01 s are needed" in capsys.readouterr().out
