from __future__ import annotations

import shutil

import pytest

from deepfake.datasets.asvspoof2019_la import PROTOCOLS, TRIALS, asv_scores, utterances
from deepfake.datasets.corpus import Corpus
from deepfake.errors import InputError


def read(partition, root):
    return Corpus("asvspoof2019_la", utterances, {"root": str(root)}).select(partition, 0)


def test_the_archive_as_it_unpacks(tiny_la):
    train = read("train", tiny_la)
    assert len(train) == 12
    assert train[0].label == 1 and train[0].attack == "" and train[0].speaker == "LA_0000"
    assert train[1].label == 0 and train[1].attack == "A01" and train[1].id == "LA_T_1000001"
    assert {u.attack for u in read("eval", tiny_la)} == {"", "A07"}
    assert asv_scores("dev", root=str(tiny_la)).name == "ASVspoof2019.LA.asv.dev.gi.trl.scores.txt"
    assert asv_scores("train", root=str(tiny_la)) is None


def test_the_folder_above_serves_too(tiny_la, tmp_path):
    (tmp_path / "LA").symlink_to(tiny_la)
    assert len(read("dev", tmp_path)) == 12
    (tmp_path / "kaggle" / "LA").mkdir(parents=True)
    (tmp_path / "kaggle" / "LA" / "LA").symlink_to(tiny_la)
    assert len(read("dev", tmp_path / "kaggle")) == 12


def test_a_protocol_beside_the_audio(tiny_la, tmp_path):
    shutil.copytree(tiny_la, tmp_path, dirs_exist_ok=True)
    for partition, name in PROTOCOLS.items():
        place = tmp_path / f"ASVspoof2019_LA_{partition}" / "protocol"
        place.mkdir()
        shutil.move(tmp_path / "ASVspoof2019_LA_cm_protocols" / name, place / name)
    assert [u.id for u in read("train", tmp_path)] == [u.id for u in read("train", tiny_la)]


def test_files_that_no_protocol_lists_are_left_alone(tiny_la, tmp_path):
    shutil.copytree(tiny_la, tmp_path, dirs_exist_ok=True)
    flac = tmp_path / "ASVspoof2019_LA_dev" / "flac"
    shutil.copy(flac / "LA_D_1000000.flac", flac / "LA_D_9999999.flac")
    assert len(read("dev", tmp_path)) == 12


@pytest.fixture
def broken(tiny_la, tmp_path):
    shutil.copytree(tiny_la, tmp_path, dirs_exist_ok=True)
    return tmp_path, tmp_path / "ASVspoof2019_LA_cm_protocols" / PROTOCOLS["dev"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.replace("bonafide", "bonfide", 1), r"dev.trl.txt, line 1: unknown key 'bonfide'"),
        (lambda t: t + t.splitlines()[2] + "\n", r"line 13: utterance LA_D_1000002 is listed already on line 3"),
        (lambda t: t.replace(" - A01 ", " A01 ", 1), r"line 2: 4 columns, 5 were expected"),
        (lambda t: t.replace("LA_D_1000003", "LA_D_7777777"), r"line 4: .*LA_D_7777777.flac is missing \(1 of the 12"),
        (lambda t: "", "no utterances"),
    ],
)
def test_a_broken_protocol_is_named_with_its_line(broken, edit, message):
    root, protocol = broken
    protocol.write_text(edit(protocol.read_text()))
    with pytest.raises(InputError, match=message):
        read("dev", root)


def test_a_wrong_root_says_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        read("dev", tmp_path / "nowhere")
    with pytest.raises(InputError, match="ASVspoof2019_LA_train"):
        read("dev", tmp_path)
    (tmp_path / "ASVspoof2019_LA_dev").mkdir()
    with pytest.raises(InputError, match="the protocol of partition dev is missing"):
        read("dev", tmp_path)


def test_a_partial_corpus_is_noticed(tiny_la, caplog):
    read("eval", tiny_la)
    assert "6 bona fide and 6 spoof trials, 7,355 bona fide and 63,882 spoof were published" in caplog.text
    assert {p: sum(t) for p, t in TRIALS.items()} == {"train": 25380, "dev": 24844, "eval": 71237}


def test_the_shared_corpus_reads_whole(shared):
    counts = {p: len(read(p, shared / "data" / "LA")) for p in PROTOCOLS}
    assert counts == {"train": 400, "dev": 200, "eval": 400}
