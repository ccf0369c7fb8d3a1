from __future__ import annotations

import pytest
import soundfile
from tiny import touch, write_lines

from deepfake.datasets.corpus import Corpus
from deepfake.datasets.layout import NoPartition
from deepfake.datasets.spliced import TRIALS, segments, utterances
from deepfake.errors import InputError


def read(partition, root):
    return Corpus("spliced", utterances, {"root": str(root)}).select(partition, 0)


@pytest.fixture
def listed(tmp_path):
    touch(tmp_path, "dev/a.flac", "dev/b.flac", "eval/c.flac")

    def write(*lines, header="file,start_s,end_s,system"):
        write_lines(tmp_path / "labels.csv", header, *lines)
        return tmp_path

    return write


def test_a_list_of_stretches(listed):
    root = listed("dev/a.flac,,,-", "dev/b.flac,1.5,2.25,A05", "dev/b.flac,0.5,1,A04", "eval/c.flac,0,0.2,A07")
    assert [(u.id, u.label, u.attack) for u in read("dev", root)] == [("a", 1, ""), ("b", 0, "A04+A05")]
    assert segments("dev", root=str(root)) == {"a": [], "b": [(0.5, 1.0, "A04"), (1.5, 2.25, "A05")]}
    assert segments("eval", root=str(root)) == {"c": [(0.0, 0.2, "A07")]}
    with pytest.raises(NoPartition, match="lists no train files: dev, eval is all it has"):
        utterances("train", root=str(root))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("dev/b.flac,1,,A05", "line 3: time '': a number from 0"),
        ("dev/b.flac,2,1,A05", "line 3: the stretch ends at 1 s, before or where it starts, 2 s"),
        ("dev/b.flac,-1,1,A05", "line 3: time '-1': a number from 0"),
        ("dev/b.flac,1,inf,A05", "line 3: time 'inf': a number from 0"),
        ("dev/b.flac,1,2,-", "line 3: start, end and system of a spoofed stretch"),
        ("dev/b.flac,,,A05", "line 3: start, end and system of a spoofed stretch"),
        ("dev/a.flac,1,2,A05", "line 3: start, end and system of a spoofed stretch"),
        ("dev/b.flac,1,2", "line 3: 3 columns, 4 were expected"),
        ("b.flac,1,2,A05", "line 3: 'b.flac' does not begin with train, dev or eval"),
    ],
)
def test_a_broken_line_is_named(listed, line, message):
    with pytest.raises(InputError, match=rf"labels.csv, {message}"):
        utterances("dev", root=str(listed("dev/a.flac,,,-", line)))


def test_another_header_is_refused(listed):
    with pytest.raises(InputError, match=r"labels.csv: the header is .*: file,start_s,end_s,system was expected"):
        utterances("dev", root=str(listed("dev/a.flac,0,1,A01", header="file,start,end,system")))


@pytest.fixture
def partialspoof(tmp_path):
    base = tmp_path / "database"
    write_lines(
        base / "protocols/PartialSpoof_LA_cm_protocols/PartialSpoof.LA.cm.dev.trl.txt",
        "LA_0069 CON_D_0000000 - CON spoof",
        "LA_0070 LA_D_1000265 - - bonafide",
    )
    write_lines(
        base / "dev/con_data/rttm_2cls_0sil",
        "SPEAKER CON_D_0000000 1 0.000 1.060 <NA> <NA> bonafide <NA> <NA>",
        "SPEAKER CON_D_0000000 1 1.060 0.740 <NA> <NA> spoof <NA> <NA>",
        "SPEAKER LA_D_1000265 1 0.000 2.500 <NA> <NA> bonafide <NA> <NA>",
    )
    return touch(tmp_path, *(f"database/dev/con_wav/{n}.wav" for n in ("CON_D_0000000", "LA_D_1000265")))


def test_partialspoof(partialspoof, caplog):
    spoof, bona_fide = read("dev", partialspoof)
    assert (spoof.id, spoof.label, spoof.attack, spoof.speaker) == ("CON_D_0000000", 0, "CON", "LA_0069")
    assert (bona_fide.label, bona_fide.attack) == (1, "")
    assert "1 bona fide and 1 spoof trials, 2,548 bona fide and 22,296 spoof were published" in caplog.text
    assert {p: sum(t) for p, t in TRIALS.items()} == {"train": 25380, "dev": 24844, "eval": 71237}
    found = segments("dev", root=str(partialspoof / "database"))
    assert found == {"CON_D_0000000": [(1.06, pytest.approx(1.8), "CON")], "LA_D_1000265": []}


def test_partialspoof_pickles_are_never_opened(partialspoof):
    (partialspoof / "database/dev/con_data/rttm_2cls_0sil").unlink()
    touch(partialspoof, "database/segment_labels/dev_seglab_0.01.npy")
    with pytest.raises(InputError, match=r"no rttm_2cls_0sil in .*\.npy are pickles, which are not opened"):
        segments("dev", root=str(partialspoof))
    with pytest.raises(InputError, match=r"PartialSpoof.LA.cm.eval.trl.txt: cannot be read"):
        utterances("eval", root=str(partialspoof))


def test_a_broken_rttm_is_named(partialspoof):
    rttm = partialspoof / "database/dev/con_data/rttm_2cls_0sil"
    write_lines(rttm, "SPEAKER CON_D_0000009 1 0 1 <NA> <NA> spoof <NA> <NA>")
    with pytest.raises(InputError, match=r"rttm_2cls_0sil, line 1: 10 columns with an utterance of the protocol"):
        segments("dev", root=str(partialspoof))


def test_a_root_without_either_layout(tmp_path):
    with pytest.raises(InputError, match=r"holds no labels.csv and no protocols.*give a folder with labels.csv, or"):
        utterances("dev", root=str(tmp_path))
    with pytest.raises(InputError, match="is not a folder"):
        segments("dev", root=str(tmp_path / "nowhere"))


def test_the_shared_recordings_read(shared):
    for partition in ("dev", "eval"):
        found = read(partition, shared / "data" / "partial")
        assert [sum(u.label == label for u in found) for label in (1, 0)] == [15, 30]
        where = segments(partition, root=str(shared / "data" / "partial"))
        for u in found:
            assert bool(where[u.id]) == (u.label == 0)
            assert all(0 <= start < end <= soundfile.info(u.path).duration for start, end, _ in where[u.id])
