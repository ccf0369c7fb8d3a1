"""Every layout of score files on example lines, and every way in which they can be wrong."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake.errors import InputError
from deepfake.metrics.eer import eer_official
from deepfake.scores.formats import pooled_c012, read_any, read_c012
from deepfake.scores.table import Scores, read_asv_scores, read_scores, write_scores


def written(tmp_path, text, name="s.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


OWN = "utterance,label,attack,score,codec\na,1,,2.5,\nb,0,A07,-1,mp3\n"
LAYOUTS = {  # text of utterances a (bona fide, 2.5) and b (spoof, -1), labels, attacks, extras, what is said
    "two columns": ("a 2.5\nb -1\n", [-1, -1], ["", ""], {}, "2 columns, utterance score"),
    "score key": ("a 2.5 bonafide\nb -1 spoof\n", [1, 0], ["", ""], {}, "3 columns, utterance score key"),
    "key score": ("a genuine 2.5\nb fake -1\n", [1, 0], ["", ""], {}, "3 columns, utterance key score"),
    "key of numbers": ("a 1 2.5\nb 0 -1\n", [1, 0], ["", ""], {}, "3 columns, utterance key score"),
    "four": ("a - bonafide 2.5\nb A07 spoof -1\n", [1, 0], ["", "A07"], {}, "4 columns, utterance source key score"),
    "key source": ("a bonafide - 2.5\nb spoof A07 -1\n", [1, 0], ["", "A07"], {}, "utterance key source score"),
    "truth values": ("a True 2.5\nb False -1\n", [1, 0], ["", ""], {}, "3 columns, utterance key score"),
    "floats as keys": ("a 1.0 2.5\nb 0.0 -1\n", [1, 0], ["", ""], {}, "3 columns, utterance key score"),
    "semicolon": ('"a";"real";2.5\n"b";"fake";-1\n', [1, 0], ["", ""], {}, "3 columns, utterance key score"),
    "semicolon and a header": (
        "utterance;label;attack;score\na;1;;2.5\nb;0;A07;-1\n",
        *([1, 0], ["", "A07"], {}, "4 columns with a header, utterance label attack score"),
    ),
    "comma at the end": ("a,2.5,\nb,-1,\n", [-1, -1], ["", ""], {}, "2 columns, utterance score"),
    "tab at the end": ("a\t2.5\t\nb\t-1\t\n", [-1, -1], ["", ""], {}, "2 columns, utterance score"),
    "comma at the end of one line": ("utt,score\na,2.5,\nb,-1\n", [-1, -1], ["", ""], {}, "utt score"),
    "row numbers": (",utt,score\n0,a,2.5\n1,b,-1\n", [-1, -1], ["", ""], {}, "3 columns with a header, utt score"),
    "ours with row numbers": (
        "Unnamed: 0,utterance,label,attack,score,\n0,a,1.0,,2.5,\n1,b,0.0,A07,-1,\n",
        *([1, 0], ["", "A07"], {}, "our own score file, columns utterance, label, attack, score."),
    ),
    "2019 LA": (
        *("LA_1 a - - bonafide 2.5\nLA_2 b - A07 spoof -1\n", [1, 0], ["", "A07"]),
        *({"speaker": ["LA_1", "LA_2"]}, "6 columns, speaker utterance - source key score"),
    ),
    "2019 PA": (
        *("PA_1 a aaa - bonafide 2.5\nPA_2 b ccc CC spoof -1\n", [1, 0], ["", "CC"]),
        {"speaker": ["PA_1", "PA_2"], "environment": ["aaa", "ccc"]},
        "6 columns, speaker utterance environment source key score",
    ),
    "2021 LA": (
        "LA_1 a alaw x bonafide bonafide notrim eval 2.5\nLA_2 b - x A07 spoof notrim eval -1\n",
        *([1, 0], ["", "A07"]),
        {
            **{"speaker": ["LA_1", "LA_2"], "codec": ["alaw", ""], "transmission": ["x", "x"]},
            **{"trim": ["notrim", "notrim"], "subset": ["eval", "eval"]},
        },
        "9 columns, speaker utterance codec transmission source key trim subset score",
    ),
    "ASVspoof 5": (
        "filename\tcm-score\na\t2.5\nb\t-1\n",
        *([-1, -1], ["", ""], {}, "2 columns with a header, filename cm-score"),
    ),
    "ASVspoof 5, track 2": (
        "spk\tfilename\tcm-score\tasv-score\tsasv-score\nE_1\ta\t2.5\t-\t7\nE_2\ta\t2.5\t-\t8\nE_1\tb\t-1\t-\t9\n",
        *([-1, -1], ["", ""], {}, "5 columns with a header, spk filename cm-score asv-score sasv-score"),
    ),
    "comma": (
        'file,speaker,label,score\na,Alec Guinness,bona-fide,2.5\nb,"Hitchens, C.",spoof,-1\n',
        *([1, 0], ["", ""], {"speaker": ["Alec Guinness", "Hitchens, C."]}, "file speaker label score"),
    ),
    "comma without a header": ("a,2.5\nb,-1\n", [-1, -1], ["", ""], {}, "2 columns, utterance score"),
    "any score": (
        "path utt my_score system class codec\nx/a.wav a 2.5 - real mp3\nx/b.wav b -1 vits fake -\n",
        *([1, 0], ["", "vits"], {"codec": ["mp3", ""]}, "path utt my_score system class codec"),
    ),
    "ours": (OWN, [1, 0], ["", "A07"], {"codec": ["", "mp3"]}, "our own score file"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_told(tmp_path, layout, packed):
    text, labels, attacks, extras, words = LAYOUTS[layout]
    path = written(tmp_path, gzip.compress(text.encode()) if packed else "\ufeff" + text.replace("\n", "\r\n") + "\r\n")
    scores, said = read_any(path)
    assert scores.ids == ["a", "b"]
    assert scores.scores.tolist() == [2.5, -1]
    assert scores.labels.tolist() == labels
    assert scores.attacks == attacks
    assert scores.extras == extras
    assert words in said[0] and said[0].startswith("s.txt: ")
    count = "1 bona fide and 1 spoof" if labels[0] == 1 else "2 without a key (give a protocol=FILE that has them)"
    assert any(count in sentence for sentence in said)


def test_an_utterance_with_several_claimed_speakers_has_one_score(tmp_path):
    text = LAYOUTS["ASVspoof 5, track 2"][0]
    _, said = read_any(written(tmp_path, text))
    assert said[1] == "s.txt: 3 lines give 2 utterances, each once whatever speaker it claims to be."
    with pytest.raises(InputError, match="line 3: utterance a has score 8, and 7 on line 2"):
        read_any(written(tmp_path, text), score_column="sasv-score")
    with pytest.raises(InputError, match="line 2: the score is '-'"):
        read_any(written(tmp_path, text), score_column="asv-score")


@pytest.mark.parametrize(
    ("text", "score_column", "scores", "labels"),
    [
        ("a 1 0\nb 0 1\n", 3, [0, 1], [1, 0]),
        ("a 1 0\nb 0 1\n", "2", [1, 0], [0, 1]),
        ("a spoof 1 7\nb real 2 8\n", 4, [7, 8], [0, 1]),
        ("a - spoof 1 7\nb - real 2 8\n", 4, [1, 2], [0, 1]),
        ("1 a\n2 b\n", 1, [1, 2], [-1, -1]),
        ("utt,cm-score,score\na,1,7\nb,2,8\n", "score", [7, 8], [-1, -1]),
        ("utt,cm-score,score\na,1,7\nb,2,8\n", 2, [1, 2], [-1, -1]),
        ("utt,p\na,1\nb,2\n", "p", [1, 2], [-1, -1]),
        (OWN, "score", [2.5, -1], [1, 0]),
    ],
)
def test_the_column_of_the_scores_can_be_given(tmp_path, text, score_column, scores, labels):
    found, _ = read_any(written(tmp_path, text), score_column=score_column)
    assert found.ids == ["a", "b"]
    assert found.scores.tolist() == scores
    assert found.labels.tolist() == labels


@pytest.mark.parametrize(
    ("text", "asked", "words"),
    [
        ("", {}, "no scores in it"),
        ("a 1 0\nb 0 1\n", {}, "column 2 or 3 can be the score, .*: give score_column=2 or 3"),
        ("utt,cm-score,score\na,1,7\n", {}, "2 columns of the header .* give score_column=NAME"),
        ("utt,label\na,spoof\n", {}, "no column of the header .* give score_column=NAME"),
        ("utt,sasv-score\na,1\n", {}, "no column of the header"),
        ("label,score\nspoof,1\n", {}, "a header: one of utterance, "),
        ("utt,utt,score\na,b,1\n", {}, "each name once"),
        ("a - bonafide high\nb A07 spoof 1\n", {}, "without a number and so a header"),
        ("utt score\n", {}, "taken for a header, and below it are no scores"),
        ("a 1\n", {"score_column": 3}, "score_column=3: a number from 1 to 2"),
        ("a 1\n", {"score_column": 0}, "score_column=0"),
        ("a 1\n", {"score_column": "p"}, "score_column=p: .*there is no header"),
        ("utt,p\na,1\n", {"score_column": "q"}, "one of the names utt, p"),
        ("a 1\n", {"polarity": 0}, "polarity=0"),
        ("a 1\n", {"subset": "eval"}, "give its file as protocol="),
        ("bonafide target 7.9\nA18 spoof -12.8\nbonafide nontarget 1\n", {}, "give it as asv_scores=FILE"),
        ("s a 0.1\ns b 0.2\n", {}, "begins no score file that is known"),
        ("a x y 1 2\n", {}, "begins no score file that is known"),
        ("a bonafide\nb 1\n", {}, "2 columns|a header"),
        ("a 1\nb nan\n", {}, "line 2: the score is 'nan'"),
        ("a 1\n\nb inf\n", {}, "line 3: the score is 'inf'"),
        ("a - bonafide 1\nb A07 spoof 2 x\n", {}, "line 2: 5 columns, the first line has 4"),
        ("a 1\nx/a.wav 2\n", {}, "line 2: utterance 'a' stands already on line 1"),
        ("utt,score\na,1\nb,\n", {}, "line 3: the score is ''"),
        ("utt,score\n,1\n", {}, "line 2: the utterance has no id"),
        ("utt,score,label\na,1,spoof\nb,1,spof\n", {}, "line 3: unknown key 'spof'"),
        ('utt,score\na,"1\n', {}, "not CSV"),
        (b"a 1\n\xff 2\n", {}, "line 2: not text in UTF-8"),
        (OWN + "c,2,,1,\n", {}, "line 4: label '2'"),
        ("a A07 spoof 0,803\n", {}, "'a A07 spoof 0,803': numbers with a decimal point were expected, not a comma"),
        ("a -1,5e3\nb 2\n", {}, "not a comma"),
        ("a;0,5\nb;1,5\n", {}, "not a comma"),
        ("a\t0,5\n", {}, "not a comma"),
        ("utt;score\na;1\nb;0,5\n", {}, "line 3: the score is '0,5': .* not a comma"),
        ('utt,score\na,"0,5"\n', {}, "line 2: the score is '0,5': .* not a comma"),
        ('utterance,label,attack,score\na,1,,"0,5"\n', {}, "line 2: the score is '0,5': .* not a comma"),
        ("utt,score\na,0,5\n", {}, "line 2: 3 columns, the first line has 2 .*not a comma"),
        ("a,0,803\nb,1,0143\n", {}, "columns 2 and 3 are a key and a score, or one number with a decimal comma"),
        (
            "a,A07,0,803\nb,A08,1,0143\n",
            {},
            "columns 3 and 4 are a key and a score, or one number with a decimal comma",
        ),
        ("a,0,803\nb,-1,0143\n", {}, "begins no score file .* not a comma"),
        ("a tensor(0.8)\n", {}, "plain numbers were expected, as float"),
        ("a tensor(0.8000, device='cuda:0')\n", {}, "plain numbers were expected, as float"),
        ("utt score\na tensor(0.8, device='cuda:0')\n", {}, "line 2: 3 columns, .*: plain numbers were expected"),
        ("utt,score\na,1\nb,tensor(0.8)\n", {}, "line 3: the score is .*: plain numbers were expected"),
        ("a,[0.8]\n", {}, "plain numbers were expected, as float"),
        ("a [-8e-1, 0.2]\n", {}, "plain numbers were expected, as float"),
        ("utt score\na 1\nb [0.8]\n", {}, "line 3: the score is .*: plain numbers were expected"),
        ("a spoof 1 7\nb real 2 8\n", {}, "begins no score file that is known"),
        (",,\n,,\n", {}, "no scores in it"),
    ],
)
def test_bad_files(tmp_path, text, asked, words):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=words) as caught:
        read_any(path, **asked)
    assert "polarity" in asked or "subset" in asked or str(path) in str(caught.value)


def test_a_bad_score_or_key_far_down_is_named_with_its_line(tmp_path):
    lines = [f"u{i} A07 spoof {i}" for i in range(1000)]
    for line, words in (
        ("u A07 spoof x", "line 901: the score is 'x'"),
        ("u A07 spof 1", "line 901: unknown key 'spof'"),
        ("u7 A07 spoof 1", "line 901: utterance 'u7' stands already on line 8"),
        ("/ A07 spoof 1", "line 901: the utterance has no id"),
        ("u A07 spoof 1 2", "line 901: 5 columns, the first line has 4"),
    ):
        lines[900] = line
        with pytest.raises(InputError, match=words):
            read_any(written(tmp_path, "\n".join(lines)))


def test_reversed_scores_are_turned(tmp_path):
    path = written(tmp_path, "".join(f"u{i} {'bonafide' if i < 5 else 'spoof'} {i}\n" for i in range(10)))
    scores, said = read_any(path, polarity=1)
    assert scores.scores.tolist() == list(range(10)) and not any("negated" in sentence for sentence in said)
    turned, said = read_any(path, polarity=-1)
    assert turned.scores.tolist() == (-scores.scores).tolist()
    assert "negated, as polarity=-1 asks" in said[1]


FINITE = st.floats(-1e300, 1e300)
IDS = st.text(st.characters(categories=["L", "N"], include_characters="_-"), min_size=1, max_size=8)


@given(rows=st.dictionaries(IDS, st.tuples(st.booleans(), FINITE), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_scores_come_back_to_the_last_bit_from_every_layout(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("s")
    values = np.array([value for _, value in rows.values()])
    forms = {
        "{0} {2!r} {1}": True,
        "{0} {1} {2!r}": True,
        "{0} A07 {1} {2!r}": True,
        "LA_1 {0} - A07 {1} {2!r}": True,
        "{0}\t{2!r}": False,
    }
    for i, (form, keyed) in enumerate(forms.items()):
        lines = [form.format(name, "bonafide" if real else "spoof", value) for name, (real, value) in rows.items()]
        scores, _ = read_any(written(folder, "\n".join(lines), f"{i}.txt"))
        assert scores.ids == list(rows)
        assert scores.scores.tobytes() == values.tobytes()
        assert scores.labels.tolist() == [int(real) if keyed else -1 for real, _ in rows.values()]


@pytest.mark.parametrize("text", ["clip[1].wav 2.5\nb 1\n", "[1] 2.5\nb 1\n", "0,5 2.5\nb 1\n", "a [vc] spoof 2.5\n"])
def test_odd_names_are_no_odd_numbers(tmp_path, text):
    assert read_any(written(tmp_path, text.replace(" ", "\t")))[0].scores[0] == 2.5


def test_whole_numbers_behind_a_key_are_read_where_the_column_is_given(tmp_path):
    scores, _ = read_any(written(tmp_path, "a,0,803\nb,1,14\n"), score_column=3)
    assert scores.labels.tolist() == [0, 1] and scores.scores.tolist() == [803, 14]


@given(
    rows=st.dictionaries(IDS, st.tuples(st.booleans(), FINITE), min_size=1, max_size=20),
    separator=st.sampled_from([" ", "  ", "\t", ",", ", ", ";"]),
    words=st.sampled_from([("spoof", "bonafide"), ("fake", "Human"), ("False", "True")]),
    layout=st.sampled_from(["isk", "iks", "iaks", "ikas", "-isk", "-kis"]),
    trailing=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
)
@settings(max_examples=150, deadline=None)
def test_every_dialect_is_read_alike(tmp_path_factory, rows, separator, words, layout, trailing, end):
    heading = {"i": "utt", "s": "score", "k": "label", "a": "attack"}
    lines = []
    for name, (real, value) in rows.items():
        cells = {"i": name, "s": repr(value), "k": words[real], "a": "-" if real else "A07"}
        lines.append(separator.join(cells[column] for column in layout.strip("-")) + separator.strip() * trailing)
    if layout.startswith("-"):
        lines.insert(0, separator.join(heading[column] for column in layout.strip("-")))
    scores, _ = read_any(written(tmp_path_factory.mktemp("s"), end.join(lines) + end))
    assert scores.ids == list(rows)
    assert scores.scores.tobytes() == np.array([value for _, value in rows.values()]).tobytes()
    assert scores.labels.tolist() == [int(real) for real, _ in rows.values()]
    assert scores.attacks == ["A07" if "a" in layout and not real else "" for real, _ in rows.values()]


@given(
    rows=st.dictionaries(
        IDS, st.tuples(st.sampled_from([1, 0, None]), st.text(max_size=5), FINITE, st.text(max_size=5))
    ),
)
@settings(max_examples=60, deadline=None)
def test_our_own_files_come_back_whole(tmp_path_factory, rows):
    rows = {**rows, "one": (1, "", 0.0, "x")}
    columns = [list(column) for column in zip(*rows.values(), strict=True)]
    path = tmp_path_factory.mktemp("s") / "scores.csv"
    write_scores(path, Scores(rows, columns[0], columns[1], columns[2], {"codec": columns[3]}))
    for scores in (read_any(path)[0], read_scores(path)):
        assert scores.ids == list(rows)
        assert scores.labels.tolist() == [-1 if label is None else label for label in columns[0]]
        assert scores.attacks == columns[1]
        assert scores.scores.tobytes() == np.array(columns[2]).tobytes()
        assert scores.extras == {"codec": columns[3]}


def test_our_own_files_and_asv_scores_may_be_packed(tmp_path):
    assert read_scores(written(tmp_path, gzip.compress(OWN.encode()))).ids == ["a", "b"]
    path = written(tmp_path, gzip.compress(b"x target 1\nx nontarget 2\nA07 spoof 3\n"))
    assert [group.tolist() for group in read_asv_scores(path)] == [[1], [2], [3]]


def test_the_published_coefficients(tmp_path):
    table = {
        "A07": {"none": {"C0": 0.1, "C1": 0.8, "C2": 0.3}, "gsm": {"C0": None, "C1": 0.8, "C2": 0.3}},
        "Pooled": {"Pooled": {"C0": 0.07889105248001665, "C1": 0.8616089475199833, "C2": 0.3482101348210135}},
    }
    path = written(tmp_path, json.dumps(table), "C012.json")
    found = read_c012(path)
    assert found["A07"] == {"none": (0.1, 0.8, 0.3)}
    assert tuple(pooled_c012(found)) == (0.07889105248001665, 0.8616089475199833, 0.3482101348210135)
    path.write_text(path.read_text().replace("null", "NaN"))
    assert read_c012(path) == found
    del found["Pooled"]
    with pytest.raises(InputError, match="no cell Pooled, Pooled; attacks: A07"):
        pooled_c012(found)


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '{"A07": 1}', '{"A07": {"none": {"C0": 1}}}', '{"A07": {"none": {"C0":"x","C1":1,"C2":1}}}']
)
def test_coefficients_of_another_form(tmp_path, text):
    path = written(tmp_path, text, "C012.json")
    with pytest.raises(InputError, match="JSON of the form") as caught:
        read_c012(path)
    assert str(path) in str(caught.value)


def test_a_pickle_is_never_loaded_and_can_be_converted(tmp_path):
    cells = {"Pooled": {"Pooled": {"C0": np.float32(0.25), "C1": np.float64(0.5), "C2": np.nan}}}
    np.save(tmp_path / "LA-C012-eval.npy", np.array(cells, dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="pickle") as caught:
        read_c012(tmp_path / "LA-C012-eval.npy")
    code = str(caught.value).split('python -c "')[1].split('" LA-C012')[0]
    argv = ["-c", str(tmp_path / "LA-C012-eval.npy"), str(tmp_path / "c.json")]
    exec(code.replace("sys.argv", repr(argv)), {})  # the line that the message gives, as a shell would run it
    assert json.loads((tmp_path / "c.json").read_text())["Pooled"]["Pooled"]["C0"] == 0.25
    assert read_c012(tmp_path / "c.json") == {"Pooled": {}}


def test_the_real_files(shared):
    with pytest.raises(InputError, match="numbers with a decimal point were expected, not a comma"):
        read_any(shared / "cases" / "decimal_comma_scores.txt")
    folder = shared / "reference" / "scores"
    expected = json.loads((folder / "expected.json").read_text())
    scores, said = read_any(folder / "la2019_eval_amsoftmax.txt.gz")
    assert said == [
        "la2019_eval_amsoftmax.txt.gz: 4 columns, utterance source key score.",
        "la2019_eval_amsoftmax.txt.gz: 71,237 scores, 7,355 bona fide and 63,882 spoof.",
    ]
    assert eer_official(scores.scores, scores.labels)[0] == expected["la2019_eval_amsoftmax"]["eer_official"]
    assert {*scores.attacks} == {"", *(f"A{i:02d}" for i in range(7, 20))}
    asv = read_asv_scores(folder / "la2019_eval_asv.txt.gz")
    assert [len(group) for group in asv] == [5370, 33327, 63882]
    with pytest.raises(InputError, match="asv_scores=FILE"):
        read_any(folder / "la2019_eval_asv.txt.gz")
    with pytest.raises(InputError, match=r"line \d+: the score is 'nan'"):
        read_any(folder / "S8_nan_in_spoof.txt.gz")
    turned, _ = read_any(folder / "S5_reversed_polarity_of_S1.txt.gz")
    straight, _ = read_any(folder / "S1_gauss_ties_1dp.txt.gz")
    assert eer_official(-turned.scores, turned.labels) == eer_official(straight.scores, straight.labels)
