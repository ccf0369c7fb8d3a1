"""The score file's round trip, and every way in which a score file can be unusable."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake.datasets.protocol import utterance_key
from deepfake.errors import InputError
from deepfake.scores.table import Scores, read_asv_scores, read_scores, write_scores


def some(**changes):
    fields = {
        "ids": ["LA_1", "LA_2", "LA_3"],
        "labels": [1, 0, None],
        "attacks": ["", "A07", ""],
        "scores": [0.1, -1 / 3, 1e-300],
        "extras": {"speaker": ["p,1", 'p"2', "ü"], "codec": ["", "mp3", "opus"]},
    }
    return Scores(**fields | changes)


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "scores.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_round_trip(tmp_path):
    path = tmp_path / "new folder" / "scores.csv"
    write_scores(path, some())
    back = read_scores(path)
    assert path.read_text(encoding="utf-8").splitlines()[:2] == [
        "utterance,label,attack,score,speaker,codec",
        'LA_1,1,,0.1,"p,1",',
    ]
    assert back.ids == ["LA_1", "LA_2", "LA_3"]
    assert back.labels.tolist() == [1, 0, -1]
    assert back.attacks == ["", "A07", ""]
    assert back.scores.tolist() == [0.1, -1 / 3, 1e-300]
    assert back.extras == {"speaker": ["p,1", 'p"2', "ü"], "codec": ["", "mp3", "opus"]}
    assert [p.name for p in path.parent.iterdir()] == ["scores.csv"]  # no temporary file is left


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_scores_come_back_to_the_last_bit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    ids = [f"u{i}" for i in range(len(values))]
    write_scores(path, Scores(ids, [1] * len(ids), [""] * len(ids), values))
    assert read_scores(path).scores.tobytes() == np.array(values).tobytes()


def test_float32_scores_come_back_as_they_are(tmp_path):
    values = np.array([0.1, 1 / 3], dtype=np.float32)
    write_scores(tmp_path / "s.csv", Scores(["a", "b"], [1, 0], ["", ""], values))
    np.testing.assert_array_equal(read_scores(tmp_path / "s.csv").scores.astype(np.float32), values)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "scores.csv"
    write_scores(path, some())
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="no space"):
        write_scores(path, some(scores=[1, 2, 3]))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["scores.csv"]


def test_files_of_others(tmp_path):
    """Columns in another order, without label and attack, a byte order mark, CRLF, a blank line."""
    back = read_scores(written(tmp_path, "\ufeffscore,utterance\r\n0.5,a\r\n\r\n-1e3,b\r\n"))
    assert back.ids == ["a", "b"]
    assert back.scores.tolist() == [0.5, -1000]
    assert back.labels.tolist() == [-1, -1]
    assert back.attacks == ["", ""]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("LA_E_1", "LA_E_1"),
        ("eval/flac/LA_E_1.flac", "LA_E_1"),
        ("eval\\LA_E_1.WAV", "LA_E_1"),
        ("a.b.mp3", "a.b"),
        ("voice_0.5", "voice_0.5"),
        ("take.1", "take.1"),
        (".wav", ".wav"),
    ],
)
def test_ids_are_compared_without_folder_and_extension(name, key):
    assert utterance_key(name) == key


HEADER = "utterance,label,attack,score\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "header is"),
        ("LA_1 - bonafide 0.5\n", "header is"),
        ("utterance,label\na,1\n", "header is"),
        ("utterance,score,score\na,1,2\n", "header is"),
        (HEADER, "no scores"),
        (HEADER + "a,1,,0.5\nb,0,,nan\n", "line 3: the score is 'nan'"),
        (HEADER + "a,1,,0.5\nb,0,,-inf\n", "line 3: the score is '-inf'"),
        (HEADER + "a,1,,\n", "line 2: the score is ''"),
        (HEADER + "a,1,,high\n", "line 2: the score is 'high'"),
        (HEADER + "a,1,,0.5\nb,0,0.5\n", "line 3: 3 cells, the header has 4"),
        (HEADER + "a,2,,0.5\n", "line 2: label '2'"),
        (HEADER + "a,bonafide,,0.5\n", "line 2: label 'bonafide'"),
        (HEADER + ",1,,0.5\n", "line 2: the utterance has no id"),
        (HEADER + "a,1,,0.5\nb,0,,1\nx/a.wav,0,,2\n", "line 4: utterance 'a' stands already on line 2"),
    ],
)
def test_bad_files(tmp_path, text, words):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=words) as caught:
        read_scores(path)
    assert str(path) in str(caught.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_scores(tmp_path / "missing.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_scores(tmp_path)
    with pytest.raises(InputError, match="UTF-8"):
        read_scores(written(tmp_path, HEADER + "ü,1,,0.5\n", "latin-1"))
    (tmp_path / "x").write_bytes(b"target \xff 1\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_asv_scores(tmp_path / "x")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ids": ["a", "b", "x/a.flac"]}, "'a' and 'x/a.flac' have the same id"),
        ({"ids": ["a", "b", "a"]}, "'a' and 'a' have the same id"),
        ({"ids": ["a", "b", "x/"]}, "utterance 3 of 3 has no id: 'x/'"),
        ({"labels": [1, 0, 0.5]}, "'LA_3' has label 0.5"),
        ({"scores": [1, 2, np.nan]}, "'LA_3' has score nan"),
        ({"labels": [1, 0, 3]}, "'LA_3' has label 3"),
        ({"labels": np.array([1, 0, 3])}, "'LA_3' has label 3"),
        ({"labels": np.array([1, 0])}, "'labels': 2"),
        ({"scores": [1, 2]}, "'scores': 2"),
        ({"extras": {"codec": ["mp3"]}}, "'codec': 1"),
        ({"extras": {"score": ["1", "2", "3"]}}, "cannot be extra"),
        ({"ids": [], "labels": [], "attacks": [], "scores": [], "extras": {}}, "no scores"),
    ],
)
def test_bad_scores(changes, words):
    with pytest.raises(InputError, match=words):
        some(**changes)


def test_asv_scores_of_three_and_six_columns(tmp_path):
    path = tmp_path / "asv.txt"
    path.write_text("bonafide target 7.5\nLA_0081 nontarget -1\n\nA18 spoof 0.25\nLA_0083 target 8\n")
    asv = read_asv_scores(path)
    assert [group.tolist() for group in asv] == [[7.5, 8], [-1], [0.25]]
    path.write_text("LA_1 f1 - bonafide target 1\nLA_1 f2 - bonafide nontarget 2\nLA_1 f3 - A07 spoof 3\n")
    assert [group.tolist() for group in read_asv_scores(path)] == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "target and nontarget and spoof"),
        ("a target 1\na nontarget 2\n", "no ASV scores of spoof"),
        ("a target 1\na impostor 2\n", "line 2: 'a impostor 2'"),
        ("a target 1\ntarget 2\n", "line 2"),
        ("a target 1 spoof\ntarget 2\n", "line 1: 'a target 1 spoof'"),  # as many words as two lines of three
        ("a target nan\n", "line 1: the score is 'nan'"),
        ("a target 1 x\n", "line 1"),
    ],
)
def test_bad_asv_scores(tmp_path, text, words):
    path = tmp_path / "asv.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_asv_scores(path)
    assert str(path) in str(caught.value)


def test_ranked_rows_are_those_with_a_label_in_order_of_their_scores():
    scores = Scores(
        ["a", "b", "c", "d", "e"], [1, None, 0, 0, 1], ["", "", "A01", "A02", ""], [0.5, 9.0, 0.5, -1.0, 3.0]
    )
    assert scores.ranked.tolist() == [3, 0, 2, 4]  # equal scores in the order of the file
    assert scores.trials.scores.tolist() == [-1.0, 0.5, 0.5, 3.0]
    assert scores.trials.bonafide.tolist() == [False, True, False, True]
