"""Scores joined with a protocol: what is taken from which, and every way in which the two can disagree."""

from __future__ import annotations

import pytest

from deepfake.errors import InputError
from deepfake.scores.formats import read_any


def written(tmp_path, text, name="s.txt"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


LA21 = "".join(
    f"LA_{i % 2} LA_E_{i} {codec} x {attack} {key} notrim {subset}\n"
    for i, (codec, attack, key, subset) in enumerate(
        [
            *[
                ("alaw", "A07", "spoof", "eval"),
                ("none", "bonafide", "bonafide", "eval"),
                ("-", "A08", "spoof", "eval"),
            ],
            *[("gsm", "A09", "spoof", "progress"), ("gsm", "bonafide", "bonafide", "hidden_track")],
        ]
    )
)


def test_keys_of_a_protocol_and_its_subsets(tmp_path):
    protocol = written(tmp_path, LA21, "trial_metadata.txt")
    everything = written(tmp_path, "".join(f"LA_E_{i} {i}\n" for i in (4, 2, 0, 1, 3)))
    scores, said = read_any(everything, protocol=protocol)
    assert scores.ids == ["LA_E_2", "LA_E_0", "LA_E_1"]
    assert scores.scores.tolist() == [2, 0, 1]
    assert scores.labels.tolist() == [0, 0, 1]
    assert scores.attacks == ["A08", "A07", ""]
    assert scores.extras["codec"] == ["", "alaw", "none"]
    assert scores.extras["speaker"] == ["LA_0", "LA_0", "LA_1"]
    assert said[1:3] == [
        "trial_metadata.txt: asvspoof2021_la, 5 trials.",
        "trial_metadata.txt: subset eval, 3 of the 5 trials (1 bona fide, 2 spoof).",
    ]
    only = written(tmp_path, "x/LA_E_1.flac 1\nLA_E_2 2\nLA_E_0 0\n", "only.txt")
    assert read_any(only, protocol=protocol, subset="eval")[0].ids == ["x/LA_E_1.flac", "LA_E_2", "LA_E_0"]
    for subset, ids in {"all": 5, "progress": 1, "hidden": 1, "hidden_track": 1}.items():
        assert len(read_any(everything, protocol=protocol, subset=subset)[0]) == ids
    with pytest.raises(
        InputError, match=r"no trial is in subset dev; there are eval \(3\), hidden_track \(1\), progress"
    ):
        read_any(everything, protocol=protocol, subset="dev")
    with pytest.raises(InputError, match=r"2 of 5 trials have no score \(LA_E_3, LA_E_4\): the two must"):
        read_any(only, protocol=protocol, subset="all")
    with pytest.raises(InputError, match=r"1 of 1 trials have no score .* the scores are of the subsets eval \(3\)"):
        read_any(only, protocol=protocol, subset="progress")


def test_protocols_without_subsets(tmp_path):
    protocol = written(tmp_path, "file,speaker,label\n0.wav,A,spoof\n1.wav,B,bona-fide\n", "meta.csv")
    scores, _ = read_any(written(tmp_path, "1 0.5\n0 0.25\n"), protocol=protocol)
    assert scores.labels.tolist() == [1, 0] and scores.extras == {"speaker": ["B", "A"]}
    with pytest.raises(InputError, match="no trial is in subset eval"):
        read_any(written(tmp_path, "1 0.5\n0 0.25\n"), protocol=protocol, subset="eval")


def test_scores_and_trials_that_do_not_match(tmp_path):
    protocol = written(tmp_path, "".join(f"LA_1 u{i} - A07 spoof\n" for i in range(10)), "p.txt")
    path = written(tmp_path, "".join(f"u{i} {i}\n" for i in range(7, 13)))
    with pytest.raises(InputError) as caught:
        read_any(path, protocol=protocol)
    assert str(caught.value) == (
        f"{path} and {protocol}: 7 of 10 trials have no score (u0, u1, u2, u3, u4, ...) and "
        "3 of 6 scores are of no trial (u10, u11, u12): the two must list the same utterances"
    )
    twice = written(tmp_path, "file,label\nx/a.wav,spoof\na,spoof\n", "twice.csv")
    with pytest.raises(
        InputError, match=r"twice.csv, line 3: 'a' is, but for folder and extension, 'x/a.wav' of .*line 2"
    ):
        read_any(path, protocol=twice)


def test_keys_that_differ_and_keys_that_one_file_lacks(tmp_path):
    protocol = written(tmp_path, "utt,label,attack\na,spoof,A07\nb,bonafide,\nc,,\n", "p.csv")
    with pytest.raises(InputError, match=r"2 keys differ \(b, a\)"):
        read_any(written(tmp_path, "b spoof 1\na bonafide 2\nc spoof 3\n"), protocol=protocol)
    scores, _ = read_any(written(tmp_path, "b - bonafide 1\na A99 spoof 2\nc A98 spoof 3\n"), protocol=protocol)
    assert scores.labels.tolist() == [1, 0, 0]
    assert scores.attacks == ["", "A07", "A98"]
    unknown, said = read_any(written(tmp_path, "b 2\na 1\nc 3\n"), protocol=protocol)
    assert unknown.labels.tolist() == [1, 0, -1]
    assert "1 bona fide and 1 spoof, 1 without a key" in said[-1]


@pytest.mark.parametrize(
    ("keys", "attacks"),
    [
        ("a bonafide\nb spoof\n", ["", ""]),
        ("a,genuine\nb,fake\n", ["", ""]),
        ("a;True\nb;False\n", ["", ""]),
        ("utt key\na human\nb fake\n", ["", ""]),
        ("a - bonafide\nb A07 spoof\n", ["", "A07"]),
        ("a\t-\t1.0\nb\tA07\t0.0\n", ["", "A07"]),
        ("a bonafide -\nb spoof A07\n", ["", "A07"]),
        ("utt,attack,key\na,-,1\nb,A07,0\n", ["", "A07"]),
    ],
)
def test_keys_of_two_and_three_columns(tmp_path, keys, attacks):
    protocol = written(tmp_path, keys, "keys.txt")
    scores, _ = read_any(written(tmp_path, "b -1\na 2\n"), protocol=protocol)
    assert scores.ids == ["b", "a"]
    assert scores.labels.tolist() == [0, 1]
    assert scores.attacks == attacks[::-1]


def test_speakers_are_not_taken_for_utterances(tmp_path):
    protocol = written(tmp_path, "LA_1 a bonafide\nLA_1 b spoof\n", "keys.txt")
    with pytest.raises(InputError, match="line 2: utterance LA_1 is listed already on line 1"):
        read_any(written(tmp_path, "b -1\na 2\n"), protocol=protocol)
