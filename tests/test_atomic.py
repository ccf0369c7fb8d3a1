import csv
import errno
import io
import os
import resource
import stat
from pathlib import Path

import pytest
import torch

from deepfake.atomic import named_disk, restored, save_atomically, write_atomically, write_csv
from deepfake.datasets import manifest
from deepfake.datasets.protocol import layout_of, read_protocol
from deepfake.datasets.utterance import Utterance, write_manifest
from deepfake.scores.formats import read_any
from deepfake.scores.table import Scores, write_scores


def test_the_file_is_on_the_disk_before_it_has_its_name_and_then_its_folder_is(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, type(tmp_path).replace

    def synced(descriptor):
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def renamed(self, target):
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(type(tmp_path), "replace", renamed)
    write_atomically(tmp_path / "a" / "x.json", "ü")
    assert done == ["file", "rename", "folder"]
    assert (tmp_path / "a" / "x.json").read_bytes() == b"\xc3\xbc"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.json"]


def test_on_a_full_disk_the_file_is_named_and_the_old_one_kept(tmp_path, monkeypatch):
    file = tmp_path / "x.json"
    write_atomically(file, "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(file, "new")
    assert caught.value.filename == str(file)
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_tensors_are_saved_as_torch_saves_them_or_not_at_all(tmp_path):
    file, content = tmp_path / "x.pt", {"weights": torch.arange(500_000.0), "name": "x"}
    save_atomically(file, content)
    torch.save(content, plain := io.BytesIO())
    assert file.read_bytes() == plain.getvalue()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))  # the file needs two megabytes
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            save_atomically(file, {**content, "name": "y"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(file)
    assert file.read_bytes() == plain.getvalue() and [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_an_interruption_within_a_save_is_one(tmp_path, monkeypatch):
    class File(io.BytesIO):
        def write(self, data):
            raise KeyboardInterrupt

    monkeypatch.setattr("deepfake.atomic.written_atomically", lambda path: File())
    with pytest.raises(KeyboardInterrupt):
        save_atomically(tmp_path / "x.pt", {})


@pytest.mark.parametrize(
    ("error", "filename"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "/x"),
        (OSError(errno.EROFS, "Read-only file system", "/y"), "/y"),
        (OSError(errno.EPIPE, "Broken pipe"), None),
    ],
)
def test_an_error_of_the_disk_is_given_the_folder_unless_it_names_a_file(error, filename):
    with pytest.raises(OSError) as caught, named_disk(Path("/x")):
        raise error
    assert caught.value.filename == filename


FORMULAS = ["=cmd|'/C calc'!A0", "+1+1", "@SUM(A1)", "-2+3", "-rf.wav", "\t=1", "\r=1", "'=1", "''+x"]
HARMLESS = ["a=b", "-", "-2.5", "+1e3", "-inf", "'tis", "", " =1", "12"]


def test_no_cell_of_a_csv_is_a_formula_and_each_comes_back(tmp_path):
    write_csv(tmp_path / "x.csv", [FORMULAS, HARMLESS, [-2.5, None, True]])
    with (tmp_path / "x.csv").open(newline="") as file:
        formulas, harmless, others = csv.reader(file)
    assert formulas == [f"'{cell}" for cell in FORMULAS] and harmless == HARMLESS and others == ["-2.5", "", "True"]
    assert [restored(cell) for cell in formulas] == FORMULAS and [restored(cell) for cell in harmless] == HARMLESS


def test_scores_and_manifests_with_formulas_are_read_back(tmp_path):
    ids = ["=1+1", "'=1+1", "-x", "-1", "plain"]
    write_scores(tmp_path / "s.csv", Scores(ids, [1, 0, 1, 0, None], ["", "=A07", "", "@", ""], [1, -2, 3, 4, 5]))
    assert "\n'=1+1,1,,1.0\n''=1+1,0,'=A07,-2.0\n'-x,1,,3.0\n-1,0,'@,4.0\n" in (tmp_path / "s.csv").read_text()
    found, _ = read_any(tmp_path / "s.csv")
    assert found.ids == ids and found.attacks == ["", "=A07", "", "@", ""]
    utterances = [Utterance(name, f"/a/{name}.wav", 1, "", "=speaker", "dev") for name in ids]
    write_manifest(tmp_path / "m.csv", utterances)
    rows = manifest.rows(tmp_path / "m.csv")
    assert [(u.id, u.path, u.speaker) for u in rows] == [(u.id, u.path, u.speaker) for u in utterances]
    lines = ["utterance,label,speaker", "'=1+1,bonafide,'@s"]
    (tmp_path / "p.csv").write_text("\n".join(lines))
    (row,) = read_protocol(tmp_path / "p.csv", layout_of(tmp_path / "p.csv")[1])
    assert (row.id, row.speaker) == ("=1+1", "@s")
