from __future__ import annotations

import pytest
from tiny import touch

from deepfake.datasets.corpus import Corpus, Reader
from deepfake.datasets.layout import NoPartition
from deepfake.datasets.utterance import PARTITIONS
from deepfake.datasets.wavefake import TRIALS, utterances
from deepfake.errors import InputError

SENTENCES = [f"LJ001-{n:04d}" for n in range(20)]


@pytest.fixture
def root(tmp_path):
    base = tmp_path / "generated_audio"
    touch(base / "ljspeech_melgan", *(f"{s}_gen.wav" for s in SENTENCES))
    touch(base / "ljspeech_hifiGAN", *(f"{s}_generated.wav" for s in SENTENCES))
    touch(base / "jsut_multi_band_melgan", "BASIC5000_0001_gen.wav")
    touch(base / "common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech", "generated/gen_0.wav")
    touch(tmp_path / "LJSpeech-1.1", "metadata.csv", *(f"wavs/{s}.wav" for s in SENTENCES))
    return tmp_path


def read(partition, root, **options):
    return Corpus("wavefake", Reader(utterances), {"root": str(root), **options}).select(partition, 0)


def test_the_fakes_alone_and_with_the_speech_they_were_made_from(root, caplog):
    fakes = read("eval", root)
    assert len(fakes) == 42 and {u.label for u in fakes} == {0}
    assert "ljspeech_melgan-LJ001-0000_gen" in {u.id for u in fakes if u.attack == "ljspeech_melgan"}
    assert {u.attack for u in fakes if u.id.endswith("gen_0")} == {
        "common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech"
    }
    both = read("eval", root / "generated_audio", real_root=str(root / "LJSpeech-1.1"))
    assert [u.id for u in both if u.label == 1] == SENTENCES
    assert "0 bona fide and 42 spoof trials, 0 bona fide and 117,985 spoof were published" in caplog.text
    assert TRIALS == (0, 117985)


def test_a_split_keeps_the_copies_of_a_sentence_together(root):
    options = {"real_root": str(root / "LJSpeech-1.1"), "train_share": 0.5}
    found = {p: read(p, root, **options) for p in PARTITIONS}
    sentences = [{u.path.rsplit("/", 1)[1][:10] for u in us if "LJ001" in u.path} for us in found.values()]
    assert sum(map(len, sentences)) == len(SENTENCES) and all(len(s) > 2 for s in sentences)
    assert all({u.label for u in us} == {0, 1} for us in found.values())


def test_unusable_settings_are_refused(root, tmp_path):
    with pytest.raises(NoPartition, match="wavefake was published without a split"):
        read("train", root)
    with pytest.raises(InputError, match="is not a folder"):
        read("eval", tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no ljspeech_\* and no jsut_\*"):
        read("eval", root / "LJSpeech-1.1")
    with pytest.raises(InputError, match=r"dataset.real_root=.*nothing holds no audio"):
        read("eval", root, real_root=str(tmp_path / "nothing"))
