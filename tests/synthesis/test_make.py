"""From a folder of recordings to a corpus that its readers read."""

from __future__ import annotations

import csv
import hashlib
import json

import numpy as np
import pytest
import soundfile

from deepfake.cli import main
from deepfake.datasets import asvspoof2019_la, spliced
from deepfake.datasets.utterance import PARTITIONS, speaker_overlap
from deepfake.errors import InputError
from deepfake.synthesis import make as module
from deepfake.synthesis.make import make_corpus
from deepfake.synthesis.plan import NONE, File, Recipe, Source, recordings
from deepfake.synthesis.sound import make

QUICK = {"A02": "", "A04": "", "A06": "", "A07": ""}
OPTIONS = {"spoofs": 2, "splices": 0.5, "max_seconds": 2.2}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The systems that nothing must be installed for."""
    monkeypatch.setattr(module, "available", lambda: QUICK)


@pytest.fixture(scope="module")
def corpus(speakers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "corpus"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "available", lambda: QUICK)
        done = make_corpus(Recipe(speakers, folder, workers=1, **OPTIONS))
    assert not done.left_out and set(done.absent) == {"A01", "A03", "A05", "A08"}
    return folder


def digests(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def test_the_same_bytes_by_two_processes_after_an_interruption(corpus, speakers, tmp_path, monkeypatch):
    calls = []

    def interrupted(source, recipe, texts):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(source)
        return make(source, recipe, texts)

    folder = tmp_path / "corpus"
    with monkeypatch.context() as patch:
        patch.setattr(module, "make", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_corpus(Recipe(speakers, folder, workers=1, **OPTIONS))
    assert not (folder / "ASVspoof2019_LA_cm_protocols").exists()
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.flac")}
    assert before
    make_corpus(Recipe(speakers, folder, workers=2, **OPTIONS))
    assert digests(folder) == digests(corpus)
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_its_reader_reads_it(corpus):
    read = {p: asvspoof2019_la.read("LA", p, str(corpus)) for p in PARTITIONS}
    assert not speaker_overlap(read)
    for partition, utterances in read.items():
        attacks = {u.attack for u in utterances if u.label == 0}
        assert attacks and attacks <= {"A02", "A04"} | ({"A06", "A07"} if partition == "eval" else set())
        assert {u.label for u in utterances} == {0, 1}
        for u in utterances:
            header = soundfile.info(u.path)
            assert (header.samplerate, header.channels, header.subtype) == (16000, 1, "PCM_16")
    assert asvspoof2019_la.asv_scores("dev", root=str(corpus)) is None


def test_a_spoof_has_its_partners_length_and_level(corpus):
    rows = list(csv.DictReader((corpus / "sources.csv").open()))
    sounds = {p.stem: soundfile.read(p)[0] for p in corpus.rglob("LA_*.flac")}
    bonafide = {r["recording"]: sounds[r["file"]] for r in rows if r["system"] == NONE and r["file"] in sounds}
    spoofs = [r for r in rows if r["system"] != NONE and r["file"] in sounds]
    assert len(spoofs) == 2 * len(bonafide) > 4
    for row in spoofs:
        here, there = sounds[row["file"]], bonafide[row["recording"]]
        assert len(here) == len(there)
        assert abs(20 * np.log10(here.std() / there.std())) < 1.3
        assert np.abs(here).max() / np.abs(there).max() < 1.4
    listed = {r["speaker"]: r["partition"] for r in csv.DictReader((corpus / "speakers.csv").open())}
    assert len(listed) == 5 and set(listed.values()) == set(PARTITIONS)
    folders = {r["folder"] for r in csv.DictReader((corpus / "speakers.csv").open())}
    assert folders == {f"speaker{i}" for i in range(5)}


def test_a_spliced_file_differs_in_its_stretch_alone(corpus, speakers, tmp_path):
    recipe = Recipe(speakers, tmp_path, max_seconds=2.2)
    recording = {r["file"]: r["recording"] for r in csv.DictReader((corpus / "sources.csv").open())}
    n_stretches = 0
    for partition in PARTITIONS:
        stretches = spliced.segments(partition, root=str(corpus / "partial"))
        for u in spliced.utterances(partition, root=str(corpus / "partial")):
            untouched = Source(recording[u.id], "", "", partition, (File(u.id, NONE),), partial=True)
            assert not make(untouched, recipe, ()).errors
            before, _ = soundfile.read(tmp_path / "partial" / partition / f"{u.id}.flac", dtype="int16")
            after, _ = soundfile.read(u.path, dtype="int16")
            differs = np.abs(after.astype(int) - before) > 1  # a step may be the mean that was removed
            for start, end, system in stretches[u.id]:
                n_stretches += 1
                assert system == u.attack == "A02" or system in ("A04", "A06")
                first, last = round(start * 16000), round(end * 16000)
                assert differs[first + 80 : last - 80].mean() > 0.8
                differs[first - 80 : last + 80] = False
            assert not differs.any()
    assert n_stretches >= 2


def test_a_folder_of_other_settings_or_of_something_else_is_left_alone(corpus, speakers, tmp_path):
    before = digests(corpus)
    with pytest.raises(InputError, match="made with other seed, spoofs") as error:
        make_corpus(Recipe(speakers, corpus, workers=1, **OPTIONS | {"seed": 1, "spoofs": 1}))
    assert "\n" not in str(error.value)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match="something other than a generated corpus"):
        make_corpus(Recipe(speakers, tmp_path))
    with pytest.raises(InputError, match="is a file"):
        make_corpus(Recipe(speakers, tmp_path / "mine.txt"))
    with pytest.raises(InputError, match="lies in the folder of recordings"):
        make_corpus(Recipe(speakers, speakers / "made"))
    assert digests(corpus) == before and json.loads((corpus / "corpus.json").read_text())["seed"] == 0


def test_recordings_that_cannot_be_used_are_left_out_with_their_spoofs(voice, tmp_path, capsys):
    for i in range(3):
        (tmp_path / "in" / str(i)).mkdir(parents=True)
        for j in range(2):
            soundfile.write(tmp_path / "in" / str(i) / f"{j}.wav", voice(2 * i + j, 1.1), 16000)
    folder = tmp_path / "in" / "1"
    (folder / "text.wav").write_text("this is text")
    soundfile.write(folder / "short.wav", voice(9, 0.8), 16000)
    soundfile.write(folder / "silent.wav", np.zeros(20000), 16000)
    made = tmp_path / "out"
    command = ["make-corpus", "--bonafide", str(tmp_path / "in"), "--output", str(made), "--workers", "1"]
    assert main([*command, "--spoofs", "1", "--splices", "0", "--eval-only", "A06", "A07"]) == 3
    out, err = capsys.readouterr()
    assert out.strip() == str(made)
    assert "6 files skipped" in err and "A01 is not in the corpus" in err and "no ASV scores" in err
    left = list(csv.DictReader((made / "left_out.csv").open()))
    assert sum("0.80 s: at least 1 s are needed" in r["error"] for r in left) == 2
    assert sum("speech, from -70 dBFS, was expected" in r["error"] for r in left) == 2
    listed = [u.id for p in PARTITIONS for u in asvspoof2019_la.read("LA", p, str(made))]
    assert len(listed) == 12 and not {r["file"] for r in left} & set(listed)
    assert not (made / "partial").exists()


def test_a_long_recording_is_cut_where_it_is_quiet(voice, tmp_path):
    speech = np.concatenate([voice(i, 1.0) for i in range(8)])
    soundfile.write(tmp_path / "long.wav", speech, 16000)
    for seed in range(4):
        recipe = Recipe(tmp_path, tmp_path / str(seed), seed, max_seconds=4.0)
        make(Source("long.wav", "LA_0001", "speaker", "dev", (File("LA_D_1", NONE),)), recipe, ())
        made, _ = soundfile.read(tmp_path / str(seed) / "ASVspoof2019_LA_dev" / "flac" / "LA_D_1.flac")
        assert 2.4 * 16000 <= len(made) <= 4.0 * 16000
        assert max(made[:80].std(), made[-80:].std()) < 0.5 * made.std()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": -1}, "--seed -1"),
        ({"workers": 0}, "--workers 0"),
        ({"shares": (1, 0, 1)}, "--shares 1 0 1"),
        ({"spoofs": 0}, "--spoofs 0"),
        ({"splices": 1.0}, "--splices 1"),
        ({"max_seconds": 1.5}, "--min-seconds 1: from 0.5, and at most half of --max-seconds 1.5"),
        ({"per_speaker": 0}, "--per-speaker 0"),
        ({"eval_only": ("A99",)}, "--eval-only A99"),
        ({"eval_only": ("A02", "A04", "A06")}, "leaves A07 for training, where a copy-synthesis is needed"),
    ],
)
def test_an_argument_out_of_range(speakers, tmp_path, options, said):
    with pytest.raises(InputError, match=said) as error:
        make_corpus(Recipe(speakers, tmp_path / "out", **options))
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_a_class_without_a_file_is_refused(speakers, tmp_path):
    with pytest.raises(InputError, match=r"partition train of the corpus lacks a class, for example because .*needed"):
        make_corpus(Recipe(speakers, tmp_path / "out", workers=1, spoofs=2, min_seconds=3))
    assert len(recordings(speakers)) == 5


@pytest.mark.parametrize(("dbfs", "said"), [(-69.0, None), (-71.0, "a level of -71 dBFS: speech, from -70 dBFS")])
def test_a_recording_below_70_dbfs_is_skipped(tmp_path, dbfs, said):
    (tmp_path / "spk").mkdir()
    noise = np.random.default_rng(0).standard_normal(32000) * 10 ** (dbfs / 20)
    soundfile.write(tmp_path / "spk" / "a.wav", noise, 16000, subtype="FLOAT")
    files = (File("LA_T_1", NONE), File("LA_T_2", "A04"))
    made = make(Source("spk/a.wav", "LA_0", "spk", "train", files), Recipe(tmp_path, tmp_path / "out"), {})
    assert made.errors.keys() == ({file.id for file in files} if said else set())
    assert all(said in error for error in made.errors.values())
