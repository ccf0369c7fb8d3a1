from __future__ import annotations

import pytest
from tiny import touch, write_lines

from deepfake.datasets.asvspoof2019_pa import TRIALS, asv_scores, utterances
from deepfake.datasets.corpus import Corpus
from deepfake.errors import InputError


@pytest.fixture
def root(tmp_path):
    protocols = tmp_path / "PA" / "ASVspoof2019_PA_cm_protocols"
    write_lines(
        protocols / "ASVspoof2019.PA.cm.dev.trl.txt",
        "PA_0079 PA_D_0000001 aaa - bonafide",
        "PA_0078 PA_D_0029700 ccc CC spoof",
    )
    touch(tmp_path / "PA", "ASVspoof2019_PA_asv_scores/ASVspoof2019.PA.asv.dev.gi.trl.scores.txt")
    return touch(tmp_path, *(f"PA/ASVspoof2019_PA_dev/flac/PA_D_{n}.flac" for n in ("0000001", "0029700", "9999999")))


def test_the_archive_as_it_unpacks(root, caplog):
    bona_fide, spoof = Corpus("pa", utterances, {"root": str(root)}).select("dev", 0)
    assert (bona_fide.label, bona_fide.attack, bona_fide.conditions) == (1, "", {"environment": "aaa"})
    assert (spoof.label, spoof.attack, spoof.speaker) == (0, "CC", "PA_0078")
    assert spoof.conditions == {"environment": "ccc"} and spoof.partition == "dev"
    assert "1 bona fide and 1 spoof trials, 5,400 bona fide and 24,300 spoof were published" in caplog.text
    assert asv_scores("dev", root=str(root)).name == "ASVspoof2019.PA.asv.dev.gi.trl.scores.txt"
    assert asv_scores("train", root=str(root)) is None


def test_the_published_sizes():
    assert {p: sum(t) for p, t in TRIALS.items()} == {"train": 54000, "dev": 29700, "eval": 134730}


def test_missing_files_are_named(root, tmp_path):
    with pytest.raises(InputError, match=r"holds no ASVspoof2019_PA_train.*PA.zip"):
        utterances("dev", root=str(root / "PA" / "ASVspoof2019_PA_dev"))
    with pytest.raises(InputError, match=r"the protocol of partition eval is missing: .*PA.cm.eval.trl.txt"):
        utterances("eval", root=str(root))
