import errno
import os
import stat
from pathlib import Path

import pytest

from deepfake.atomic import named_disk, write_atomically


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
