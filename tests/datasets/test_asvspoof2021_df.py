from __future__ import annotations

import pytest
from tiny import touch, write_lines

from deepfake.datasets.asvspoof2021_df import TRIALS, utterances
from deepfake.datasets.corpus import Corpus, Reader
from deepfake.datasets.layout import NoPartition
from deepfake.errors import InputError

LINES = (
    "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -",
    "TEF2 DF_E_2000013 low_m4a vcc2020 Task1-team20 spoof notrim eval traditional_vocoder Task1 team20 FF E",
    "LA_0043 DF_E_2000026 mp3m4a asvspoof - bonafide notrim eval bonafide - - - -",
)


@pytest.fixture
def root(tmp_path):
    write_lines(tmp_path / "keys/DF/CM/trial_metadata.txt", *LINES)
    return touch(tmp_path, *(f"ASVspoof2021_DF_eval/flac/{line.split()[1]}.flac" for line in LINES))


def test_the_eval_subset_with_all_that_is_said_of_it(root, caplog):
    spoof, bona_fide = Corpus("df", Reader(utterances), {"root": str(root)}).select("eval", 0)
    assert (spoof.id, spoof.label, spoof.attack) == ("DF_E_2000013", 0, "Task1-team20")
    assert spoof.conditions == {
        "codec": "low_m4a",
        "source": "vcc2020",
        "trim": "notrim",
        "subset": "eval",
        "vocoder": "traditional_vocoder",
        "task": "Task1",
        "team": "team20",
        "gender_pair": "FF",
        "language": "E",
    }
    assert bona_fide.label == 1 and "language" not in bona_fide.conditions
    assert "14,869 bona fide and 519,059 spoof were published" in caplog.text
    assert [u.attack for u in utterances("eval", root=str(root), subset="progress")] == ["A14"]


def test_the_published_sizes():
    assert TRIALS["all"] == 611829 == sum(TRIALS["eval"]) + sum(TRIALS["progress"]) + TRIALS["hidden"]


def test_unusable_settings_are_refused(root):
    with pytest.raises(NoPartition, match=r"asvspoof2021_df has no train partition"):
        utterances("train", root=str(root))
    with pytest.raises(InputError, match=r"dataset.subset=all of it"):
        utterances("eval", root=str(root), subset="all of it")
    la = write_lines(root / "la.txt", "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval")
    with pytest.raises(InputError, match=r"la.txt, line 1: 8 columns, 13 were expected"):
        utterances("eval", root=str(root), keys=str(la))
    with pytest.raises(InputError, match="DF-keys-full"):
        utterances("eval", root=str(root), keys="/nowhere")
