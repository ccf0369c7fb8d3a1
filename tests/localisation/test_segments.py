"""Segments against a plain loop over the frames, verdicts at their limits, and files read by other readers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import touch, write_lines

from deepfake.datasets import spliced
from deepfake.errors import InputError
from deepfake.localisation.scan import Scan
from deepfake.localisation.segments import (
    Segment,
    Threshold,
    Timeline,
    segments,
    share_of,
    verdict_of_file,
    verdict_of_recording,
    write_segments,
)


def found(p_fake, **keywords):
    return segments(np.arange(len(p_fake) + 1) / 10, p_fake, **keywords)


def test_by_hand():
    p = [0.1, 0.4, 0.8, 0.2, 0.9, 0.3, 0.3, 0.3, 0.5, 0.2]
    assert found(p) == [Segment(0.1, 0.5, pytest.approx(0.575), 0.9)]  # 0.3 is not above 0.3; the last 0.1 s is dropped
    assert found(p, shortest_seconds=0) == [Segment(0.1, 0.5, pytest.approx(0.575), 0.9), Segment(0.8, 0.9, 0.5, 0.5)]
    assert found(p, gap_seconds=0) == [Segment(0.1, 0.3, pytest.approx(0.6), 0.8)]
    assert found(p, gap_seconds=0.3) == [Segment(0.1, 0.9, pytest.approx(np.mean(p[1:9])), 0.9)]
    assert found(p, threshold=0.9) == []
    assert found([0.9, 0.7], threshold=0.0) == [Segment(0.0, 0.2, pytest.approx(0.8), 0.9)]


def test_a_recording_that_is_itself_short_can_be_flagged():
    assert segments([0, 0.1, 0.15], [0.5, 0.8]) == [Segment(0.0, 0.15, pytest.approx(0.6), 0.8)]
    assert segments([0, 0.1, 0.15], [0.5, 0.2]) == []


def by_loop(flagged, shortest, gap):
    """Frames of 0.1 s, one by one: indices of the first frame and of the one after the last."""
    runs: list[list[int]] = []
    for i, on in enumerate(flagged):
        if not on:
            continue
        if runs and i - runs[-1][1] <= (gap if i > runs[-1][1] else 0):
            runs[-1][1] = i + 1
        else:
            runs.append([i, i + 1])
    return [(a, b) for a, b in runs if b - a >= min(shortest, len(flagged))]


@given(
    st.lists(st.sampled_from([0.1, 0.3, 0.31, 0.8, 1.0]), min_size=1, max_size=40), st.integers(0, 5), st.integers(0, 5)
)
def test_segments_are_those_of_a_loop(p, shortest, gap):
    got = found(p, shortest_seconds=shortest / 10, gap_seconds=gap / 10)
    expected = by_loop([x > 0.3 for x in p], shortest, gap)
    assert [(round(10 * s.start), round(10 * s.end)) for s in got] == expected
    for s, (a, b) in zip(got, expected, strict=True):
        assert s.confidence == pytest.approx(np.mean(p[a:b]))
        assert s.peak == max(p[a:b])
    assert share_of(got, len(p) / 10) == pytest.approx(sum(b - a for a, b in expected) / len(p))


@pytest.mark.parametrize(
    ("share", "file", "recording"),
    [
        (0.0, "REAL", "REAL"),
        (1e-9, "SUSPICIOUS", "REAL"),
        (0.5, "SUSPICIOUS", "REAL"),
        (0.51, "SUSPICIOUS", "FAKE"),
        (0.95, "SUSPICIOUS", "FAKE"),
        (0.951, "FAKE", "FAKE"),
        (1.0, "FAKE", "FAKE"),
    ],
)
def test_verdicts(share, file, recording):
    assert (verdict_of_file(share), verdict_of_recording(share)) == (file, recording)


@pytest.mark.parametrize(
    ("edges", "p", "keywords", "words"),
    [
        ([0, 1], [0.1, 0.2], {}, r"\[L \+ 1\] ascending, \[L\] expected"),
        ([0], [], {}, r"\[L \+ 1\] ascending, \[L\] expected"),
        ([0, 1, 1], [0.1, 0.2], {}, r"\[L \+ 1\] ascending, \[L\] expected"),
        ([0, 1], [math.nan], {}, "NaN or infinite"),
        ([0, 1], [1.1], {}, "not within 0 and 1"),
        ([0, 1], [0.5], {"threshold": 30}, "threshold=30: a number from 0 to 1"),
        ([0, 1], [0.5], {"gap_seconds": -1}, "gap_seconds=-1"),
        ([0, 1], [0.5], {"shortest_seconds": math.nan}, "shortest_seconds=nan"),
    ],
)
def test_bad_curves_and_settings(edges, p, keywords, words):
    with pytest.raises(InputError, match=words):
        segments(edges, p, **keywords)


def test_bad_shares():
    for verdict in (verdict_of_file, verdict_of_recording):
        with pytest.raises(InputError, match="share=nan"):
            verdict(math.nan)


TWO = [Segment(0.5, 1.25, 0.8, 0.9), Segment(2.0, 3.0000001, 0.4, 0.5)]
EMPTY = np.zeros(0)


def written(folder, segments, name="clip", *, duration=4.0, threshold=0.3, window=1.0, rule="file"):
    scan = Scan(EMPTY, EMPTY, EMPTY, EMPTY, duration=duration, window=window, hop=0.25)
    write_segments(folder, Timeline(name, scan, EMPTY, EMPTY, Threshold(threshold, "default"), segments, rule))
    return [(folder / f"segments.{suffix}").read_text(encoding="utf-8") for suffix in ("json", "txt", "rttm")]


def test_json(tmp_path):
    text, _, _ = written(tmp_path / "new", TWO, 'a "b" é\n')
    assert json.loads(text) == {
        "schema": {"name": "deepfake.segments", "version": 2},
        "file": 'a "b" é\n',
        "kind": "trend",
        "duration": 4.0,
        "window": 1.0,
        "hop": 0.25,
        "resolution": 1.0,
        "threshold": {"value": 0.3, "source": "default"},
        "share": pytest.approx(1.7500001 / 4),
        "rule": "file",
        "verdict": "SUSPICIOUS",
        "segments": [
            {"start": 0.5, "end": 1.25, "confidence": 0.8, "peak": 0.9},
            {"start": 2.0, "end": 3.0000001, "confidence": 0.4, "peak": 0.5},
        ],
    }


def test_the_rule_of_the_verdict_is_written(tmp_path):
    for rule, expected in (("file", "SUSPICIOUS"), ("recording", "REAL")):
        content = json.loads(written(tmp_path, TWO, rule=rule)[0])
        assert (content["rule"], content["verdict"], content["share"]) == (rule, expected, pytest.approx(1.7500001 / 4))


def test_an_audacity_label_track(tmp_path):
    _, text, _ = written(tmp_path, TWO)
    assert text == "0.500000\t1.250000\tspoof 0.80\n2.000000\t3.000000\tspoof 0.40\n"


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("clip", "clip"),
        ("my clip\tof\n two", "my_clip_of__two"),
        ("", "_"),
        ("日本 é\u2028x\x85y\xa0z\x00", "日本_é_x_y_z_"),
        ("lone \udc80 surrogate", "lone___surrogate"),
    ],
)
def test_rttm_has_ten_fields_whatever_the_name(name, id, tmp_path):
    *_, text = written(tmp_path, TWO, name)
    rows = [line.split() for line in text.splitlines()]
    assert rows == [
        ["SPEAKER", id, "1", "0.500000", "0.750000", "<NA>", "<NA>", "spoof", "0.800000", "<NA>"],
        ["SPEAKER", id, "1", "2.000000", "1.000000", "<NA>", "<NA>", "spoof", "0.400000", "<NA>"],
    ]


def test_rttm_is_read_as_partialspoofs(tmp_path):
    *_, text = written(tmp_path / "out", TWO, "CON_D_1")
    base = tmp_path / "database"
    write_lines(
        base / "protocols/PartialSpoof_LA_cm_protocols/PartialSpoof.LA.cm.dev.trl.txt", "LA_1 CON_D_1 - CON spoof"
    )
    write_lines(base / "dev/con_data/rttm_2cls_0sil", *text.splitlines())
    touch(base, "dev/con_wav/CON_D_1.wav")
    assert spliced.segments("dev", root=str(base)) == {"CON_D_1": [(0.5, 1.25, "CON"), (2.0, 3.0, "CON")]}


def test_nothing_flagged_is_written_too(tmp_path):
    text, labels, rttm = written(tmp_path, [])
    assert (json.loads(text)["segments"], json.loads(text)["share"], labels, rttm) == ([], 0.0, "", "")


@pytest.mark.parametrize(
    ("segments", "keywords", "words"),
    [
        ([TWO[1], TWO[0]], {}, "in order of time"),
        ([TWO[0], TWO[0]], {}, "in order of time"),
        ([Segment(1.0, 1.0, 0.5, 0.5)], {}, "in order of time"),
        ([Segment(3.0, 4.1, 0.5, 0.5)], {}, "within it"),
        ([Segment(-1.0, 1.0, 0.5, 0.5)], {}, "within it"),
        ([Segment(math.nan, 1.0, 0.5, 0.5)], {}, "within it"),
        ([Segment(0.0, 1.0, math.nan, 0.5)], {}, "within it"),
        ([Segment(0.0, 1.0, 0.5, 1.5)], {}, "within it"),
        ([], {"duration": 0.0}, "duration=0.0"),
        ([], {"threshold": math.nan}, "not finite"),
        ([], {"window": math.inf}, "not finite"),
    ],
)
def test_what_cannot_be_written(segments, keywords, words, tmp_path):
    with pytest.raises(InputError, match=words):
        written(tmp_path, segments, **keywords)
    assert not list(tmp_path.iterdir())
