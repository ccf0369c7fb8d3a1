from __future__ import annotations

from tiny import write_audio

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
