"""The corpus the program makes itself: its layout, its repeatability, and that nothing already there is overwritten."""

import json
import logging
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import REPOSITORY

from deepfake.datasets import asvspoof2019_la, demo
from deepfake.datasets.corpus import Corpus
from deepfake.datasets.demo import utterances
from deepfake.errors import InputError

SMALL = 24


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("corpora") / "demo"
    utterances("train", root=str(root), n_utterances=SMALL)
    return root


@pytest.fixture(scope="module")
def partitions(root):
    return {part: utterances(part, root=str(root), n_utterances=SMALL) for part in ("train", "dev", "eval")}


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(root, tmp_path):
    utterances("eval", root=str(tmp_path / "again"), n_utterances=SMALL)
    assert contents(tmp_path / "again") == contents(root)


def test_another_seed_gives_other_speech(root, tmp_path):
    utterances("eval", root=str(tmp_path / "other"), seed=1, n_utterances=SMALL)
    ours, theirs = contents(root), contents(tmp_path / "other")
    audio = [name for name in ours if name.endswith(".flac")]
    assert sorted(ours) == sorted(theirs)
    assert not [name for name in audio if ours[name] == theirs[name]]


def test_a_partition_does_not_depend_on_the_size_of_another(root, partitions, tmp_path):
    larger = utterances("dev", root=str(tmp_path / "larger"), n_utterances=26)
    assert len(larger) == len(partitions["dev"])  # rounding gives dev no more of 26
    assert [Path(u.path).read_bytes() for u in larger] == [Path(u.path).read_bytes() for u in partitions["dev"]]


def test_partitions_are_balanced_and_a03_is_in_eval_alone(partitions):
    attacks = {part: Counter(u.attack for u in found) for part, found in partitions.items()}
    assert attacks == {
        "train": {"": 6, "A01": 3, "A02": 3},
        "dev": {"": 3, "A01": 2, "A02": 1},
        "eval": {"": 3, "A01": 1, "A02": 1, "A03": 1},
    }
    for found in partitions.values():
        assert all(u.label == (1 if u.attack == "" else 0) for u in found)


def test_speakers_are_of_one_partition_and_of_both_classes(partitions):
    speakers = {part: {u.speaker for u in found} for part, found in partitions.items()}
    assert sum(map(len, speakers.values())) == len(set.union(*speakers.values()))
    for part, found in partitions.items():
        assert (
            {u.speaker for u in found if u.label == 1} == {u.speaker for u in found if u.label == 0} == speakers[part]
        )


def test_neither_length_nor_level_tells_the_classes_apart(partitions):
    for found in partitions.values():
        lengths: dict[int, list[int]] = {0: [], 1: []}
        levels: dict[int, list[float]] = {0: [], 1: []}
        for u in found:
            info = soundfile.info(u.path)
            assert (info.samplerate, info.channels, info.subtype, info.format) == (16000, 1, "PCM_16", "FLAC")
            waveform, _ = soundfile.read(u.path)
            assert 2.0 <= len(waveform) / 16000 <= 4.0
            assert 0.02 < np.abs(waveform).max() < 0.98
            assert abs(waveform.mean()) < 1e-3
            lengths[u.label].append(len(waveform))
            levels[u.label].append(20 * np.log10(np.sqrt(np.mean(waveform**2))))
        assert sorted(lengths[0]) == sorted(lengths[1])
        np.testing.assert_allclose(sorted(levels[0]), sorted(levels[1]), atol=0.1)
        assert -36 < min(levels[1]) < max(levels[1]) < -20


