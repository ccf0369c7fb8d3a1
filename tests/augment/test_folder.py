from __future__ import annotations

import pytest
from tiny import touch

from deepfake.augment.folder import audio_files
from deepfake.errors import InputError


def test_audio_below_a_folder_in_order(tmp_path):
    touch(tmp_path, "b.WAV", "a/c.flac", "a/notes.txt", "z.mp3", ".hidden")
    (tmp_path / "folder.wav").mkdir()
    assert [path.name for path in audio_files(tmp_path, "augment.noise.root")] == ["c.flac", "b.WAV", "z.mp3"]


def test_none(tmp_path):
    with pytest.raises(InputError, match=r"augment.noise.root=.*nowhere"):
        audio_files(tmp_path / "nowhere", "augment.noise.root")
