from __future__ import annotations

import pytest

from deepfake.datasets.corpus import Corpus, Reader
from deepfake.datasets.manifest import utterances
from deepfake.errors import InputError


def read(partition, path):
    return Corpus("manifest", Reader(utterances), {"root": str(path)}).select(partition, 0)


@pytest.fixture
def listed(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.wav").touch()

    def write(text):
        path = tmp_path / "m.csv"
        path.write_text(text)
        return path

    return write


def test_two_columns_are_enough_and_paths_are_relative_to_the_file(listed):
    found = read("eval", listed("path,label\na.wav,real\nb.wav,0\n"))
    assert [(u.id, u.label) for u in found] == [("a", 1), ("b", 0)]


def test_rows_go_to_their_partition(listed):
    path = listed("path,label,partition,attack,speaker\na.wav,1,train,,s1\nb.wav,0,dev,A01,s2\nc.wav,,,,\n")
    assert [u.id for u in read("train", path)] == ["a", "c"]
    assert [(u.id, u.attack, u.speaker) for u in read("dev", path)] == [("b", "A01", "s2"), ("c", "", "")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.wav,1\n", "path and label were expected"),
        ("path,label,attack,attack\na.wav,1,A1,A2\n", "path and label were expected, each once"),
        ("path,label,weight\na.wav,1,heavy\n", "line 2: weight 'heavy'"),
        ("path,label,weight\na.wav,1,-1\n", "line 2: weight '-1'"),
        ("path,label\na.wav,maybe\n", "m.csv, line 2: unknown key 'maybe'"),
        ("path,label\nx.wav,1\n", r"m.csv, line 2: .*x.wav is missing"),
        ("path,label\na.wav,1\na.wav,1\n", "a is listed twice"),
        ("path,label,partition\na.wav,1,test\n", "line 2: partition 'test'"),
        ("path,label\na.wav,1,2\n", "line 2: the number of columns"),
        ("path,label\n", "no utterances"),
    ],
)
def test_a_broken_manifest_is_named_with_its_line(listed, text, message):
    with pytest.raises(InputError, match=message):
        read("train", listed(text))


def test_no_manifest(tmp_path):
    with pytest.raises(InputError, match="no such manifest"):
        read("train", tmp_path / "m.csv")
