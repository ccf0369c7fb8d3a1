from __future__ import annotations

import pytest
from tiny import touch

from deepfake.datasets import mlaad
from deepfake.datasets.corpus import Corpus, Reader
from deepfake.datasets.layout import NoPartition
from deepfake.datasets.mlaad import utterances
from deepfake.datasets.utterance import PARTITIONS
from deepfake.errors import InputError


@pytest.fixture
def root(tmp_path):
    for folder in ("en/griffin_lim", "en/OpenAI TTS-1 HD", "de/griffin_lim"):
        touch(tmp_path / "fake" / folder, "meta.csv", *(f"book_{i}.wav" for i in range(10)))
    for speaker in ("female/mary_ann", "male/elliot_miller", "female/judy_bieber"):
        touch(tmp_path / "en_US" / "by_book" / speaker, *(f"book/wavs/book_{i}.wav" for i in range(5)))
    return touch(tmp_path, "en_US/by_book/mix/book/wavs/many.wav")


def read(partition, root, **options):
    return Corpus("mlaad", Reader(utterances), {"root": str(root), **options}).select(partition, 0)


def test_systems_are_attacks_and_languages_a_condition(root, caplog):
    found = read("eval", root)
    assert len(found) == 30 and {u.label for u in found} == {0}
    assert {(u.attack, u.conditions["language"]) for u in found} == {
        ("griffin_lim", "en"),
        ("OpenAI TTS-1 HD", "en"),
        ("griffin_lim", "de"),
    }
    assert "3 of 3 folders (de/griffin_lim ...) hold fewer than the 1,000 clips that were published" in caplog.text


def test_a_whole_corpus_is_not_warned_about(root, caplog, monkeypatch):
    monkeypatch.setattr(mlaad, "CLIPS", 10)
    read("eval", root)
    assert not caplog.records


def test_m_ailabs_is_the_bona_fide_speech(root):
    found = [u for u in read("eval", root, real_root=str(root / "en_US")) if u.label == 1]
    assert len(found) == 16 and len({u.id for u in found}) == 16
    assert {u.speaker for u in found} == {"mary_ann", "elliot_miller", "judy_bieber", ""}
    assert {u.conditions["language"] for u in found} == {"en"}


def test_a_split_keeps_the_speakers_apart(root):
    found = {p: read(p, root, real_root=str(root / "en_US"), train_share=0.4) for p in PARTITIONS}
    assert {u.speaker for u in found["train"]}.isdisjoint({u.speaker for u in found["dev"]} - {""})
    assert sum(map(len, found.values())) == 46


def test_speech_of_another_layout_is_taken_as_it_is(root, tmp_path):
    touch(tmp_path / "mine", "a/b.wav")
    (mine,) = (u for u in read("eval", root, real_root=str(tmp_path / "mine")) if u.label == 1)
    assert (mine.id, mine.speaker, mine.conditions) == ("b", "", {})


def test_unusable_settings_are_refused(root, tmp_path):
    with pytest.raises(NoPartition, match="mlaad was published without a split"):
        read("dev", root)
    with pytest.raises(InputError, match="is not a folder"):
        read("eval", tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no fake/\*/\*: give the folder that holds fake/<language>"):
        read("eval", root / "fake")
