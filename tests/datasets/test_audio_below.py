"""The one listing of audio files below a folder."""

from __future__ import annotations

import logging
import os

import pytest
from tiny import touch

from deepfake.datasets.folder import audio_below
from deepfake.errors import InputError


def names(folder):
    return [path.relative_to(folder).as_posix() for path in audio_below(folder)]


@pytest.mark.parametrize(
    "suffix",
    [
        "wav",
        "W64",
        "sph",
        "mka",
        "3gp",
        "mov",
        "mkv",
        "mp2",
        "weba",
        "m4b",
        "wma",
        "avi",
        "ts",
        "spx",
        "amr",
        "caf",
        "opus",
    ],
)
def test_every_format_that_is_read_is_listed(suffix, tmp_path):
    touch(tmp_path, f"a/clip.{suffix}")
    assert names(tmp_path) == [f"a/clip.{suffix}"]


def test_what_systems_leave_behind_is_not(tmp_path, caplog):
    touch(tmp_path, "._x.wav", "x.wav", ".DS_Store", "Thumbs.db", "notes.txt")
    with caplog.at_level(logging.INFO, logger="deepfake"):
        assert [path.name for path in audio_below(tmp_path, say=True)] == ["x.wav"]
    assert caplog.messages == [f"{tmp_path}: 4 files that are not audio are skipped"]


def test_links_are_followed_and_loops_end(tmp_path):
    folder = tmp_path / "corpus"
    touch(tmp_path, "store/b.wav", "store/deep/c.wav", "corpus/a.wav", "alone.wav")
    (folder / "linked").symlink_to(tmp_path / "store")
    (folder / "linked_again").symlink_to(tmp_path / "store")  # the same files once
    (tmp_path / "store" / "loop").symlink_to(folder)
    (folder / "d.wav").symlink_to(tmp_path / "alone.wav")
    (folder / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (folder / "self.wav").symlink_to(folder / "self.wav")
    assert names(folder) == ["a.wav", "d.wav", "gone.wav", "linked/b.wav", "linked/deep/c.wav", "self.wav"]


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    def locked(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(InputError, match=r"cannot be listed \(Permission denied\)"):
        audio_below(tmp_path)
