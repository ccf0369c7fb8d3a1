"""Score files of verifiers, in the layouts in use, and what is none."""

import pytest

from deepfake.errors import InputError
from deepfake.scores.sasv import read_sasv

BY_PACKAGE = "s1 a 2.5 target\ns2 b -1 nontarget\ns1 c 0.5 spoof\ns1 d 3 target\n"
GROUPS = [[2.5, 3], [-1], [0.5]]
SCORES = "spk\tfilename\tcm-score\tasv-score\tsasv-score\n"
SCORES += "s1\ta\t9\t-\t2.5\ns2\tb\t8\t-\t-1\ns1\tc\t7\t-\t0.5\ns1\td\t6\t-\t3\n"
KEYS = "spk\tfilename\tcm-label\tasv-label\ns1\tc\tspoof\tspoof\ns1\ta\tbonafide\ttarget\ns2\tb\tbonafide\tnontarget\n"
KEYS += "s1\td\tbonafide\ttarget\n"


def read(folder, scores, keys=None, **options):
    (folder / "scores.txt").write_text(scores)
    if keys is not None:
        (folder / "keys.txt").write_text(keys)
        options["protocol"] = folder / "keys.txt"
    return read_sasv(folder / "scores.txt", **options)


@pytest.mark.parametrize(
    ("scores", "keys", "options"),
    [
        (BY_PACKAGE, None, {}),
        ("bonafide target 2.5\nbonafide nontarget -1\nA07 spoof 0.5\nbonafide target 3\n", None, {}),
        ("utterance,kind,score\na,target,2.5\nb,nontarget,-1\nc,spoof,0.5\nd,target,3\n", None, {}),
        (SCORES, KEYS, {}),
        (SCORES, KEYS, {"score_column": "sasv-score"}),
        ("1 a 2.5 target\n2 b -1 nontarget\n1 c 0.5 spoof\n1 d 3 target\n", None, {"score_column": 3}),
    ],
)
def test_the_layouts_in_use(tmp_path, scores, keys, options):
    groups, said = read(tmp_path, scores, keys, **options)
    assert [group.tolist() for group in groups] == GROUPS
    assert "4 trials (2 target, 1 nontarget, 1 spoof)" in said[0]


def test_polarity_turns_them(tmp_path):
    assert [group.tolist() for group in read(tmp_path, BY_PACKAGE, polarity=-1)[0]] == [[-2.5, -3], [1], [-0.5]]


@pytest.mark.parametrize(
    ("scores", "keys", "options"),
    [
        ("a bonafide 1\nb spoof 0\n", None, {}),
        ("target a 1\nb spoof 0\n", None, {}),  # the word is a name
        (SCORES, None, {}),
        ("filename\tcm-score\na\t1\n", KEYS, {}),
        (SCORES, KEYS, {"score_column": "cm-score"}),
    ],
)
def test_those_of_a_countermeasure_are_none(tmp_path, scores, keys, options):
    assert read(tmp_path, scores, keys, **options) is None


@pytest.mark.parametrize(
    ("scores", "keys", "options", "words"),
    [
        ("s a 1 target\ns b 0 target\n", None, {}, "2 target, 0 nontarget, 0 spoof: trials of all three"),
        (BY_PACKAGE.replace("-1", "nan"), None, {}, "line 2: the score is 'nan'"),
        (BY_PACKAGE.replace("s", "5").replace("5poof", "spoof"), None, {}, "2 columns can be the score"),
        (BY_PACKAGE, None, {"score_column": 9}, "score_column=9"),
        (SCORES, KEYS.replace("s1\td", "s1\te"), {}, "2 trials are in one alone, as s1 d"),
        (SCORES, KEYS + "s1\ta\tbonafide\tnontarget\n", {}, "a trial is there twice, by spk and filename"),
        (SCORES, KEYS.replace("spk\tfilename", "who\twhat"), {}, "headers that share"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, scores, keys, options, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, scores, keys, **options)
