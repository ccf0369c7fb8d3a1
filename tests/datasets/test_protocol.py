"""Each layout on lines of the real files, each way in which a protocol can be unusable, and round trips."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake.datasets import protocol
from deepfake.datasets.protocol import (
    LAYOUTS,
    Columns,
    cells_of,
    columns_of,
    complete,
    layout_of,
    read_protocol,
    read_text,
    utterance_key,
    utterance_keys,
)
from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError

PA21 = {"asv_room": "R3", "asv_mic": "M3", "dis_to_asv": "d4", "att_room": "r1", "att_mic": "m1", "att_d": "s4"}
LINES = {  # layout: lines; then id, label, attack, speaker and conditions of the last
    "asvspoof2019_la": (
        "LA_0079 LA_T_1138215 - - bonafide\nLA_0039 LA_E_2834763 - A11 spoof\n",
        ("LA_E_2834763", 0, "A11", "LA_0039", {}),
    ),
    "asvspoof2019_pa": (
        "PA_0079 PA_T_0000001 aaa - bonafide\nPA_0078 PA_D_0029700 ccc CC spoof\n",
        ("PA_D_0029700", 0, "CC", "PA_0078", {"environment": "ccc"}),
    ),
    "partialspoof": (
        "LA_0079 LA_D_1000001 - - bonafide\nLA_0069 CON_D_0000000 - CON spoof\n",
        ("CON_D_0000000", 0, "CON", "LA_0069", {}),
    ),
    "asvspoof2021_la": (
        "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval\n"
        "LA_0020 LA_E_6866159 - loc_tx bonafide bonafide notrim hidden_track\n",
        ("LA_E_6866159", 1, "", "LA_0020", {"transmission": "loc_tx", "trim": "notrim", "subset": "hidden_track"}),
    ),
    "asvspoof2021_stage1": (
        "- LA_E_8589971 - - - spoof - progress\n- LA_E_8589972 - - - bonafide - eval\n",
        ("LA_E_8589972", 1, "", "", {"subset": "eval"}),
    ),
    "asvspoof2021_df": (
        "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -\n"
        "VCC2TF1 DF_E_2000012 low_mp3 vcc2020 Task1-team20 spoof notrim eval neural_vocoder_autoregressive "
        "Task1 team20 FF E\n",
        (
            *("DF_E_2000012", 0, "Task1-team20", "VCC2TF1"),
            {
                **{"codec": "low_mp3", "source": "vcc2020", "trim": "notrim", "subset": "eval", "task": "Task1"},
                **{"vocoder": "neural_vocoder_autoregressive", "team": "team20", "gender_pair": "FF", "language": "E"},
            },
        ),
    ),
    "asvspoof2021_pa": (
        "PA_0010 PA_E_1000001 R3 M3 d4 r1 m1 s4 c4 spoof notrim eval\n",
        ("PA_E_1000001", 0, "", "PA_0010", PA21 | {"att_to_spk": "c4", "trim": "notrim", "subset": "eval"}),
    ),
    "asvspoof5": (
        "D_0461 D_0000000190 M - - - - bonafide bonafide -\nT_4850 T_0000000000 F C05 2 T_0000000007 AC3 A05 spoof -\n",
        (
            *("T_0000000000", 0, "A05", "T_4850"),
            {"gender": "F", "codec": "C05", "codec_quality": "2", "attack_tag": "AC3"},
        ),
    ),
    "utt_key": ("LA_E_1 bonafide\nLA_E_2 spoof\n", ("LA_E_2", 0, "", "", {})),
    "utt_attack_key": ("LA_E_1 - bonafide\nLA_E_2 A07 spoof\n", ("LA_E_2", 0, "A07", "", {})),
    "utt_key_attack": ("LA_E_1 bonafide -\nLA_E_3 bonafide -\nLA_E_2 spoof A07\n", ("LA_E_2", 0, "A07", "", {})),
    "asvspoof5_key": (
        "filename\tcm-label\nE_000001\tbonafide\nE_000002\tspoof\n",
        ("E_000002", 0, "", "", {}),
    ),
    "asvspoof5_full": (
        "tar_spk_anon trial_anon cm-label asv-label attack_anon codec track_2_tag\n"
        "E_0101 E_0000000001 bonafide target bonafide C01 dummy\nE_0102 E_0000000002 spoof spoof A17 - eval\n",
        ("E_0000000002", 0, "A17", "", {}),
    ),
    "in_the_wild": (
        "file,speaker,label\n0.wav,Alec Guinness,spoof\n4.wav,Christopher Hitchens,bona-fide\n",
        ("4.wav", 1, "", "Christopher Hitchens", {}),
    ),
    "csv": (
        "path,class,attack,language,score\nen/1.wav,fake,xtts,en,0.5\nde/1.wav,fake,bark,,0.5\n",
        ("de/1.wav", 0, "bark", "", {}),
    ),
}


def written(tmp_path, text, name="protocol.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_every_layout_has_lines_here():
    assert LINES.keys() == LAYOUTS.keys()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("layout", LINES)
def test_each_layout_is_told_and_read(tmp_path, layout, packed):
    text, last = LINES[layout]
    path = written(tmp_path, gzip.compress(text.encode()) if packed else "\ufeff" + text.replace("\n", "\r\n") + "\r\n")
    name, columns = layout_of(path)
    assert name == layout
    if layout != "csv":
        assert columns == LAYOUTS[layout]
    found = read_protocol(path, columns)
    n = text.count("\n")
    assert [u.where for u in found] == [f"{path}, line {i}" for i in range(1 + columns.header, n + 1)]
    u = found[-1]
    assert (u.id, u.label, u.attack, u.speaker, u.conditions) == last
    assert {u.path for u in found} == {u.partition for u in found} == {""}


def test_what_the_example_lines_of_bona_fide_speech_give(tmp_path):
    path = written(tmp_path, LINES["asvspoof2019_la"][0])
    first = read_protocol(path, LAYOUTS["asvspoof2019_la"])[0]
    assert (first.id, first.label, first.attack, first.speaker) == ("LA_T_1138215", 1, "", "LA_0079")
    path = written(tmp_path, LINES["asvspoof2021_la"][0])
    assert read_protocol(path, LAYOUTS["asvspoof2021_la"])[0].conditions["codec"] == "alaw"


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("utt\tlabel\tcodec\na\treal\tmp3\n", {"codec": "mp3"}),
        ('id|label|text\na|real|he said "no|\n', None),
        ('id,label,text\na,real,"one, two"\n', {"text": "one, two"}),
        ("utt label codec\na real mp3\n", {"codec": "mp3"}),
    ],
)
def test_separators(tmp_path, text, conditions):
    path = written(tmp_path, text)
    name, columns = layout_of(path)
    assert name == "csv"
    if conditions is None:
        with pytest.raises(InputError, match="line 2: 4 columns, 3 were expected"):
            read_protocol(path, columns)
    else:
        assert read_protocol(path, columns)[0].conditions == conditions


def test_tabs_serve_where_spaces_do(tmp_path):
    text, last = LINES["asvspoof2019_pa"]
    name, columns = layout_of(path := written(tmp_path, text.replace(" ", "\t")))
    assert name == "asvspoof2019_pa" and read_protocol(path, columns)[-1].id == last[0]


def test_without_keys_and_with_a_map_of_ones_own(tmp_path):
    path = written(tmp_path, "x|a|mp3\nx|b|-\n")
    found = read_protocol(path, Columns(1, conditions={"codec": 2}, separator="|"))
    assert [(u.id, u.label, u.conditions) for u in found] == [("a", None, {"codec": "mp3"}), ("b", None, {})]
    path = written(tmp_path, "a -\nb Spoof\n")
    assert [u.label for u in read_protocol(path, Columns(0, 1))] == [None, 0]


LA = "LA_1 a - - bonafide\n"


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        ("", LAYOUTS["asvspoof2019_la"], "no utterances"),
        ("utterance,label,attack,speaker\n", LAYOUTS["csv"], "no utterances"),
        ("", LAYOUTS["csv"], "the first line is"),
        (LA + "\nLA_1 b - bonafide\n", LAYOUTS["asvspoof2019_la"], "line 3: 4 columns, 5 were expected"),
        (LA + "LA_1 b - - genuin\n", LAYOUTS["asvspoof2019_la"], "line 2: unknown key 'genuin'"),
        (LA * 2, LAYOUTS["asvspoof2019_la"], "line 2: utterance a is listed already on line 1"),
        (LA + "LA_1 - - - spoof\n", LAYOUTS["asvspoof2019_la"], "line 2: the utterance has no id"),
        (b"LA_1 a - - bonafide\nLA_1 \xff - - spoof\n", LAYOUTS["asvspoof2019_la"], "line 2: not text in UTF-8"),
        (b"\x1f\x8b broken", LAYOUTS["asvspoof2019_la"], "cannot be read"),
        (gzip.compress(LA.encode(), mtime=0)[:-9], LAYOUTS["asvspoof2019_la"], "cannot be read"),
        ("file,who,label\na,b,spoof\n", LAYOUTS["in_the_wild"], "a header with 'speaker' in it"),
        ("file,speaker,label\na,b\n", LAYOUTS["in_the_wild"], "line 2: 2 columns, 3 were expected"),
        ('file,speaker,label\na,"b,spoof\n', LAYOUTS["in_the_wild"], "line 2: not CSV"),
        ("a\nb x\n", Columns(0, 1), "line 1: 1 columns are too few"),
    ],
)
def test_a_broken_protocol_is_named_with_its_line(tmp_path, text, columns, words):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=words) as caught:
        read_protocol(path, columns)
    assert str(path) in str(caught.value)


def test_a_bad_line_further_down_does_not_hide_the_layout(tmp_path):
    path = written(
        tmp_path, "".join(f"LA_1 {i} - A07 spoof\n" for i in range(9)) + "LA_1 9 - spoof\nLA_1 10 - - spof\n"
    )
    assert layout_of(path)[0] == "asvspoof2019_la"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "LA_1 0.5\n",
        "LA_0015 LA_E_1103494 bonafide target\n",
        "LA_0007-alaw-ita_tx LA_E_5013670-alaw-ita_tx alaw ita_tx bonafide nontarget notrim eval\n",
        "file,speaker\na,b\n",
        "a,b,-,A07,maybe\n",
        "LA_E_1 target\n",
    ],
)
def test_an_unknown_layout_lists_the_known(tmp_path, text):
    with pytest.raises(InputError, match=r"no protocol that is known: asvspoof2019_la \(5 columns\), .*in_the_wild"):
        layout_of(written(tmp_path, text))


def test_no_file(tmp_path):
    for path in (tmp_path / "missing.txt", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            layout_of(path)


WORDS = st.text(st.characters(categories=["L", "N"], include_characters="_-."), min_size=1, max_size=8).filter(
    lambda word: word != "-"
)


@given(rows=st.dictionaries(WORDS, st.tuples(WORDS, st.sampled_from(["-", "A07", "A19"]), st.booleans()), min_size=1))
@settings(max_examples=100, deadline=None)
def test_whatever_is_written_comes_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("p") / "p.txt"
    words = {True: "bonafide", False: "spoof"}
    lines = [f"{speaker} {name} - {attack} {words[real]}\n" for name, (speaker, attack, real) in rows.items()]
    path.write_text("".join(lines), encoding="utf-8")
    found = read_protocol(path, LAYOUTS["asvspoof2019_la"])
    assert [u.id for u in found] == list(rows)
    assert [u.label for u in found] == [int(real) for _, _, real in rows.values()]
    assert [u.speaker for u in found] == [speaker for speaker, _, _ in rows.values()]
    assert [u.attack for u in found] == ["" if real or a == "-" else a for _, a, real in rows.values()]


@given(
    text=st.text(st.sampled_from("ab \t|\r\n\n\0\x85\x0b"), max_size=20),
    separator=st.sampled_from([None, "\t", "|", ","]),
    n=st.integers(1, 3),
    block=st.sampled_from([1, 4, protocol.BLOCK]),
)
@settings(max_examples=500, deadline=None)
def test_a_text_cut_in_blocks_is_what_it_is_line_by_line(text, separator, n, block):
    for whole in (text, (separator or " ").join("ab"[:n]) + "\n" + text, f"{text}\n" * n):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(protocol, "BLOCK", block)
            columns = columns_of(whole, separator)
        assert columns == columns_of(whole, separator)  # in one block, all of these
        if columns:
            rows = [list(cells) for cells in zip(*columns, strict=True)]
            assert list(cells_of(whole, separator, Path("x"))) == list(enumerate(rows, start=1))


def test_which_texts_are_cut_in_one_go():
    for separator, gap in ((None, " "), ("\t", "\t"), ("|", "|")):
        for end in ("\n", "\r\n"):
            assert columns_of(f"a{gap}b{end}c{gap}d{end}", separator) == [["a", "c"], ["b", "d"]]
        for text in ("a b\nc\n", "a b c\nd\n", "a b\n\nc d\n", "\na b\n", "a b\nc d e f\n", "a b c\nd \0 e\n", ""):
            assert not columns_of(text.replace(" ", gap), separator)
    assert not columns_of("a\tb\nc\t\nd\te", "\t")


def test_keys_of_many_are_those_of_each():
    for names in (["a", "b"], ["x/a.wav", "b"], ["a.b", "c\\d.flac"], []):
        assert utterance_keys(names) == [utterance_key(name) for name in names]


def corpus(n_bonafide, n_spoof):
    return [Utterance(f"{i}", "", int(i < n_bonafide)) for i in range(n_bonafide + n_spoof)]


def test_a_partial_corpus_is_noticed_once_and_a_whole_one_is_not(caplog):
    whole = corpus(2, 3)
    with caplog.at_level(logging.WARNING):
        for expected in ((2, 3), 5, None):
            assert complete(whole, expected, "la", "partition eval") is whole
    assert not caplog.records
    for _ in range(2):
        complete(whole, (2, 4000), "la", "partition eval")
        complete(whole, (2, 5000), "la", "partition dev")
        complete(whole, 6, "df")
    assert [r.message for r in caplog.records] == [
        "la, partition eval: 2 bona fide and 3 spoof trials, 2 bona fide and 4,000 spoof were published: "
        "a part of it, or another corpus in its layout",
        "df: 5 trials, 6 were published: a part of it, or another corpus in its layout",
    ]


def test_the_shared_protocols(shared):
    protocols = sorted(shared.glob("data/LA/**/*.trl.txt"))
    assert len(protocols) == 2
    for path in protocols:
        name, columns = layout_of(path)
        found = read_protocol(path, columns)
        assert name == "asvspoof2019_la" and {u.label for u in found} == {0, 1}


def test_a_small_gzip_that_unpacks_to_gigabytes_is_one_sentence(tmp_path):
    part = gzip.compress(bytes(64 << 20))
    (tmp_path / "bomb.gz").write_bytes(part * 32)  # 2 GB in 2 MB
    with pytest.raises(InputError, match=r"bomb.gz unpacks to more than 256 MB: unpack it if you trust it"):
        read_text(tmp_path / "bomb.gz")
