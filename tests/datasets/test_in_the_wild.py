from __future__ import annotations

import numpy as np
import pytest
import soundfile
from tiny import touch, write_lines

from deepfake.audio import load
from deepfake.datasets.corpus import Corpus, Reader
from deepfake.datasets.in_the_wild import TRIALS, utterances
from deepfake.datasets.layout import NoPartition
from deepfake.datasets.utterance import PARTITIONS
from deepfake.errors import InputError

ROWS = [f"{i}.wav,Speaker {i % 10},{'spoof' if i % 3 else 'bona-fide'}" for i in range(60)]


@pytest.fixture
def root(tmp_path):
    write_lines(tmp_path / "release_in_the_wild/meta.csv", "file,speaker,label", *ROWS)
    return touch(tmp_path / "release_in_the_wild", *(f"{i}.wav" for i in range(60)))


def read(partition, root, **options):
    return Corpus("in_the_wild", Reader(utterances), {"root": str(root), **options}).select(partition, 0)


def test_all_of_it_is_eval(root, caplog):
    found = read("eval", root.parent)
    assert [(u.id, u.label, u.speaker) for u in found[:2]] == [("0", 1, "Speaker 0"), ("1", 0, "Speaker 1")]
    assert len(found) == 60 and found == read("eval", root)
    assert "20 bona fide and 40 spoof trials, 19,963 bona fide and 11,816 spoof were published" in caplog.text
    with pytest.raises(NoPartition, match=r"dataset.train_share=0.8"):
        read("train", root)


def test_a_split_keeps_speakers_apart(root):
    found = {p: read(p, root, train_share=0.6) for p in PARTITIONS}
    assert [len(us) for us in found.values()] == [36, 12, 12]
    speakers = [{u.speaker for u in us} for us in found.values()]
    assert sum(map(len, speakers)) == 10


def test_float_audio_is_heard(root):
    wave = 0.5 * np.sin(np.arange(16000) / 10)
    soundfile.write(root / "0.wav", wave, 16000, subtype="FLOAT")
    heard = load(read("eval", root)[0].path, sample_rate=16000)
    np.testing.assert_allclose(heard.numpy(), wave, atol=1e-6)


def test_the_published_size():
    assert sum(TRIALS) == 31779


def test_unusable_settings_are_refused(root, tmp_path):
    with pytest.raises(InputError, match=r"is not a folder: give the folder that release_in_the_wild.zip"):
        read("eval", tmp_path / "nowhere")
    write_lines(root / "meta.csv", "file,speaker,label", "0.wav,A,genuin")
    with pytest.raises(InputError, match=r"meta.csv, line 2: unknown key 'genuin'"):
        read("eval", root)
    (root / "meta.csv").unlink()
    with pytest.raises(InputError, match=r"holds no meta.csv"):
        read("eval", root)
