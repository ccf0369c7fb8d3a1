from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import touch

from deepfake.datasets.corpus import Corpus, Reader
from deepfake.datasets.manifest import rows, utterances
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
        ("path,label,partition\na.wav,1,tset\n", "line 2: partition 'tset' is not one of train, dev, eval"),
        ("path,label,Path\na.wav,1,b.wav\n", "path and label were expected, each once"),
        ("path,label\n ,1\n", "line 2: the path is empty"),
        ("path,label,id\na.wav,1,x\nb.wav,0,x\n", "x is listed twice, in .*line 2 and .*line 3"),
        ('path,label\n"a.wav,1\n', "line 2: the number of columns"),
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


def test_the_same_file_name_in_two_folders_is_two_utterances(tmp_path):
    touch(tmp_path, "r/001.wav", "f/001.wav", "f/002.wav", "f/deep/003.wav", "r/deep/003.wav")
    path = tmp_path / "stem.csv"
    path.write_text("path,label\nr/001.wav,real\nf/001.wav,fake\nf/002.wav,fake\n")
    assert [(u.id, u.label) for u in read("eval", path)] == [("r-001", 1), ("f-001", 0), ("002", 0)]
    path.write_text(f"path,label\n{tmp_path}/r/../f/deep/003.wav,0\nr/deep/003.wav,1\n")
    assert [u.id for u in read("eval", path)] == ["f-deep-003", "r-deep-003"]
    path.write_text("path,label,partition\nr/001.wav,real,train\nf/001.wav,fake,dev\n")
    assert [u.id for u in read("train", path)] == ["001"]  # unique where it is used
    path.write_text("path,label,id\nr/001.wav,real,left\nf/001.wav,fake,right\n")
    assert [u.id for u in read("eval", path)] == ["left", "right"]
    path.write_text("path,label\nr/001.wav,real\nf/001.wav,fake\nr/001.wav,real\n")
    with pytest.raises(InputError, match=r"r-001 is listed twice, in .*line 2 and .*line 4"):
        read("eval", path)


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_a_column_of_row_numbers_is_left_out(listed, name):
    found = read("eval", listed(f"{name},path,label,codec,\n0,a.wav,real,mp3,\n1,b.wav,fake,,\n"))
    assert [(u.id, u.label, u.conditions) for u in found] == [("a", 1, {"codec": "mp3"}), ("b", 0, {})]


@pytest.mark.parametrize(
    ("word", "partition"),
    [
        *[("train", "train"), ("Train", "train"), ("training", "train"), ("dev", "dev"), ("development", "dev")],
        *[("val", "dev"), ("Valid", "dev"), ("validation", "dev"), (" eval ", "eval"), ("test", "eval")],
        *[("TESTING", "eval"), ("evaluation", "eval")],
    ],
)
@pytest.mark.parametrize("heading", ["partition", " Split"])
def test_names_of_partitions(listed, heading, word, partition):
    path = listed(f"path,label,{heading}\na.wav,1,{word}\n")
    assert [u.partition for u in utterances(partition, root=str(path))] == [partition]
    assert all(utterances(other, root=str(path)) == [] for other in {"train", "dev", "eval"} - {partition})


def test_a_folder_of_manifests_by_the_names_of_partitions(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    (tmp_path / "Train.csv").write_text("path,label\na.wav,1\n")
    (tmp_path / "val.csv").write_text("path,label\nb.wav,1\n")
    assert [u.id for u in read("train", tmp_path)] == ["a"]
    assert [u.id for u in read("dev", tmp_path)] == ["b"]
    with pytest.raises(InputError, match=r"eval.csv: no such manifest"):
        read("eval", tmp_path)
    touch(tmp_path, "dev.csv")
    with pytest.raises(InputError, match=r"holds dev\.csv and val.csv: one file per partition"):
        read("dev", tmp_path)


def test_paths_of_windows_of_home_and_with_padding(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    touch(tmp_path, "sub/a.wav", "home/b.wav", "odd\\name.wav", " c.wav", "d.wav")
    path = tmp_path / "m.csv"
    path.write_text("path,label\nsub\\a.wav,1\n~/b.wav,1\nodd\\name.wav,1\n c.wav,1\n  d.wav ,1\n")
    expected = ["sub/a.wav", "home/b.wav", "odd\\name.wav", " c.wav", "d.wav"]
    assert [u.path for u in read("eval", path)] == [str(tmp_path / name) for name in expected]


CELL = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8).filter("-".__ne__)
LABELS = {1: ["1", "1.0", "True", "real", "Genuine", "human", "bona-fide"], 0: ["0", "0.0", "FALSE", "fake", "spoof"]}


@given(
    listed=st.lists(st.tuples(CELL, st.sampled_from([1, 0]), CELL, st.sampled_from(["train", "dev", "eval", ""]))),
    data=st.data(),
    separator=st.sampled_from(",;\t|"),
    padding=st.sampled_from(["", " ", "  "]),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    numbered=st.booleans(),
    trailing=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_every_dialect_is_read_alike(tmp_path_factory, listed, data, separator, padding, end, bom, numbered, trailing):
    lines = [["path", "label", "attack", "partition"]]
    for i, (_, label, attack, partition) in enumerate(listed):
        lines.append([f"{i}.wav", data.draw(st.sampled_from(LABELS[label])), attack, partition])
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator=end)
    for i, cells in enumerate(lines):
        padded = [f"{cell}{padding}" for cell in cells]
        writer.writerow([*([i - 1 if i else ""] * numbered), *padded, *([""] * trailing)])
    path = tmp_path_factory.mktemp("m") / "m.csv"
    path.write_bytes(text.getvalue().encode("utf-8-sig" if bom else "utf-8"))
    found = [(u.path, u.label, u.attack, u.partition, u.conditions) for u in rows(path)]
    assert found == [
        (str(path.parent / f"{i}.wav"), label, attack, partition, {})
        for i, (_, label, attack, partition) in enumerate(listed)
    ]
