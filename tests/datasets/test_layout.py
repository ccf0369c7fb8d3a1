from __future__ import annotations

import pytest
from tiny import touch

from deepfake.datasets.layout import base_of, with_paths
from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError


def test_the_base_is_the_root_or_a_folder_inside_it(tmp_path):
    touch(tmp_path, "corpus/flac_T/a.flac")
    for root in (tmp_path, tmp_path / "corpus"):
        assert base_of(str(root), ["flac_D", "flac_T"], inside=["corpus"], unpacks="it") == tmp_path / "corpus"
    assert base_of(str(tmp_path), ["corpus/*/*.flac"], unpacks="it") == tmp_path


def test_a_root_that_cannot_be_used_says_what_was_wanted(tmp_path):
    with pytest.raises(InputError, match=r"dataset.root=.*nowhere is not a folder: give the archive"):
        base_of(str(tmp_path / "nowhere"), ["flac"], unpacks="the archive")
    with pytest.raises(InputError, match=r"dataset.real_root=.* holds no flac and no wav: give the archive"):
        base_of(str(tmp_path), ["flac", "wav"], unpacks="the archive", key="real_root")


def test_utterances_get_their_path(tmp_path):
    (u,) = with_paths([Utterance("a.b", "", 1)], tmp_path / "flac", ".flac", "dev")
    assert (u.path, u.partition) == (str(tmp_path / "flac" / "a.b.flac"), "dev")
