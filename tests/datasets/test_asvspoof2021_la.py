from __future__ import annotations

import logging
import shutil

import pytest
from tiny import touch, write_lines

from deepfake.datasets.asvspoof2021_la import TRIALS, utterances
from deepfake.datasets.corpus import Corpus, Reader
from deepfake.datasets.layout import NoPartition
from deepfake.errors import InputError

LINES = (
    "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval",
    "LA_0020 LA_E_6866159 g722 loc_tx bonafide bonafide notrim eval",
    "LA_0037 LA_E_5464494 none - A09 spoof notrim progress",
    "LA_0001 LA_E_1000001 opus sin_tx bonafide bonafide trim hidden",
)


@pytest.fixture
def root(tmp_path):
    write_lines(tmp_path / "keys/LA/CM/trial_metadata.txt", *LINES)
    return touch(tmp_path, *(f"ASVspoof2021_LA_eval/flac/{line.split()[1]}.flac" for line in LINES))


def read(root, **options):
    return Corpus("la", Reader(utterances), {"root": str(root), **options}).select("eval", 0)


def test_the_eval_subset_with_its_conditions_and_counts(root, caplog):
    caplog.set_level(logging.INFO)
    spoof, bona_fide = read(root)
    assert (spoof.id, spoof.label, spoof.attack, spoof.speaker) == ("LA_E_9332881", 0, "A07", "LA_0009")
    assert spoof.conditions == {"codec": "alaw", "transmission": "ita_tx", "trim": "notrim", "subset": "eval"}
    assert (bona_fide.label, bona_fide.attack) == (1, "")
    assert "asvspoof2021_la, subset eval: 1 bona fide, 1 spoof" in caplog.text
    assert "1 bona fide and 1 spoof trials, 14,816 bona fide and 133,360 spoof were published" in caplog.text


def test_the_other_subsets(root):
    assert [u.id for u in read(root, subset="progress")] == ["LA_E_5464494"]
    assert [u.id for u in read(root, subset="hidden")] == ["LA_E_1000001"]
    assert len(read(root, subset="all")) == 4
    assert "transmission" not in read(root, subset="progress")[0].conditions
    with pytest.raises(InputError, match=r"dataset.subset=test: one of eval, progress, hidden, all"):
        read(root, subset="test")


def test_the_published_sizes():
    assert TRIALS["all"] == 181566 == sum(TRIALS["eval"]) + sum(TRIALS["progress"]) + TRIALS["hidden"]


def test_keys_are_found_beside_the_root_or_where_they_are_given(root, tmp_path):
    inner = root / "ASVspoof2021_LA_eval"
    assert len(read(inner)) == 2
    shutil.move(root / "keys/LA/CM/trial_metadata.txt", root / "ASVspoof2021_LA_eval/trial_metadata.txt")
    assert len(read(inner)) == 2
    shutil.move(inner / "trial_metadata.txt", tmp_path / "elsewhere.txt")
    assert len(read(root, keys=str(tmp_path / "elsewhere.txt"))) == 2
    with pytest.raises(InputError, match=r"no trial_metadata.txt in .*keys/LA/CM .*LA-keys-full.tar.gz"):
        read(root)
    with pytest.raises(InputError, match=r"no trial_metadata.txt in dataset.keys="):
        read(root, keys=str(tmp_path / "keys"))


def test_the_keys_of_the_first_stage_serve_too(root):
    write_lines(root / "keys/LA/CM/trial_metadata.txt", "- LA_E_9332881 - - - spoof - eval")
    assert [(u.label, u.conditions) for u in read(root)] == [(0, {"subset": "eval"})]


def test_there_is_only_an_evaluation_set(root):
    for partition in ("train", "dev"):
        with pytest.raises(NoPartition, match=f"asvspoof2021_la has no {partition} partition"):
            utterances(partition, root=str(root))


def test_a_broken_line_is_named(root):
    write_lines(root / "keys/LA/CM/trial_metadata.txt", LINES[0], LINES[1].replace(" notrim", ""))
    with pytest.raises(InputError, match=r"trial_metadata.txt, line 2: 7 columns, 8 were expected"):
        read(root)
    with pytest.raises(InputError, match="holds no flac"):
        read(root / "keys")