def test_bona_fide_speech_is_voiced_with_most_of_its_energy_below_4_khz(partitions):
    for u in (u for found in partitions.values() for u in found if u.label == 1):
        waveform, _ = soundfile.read(u.path)
        power = np.abs(np.fft.rfft(waveform)) ** 2
        assert power[: len(power) // 2].sum() > 0.7 * power.sum()
        frames = waveform[: len(waveform) // 640 * 640].reshape(-1, 640)  # 40 ms
        frames = frames[np.argsort((frames**2).sum(1))[-10:]]  # the loudest are vowels
        own = np.fft.irfft(np.abs(np.fft.rfft(frames, 2048)) ** 2)
        periodicity = (own[:, 38:267] / own[:, :1]).max(1)
        assert np.median(periodicity) > 0.5


def test_asv_scores_have_three_columns_and_the_attacks_of_their_partition(root, partitions):
    assert asvspoof2019_la.asv_scores("train", root=str(root)) is None
    for part in ("dev", "eval"):
        path = asvspoof2019_la.asv_scores(part, root=str(root))
        rows = [line.split() for line in path.read_text().splitlines()]
        scores = {key: [float(score) for _, k, score in rows if k == key] for key in ("target", "nontarget", "spoof")}
        assert {source for source, key, _ in rows if key == "spoof"} == {u.attack for u in partitions[part]} - {""}
        assert {source for source, key, _ in rows if key != "spoof"} == {"bonafide"}
        assert np.mean(scores["nontarget"]) < np.mean(scores["spoof"]) < np.mean(scores["target"])


def test_a_corpus_that_stands_is_read_not_made_again(root, caplog):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    with caplog.at_level(logging.INFO):
        utterances("train", root=str(root), n_utterances=SMALL)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert not caplog.records


def test_a_relative_root_is_below_the_working_directory_and_an_empty_folder_is_used(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b" / "demo").mkdir(parents=True)
    with caplog.at_level(logging.INFO):
        found = utterances("dev", root="a b/demo", n_utterances=SMALL)
    assert (tmp_path / found[0].path).is_file()
    assert "making 24 utterances" in caplog.text
    assert [path.name for path in (tmp_path / "a b").iterdir()] == ["demo"]  # no draft is left


def test_other_parameters_are_refused_and_the_corpus_is_kept(root):
    before = contents(root)
    for wanted in ({"seed": 1, "n_utterances": SMALL}, {"n_utterances": 26}):
        with pytest.raises(InputError, match=r"demo corpus of .*'n_utterances': 24.* delete it or choose another"):
            utterances("train", root=str(root), **wanted)
    assert contents(root) == before


@pytest.mark.parametrize("name", ["notes.txt", "demo.json"])
def test_a_folder_of_something_else_is_refused_and_kept(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="other than a demo corpus"):
        utterances("train", root=str(tmp_path), n_utterances=SMALL)
    assert contents(tmp_path) == {name: b"mine"}


def test_a_root_that_is_a_file_or_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for root in (tmp_path / "file", tmp_path / "file" / "demo"):
        with pytest.raises(InputError, match=r"dataset\.root"):
            utterances("train", root=str(root), n_utterances=SMALL)
    assert contents(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize(("seed", "n"), [(-1, 24), (0, 22), (0, 25), (0, 0)])
def test_parameters_out_of_range_are_refused(tmp_path, seed, n):
    with pytest.raises(InputError, match=rf"dataset\.seed={seed} dataset\.n_utterances={n}"):
        utterances("train", root=str(tmp_path / "demo"), seed=seed, n_utterances=n)
    assert not list(tmp_path.iterdir())


def test_an_unknown_partition_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(InputError, match="partition=test"):
        Corpus("demo", utterances, {"root": str(tmp_path / "demo"), "n_utterances": SMALL}).read("test")
    assert not list(tmp_path.iterdir())


def test_a_failure_half_way_leaves_nothing(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr("deepfake.datasets.demo._write_asv_scores", full)
    with pytest.raises(InputError, match="no space left"):
        utterances("train", root=str(tmp_path / "demo"), n_utterances=SMALL)
    assert not list(tmp_path.iterdir())


READ = """
import sys
from deepfake.datasets.demo import utterances
parts = ("train", "dev", "eval")
print(sum(len(utterances(part, root=sys.argv[1], n_utterances=int(sys.argv[2]))) for part in parts))
"""


def test_two_processes_at_once_leave_one_whole_corpus(root, tmp_path):
    command = [sys.executable, "-c", READ, str(tmp_path / "demo"), str(SMALL)]
    both = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [int(process.communicate(timeout=300)[0]) for process in both] == [SMALL, SMALL]
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    assert contents(tmp_path / "demo") == contents(root)
    assert json.loads((tmp_path / "demo" / "demo.json").read_text())["n_utterances"] == SMALL


def test_who_comes_second_discards_its_copy(tmp_path):
    place = tmp_path / "demo"
    utterances("dev", root=str(place), n_utterances=SMALL)
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}
    demo._generate(place, {"version": demo.VERSION, "seed": 0, "n_utterances": SMALL})
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
