from __future__ import annotations

import shutil

import pytest
from tiny import touch, write_lines

from deepfake.datasets.asvspoof5 import FOLDERS, PROTOCOLS, TRIALS, utterances
from deepfake.datasets.corpus import Corpus, Reader
from deepfake.errors import InputError

LINES = {
    "train": "T_4850 T_0000000000 F - - - AC3 A05 spoof -",
    "dev": "D_0461 D_0000000190 M - - - - bonafide bonafide -",
    "eval": "E_0001 E_0000000001 F C01 1 E_0000000009 AC1 A17 spoof -",
}


@pytest.fixture
def root(tmp_path):
    for partition, line in LINES.items():
        write_lines(tmp_path / "ASVspoof5_protocols" / PROTOCOLS[partition], line)
        touch(tmp_path, f"{FOLDERS[partition]}/{line.split()[1]}.flac")
    return tmp_path


def read(partition, root):
    return Corpus("asvspoof5", Reader(utterances), {"root": str(root)}).select(partition, 0)


def test_the_three_partitions(root, caplog):
    (train,), (dev,), (held_out,) = (read(p, root) for p in LINES)
    assert (train.id, train.label, train.attack, train.speaker) == ("T_0000000000", 0, "A05", "T_4850")
    assert train.conditions == {"gender": "F", "attack_tag": "AC3"}
    assert (dev.label, dev.attack, dev.conditions) == (1, "", {"gender": "M"})
    assert held_out.conditions == {"gender": "F", "codec": "C01", "codec_quality": "1", "attack_tag": "AC1"}
    assert held_out.path.endswith("flac_E_eval/E_0000000001.flac")
    assert "asvspoof5, train: 0 bona fide and 1 spoof trials, 18,797 bona fide and 163,560 spoof were" in caplog.text


def test_protocols_beside_the_audio(root):
    for name in PROTOCOLS.values():
        shutil.move(root / "ASVspoof5_protocols" / name, root / name)
    assert read("dev", root)[0].speaker == "D_0461"


def test_the_published_sizes():
    assert {p: sum(t) for p, t in TRIALS.items()} == {"train": 182357, "dev": 140950, "eval": 680774}


def test_missing_files_are_named(root, tmp_path):
    with pytest.raises(InputError, match="is not a folder: give the folder that holds flac_T"):
        read("dev", tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no flac_T and no flac_D"):
        read("dev", root / "flac_T")
    (root / "ASVspoof5_protocols" / PROTOCOLS["eval"]).unlink()
    with pytest.raises(InputError, match=r"holds no ASVspoof5.eval.track_1.tsv"):
        read("eval", root)
    write_lines(root / "ASVspoof5_protocols" / PROTOCOLS["dev"], "D_0461 D_0000000190 bonafide")
    with pytest.raises(InputError, match=r"track_1.tsv, line 1: 3 columns, 10 were expected"):
        read("dev", root)
