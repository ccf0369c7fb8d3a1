"""Clips from decoded samples on disk are those of the files, and the file of them is whole, current and made once."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import time

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import OmegaConf
from tiny import tiny_run, write_audio, write_la
from torch.testing import assert_close

from deepfake import run
from deepfake.audio import load, load_clip
from deepfake.datasets.corpus import Corpus
from deepfake.datasets.utterance import Utterance
from deepfake.errors import sentence
from deepfake.loading.item import Clips
from deepfake.loading.pcm import PCM, pcm
from deepfake.loading.splices import Splices

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory, below which `data/cache` is made."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def batches(la, folder, *overrides):
    plain = OmegaConf.to_container(tiny_run(la, folder, "train_seconds=0.3", *overrides), resolve=True)
    data = run._composed(plain, Corpus.of(plain["dataset"]))[1].datamodule
    data.prepare_data()
    return data, [*data.train_dataloader(), *data.val_dataloader()]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_bit_for_bit(tiny_la, here, workers):
    _, expected = batches(tiny_la, here / "a")
    data, found = batches(tiny_la, here / "b", "dataset.cache=true", f"num_workers={workers}")
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one["waveform"], other["waveform"]) and torch.equal(one["index"], other["index"])
    names = sorted(path.name[:29] for path in (here / "data/cache").glob("*.pcm"))
    assert names == ["asvspoof2019_la-dev-16000-" + names[0][26:], "asvspoof2019_la-train-16000-" + names[1][28:]]
    clips = data.train_dataloader().dataset
    assert all(isinstance(clips.source(u.path), tuple) for u in clips.utterances)


def test_a_run_takes_the_file_of_an_earlier_one_until_a_recording_changes(here):
    la = write_la(here / "LA")
    batches(la, here / "a", "dataset.cache=true")
    (file,) = (here / "data/cache").glob("*train*.pcm")
    made = file.stat().st_ino
    batches(la, here / "b", "dataset.cache=true")
    assert file.stat().st_ino == made
    changed = write_audio(next(la.glob("*train/flac/*0.flac")), spoof=False, seed=99)
    batches(la, here / "c", "dataset.cache=true")
    assert file.stat().st_ino != made
    assert torch.equal(load(PCM(file).get(str(changed))), load(changed))


def test_a_recording_of_the_same_size_that_was_written_later_is_decoded_again(here):
    file = write_audio(here / "a.wav", spoof=False, seed=1)
    pcm(here / "x.pcm", [str(file)], 16000, lambda: [load(file)])
    before = file.stat()
    write_audio(file, spoof=False, seed=2)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    assert file.stat().st_size == before.st_size
    found = pcm(here / "x.pcm", [str(file)], 16000, lambda: [load(file)])
    assert torch.equal(load(found.get(str(file))), load(file))


def test_a_file_that_cannot_be_decoded_is_named_as_without(here):
    good, bad = write_audio(here / "good.wav", spoof=False, seed=1), here / "bad.wav"
    bad.write_bytes(b"no audio")
    files = [str(good), str(bad)]
    kept = pcm(here / "x.pcm", files, 16000, lambda: [load(good), None])
    utterances = [Utterance(id=path, path=path, label=1) for path in files]
    with_it, without = (Clips(utterances, n_samples=8000, sample_rate=16000, pcm=p) for p in ([kept], []))
    assert with_it[1, None]["error"] == without[1, None]["error"]
    assert torch.equal(with_it[0, 5]["waveform"], without[0, 5]["waveform"])


def test_other_depths_are_rounded_and_cut_at_full_scale(here):
    x = np.random.default_rng(0).uniform(-0.9, 0.9, 4000)
    x[:2] = 1.5, -1.5
    soundfile.write(here / "x.wav", x, 16000, subtype="FLOAT")
    file = str(here / "x.wav")
    found = load(pcm(here / "x.pcm", [file], 16000, lambda: [load(file)]).get(file))
    assert found[:2].tolist() == [32767 / 32768, -1.0]
    assert_close(found[2:], load(file)[2:], atol=0.5 / 32768 + 1e-8, rtol=0)
    assert not torch.equal(found[2:], load(file)[2:])


@pytest.mark.parametrize("n_samples", [1, 700, 4799, 4800, 4801, 9600, 30_000])
@pytest.mark.parametrize("seed", [None, 0, 7, 2**63 - 1])
def test_clips_are_those_of_load_clip(here, n_samples, seed):
    files = [str(write_audio(here / f"{i}.wav", spoof=True, seed=i, seconds=0.3)) for i in range(2)]
    kept = pcm(here / "x.pcm", files, 16000, lambda: map(load, files))
    rng = None if seed is None else np.random.default_rng(seed)
    found = kept.clip(files[1], n_samples, seed)
    assert torch.equal(found, load_clip(files[1], n_samples=n_samples, rng=rng))
    assert found.dtype == torch.float32 and kept.clip("b.wav", n_samples, seed) is None


def test_at_another_rate_decoded_samples_are_resampled(here):
    file = str(write_audio(here / "a.wav", spoof=True, seed=1))
    kept = pcm(here / "x.pcm", [file], 16000, lambda: [load(file)])
    u = [Utterance(id="a", path=file, label=1)]
    with_it, without = (Clips(u, n_samples=3000, sample_rate=8000, pcm=p)[0, 5]["waveform"] for p in ([kept], []))
    assert_close(with_it, without, atol=1e-6, rtol=0)


def test_splices_are_made_of_the_same_samples(here):
    files = [str(write_audio(here / f"{i}.wav", spoof=i % 2 == 1, seed=i)) for i in range(4)]
    kept = pcm(here / "x.pcm", files, 16000, lambda: map(load, files))
    utterances = [Utterance(id=path, path=path, label=1 - i % 2) for i, path in enumerate(files)]
    with_it, without = (Splices(utterances, n_samples=8000, sample_rate=16000, pcm=p, share=1.0) for p in ([kept], []))
    assert torch.equal(with_it[0, 3]["waveform"], without[0, 3]["waveform"])
    for path in files:
        os.truncate(path, 0)
    assert "error" in without[0, 3] and "error" not in with_it[0, 3]


def interrupted(waveform):
    yield waveform
    raise KeyboardInterrupt


def test_an_interrupted_one_leaves_nothing_and_a_killed_ones_rest_is_removed(here):
    files = [str(write_audio(here / f"{i}.wav", spoof=False, seed=i)) for i in range(2)]
    with pytest.raises(KeyboardInterrupt):
        pcm(here / "x.pcm", files, 16000, lambda: interrupted(load(files[0])))
    assert sorted(p.name for p in here.iterdir()) == ["0.wav", "1.wav", "x.lock"]
    (here / ".x.pcm.123.part").write_bytes(b"half")
    pcm(here / "x.pcm", files, 16000, lambda: map(load, files))
    assert sorted(p.name for p in here.iterdir()) == ["0.wav", "1.wav", "x.lock", "x.pcm"]


@pytest.mark.parametrize("n_bytes", [0, 5, 1000, -1])
def test_a_damaged_one_is_made_again(here, n_bytes):
    file = str(write_audio(here / "a.wav", spoof=False, seed=1))
    pcm(here / "x.pcm", [file], 16000, lambda: [load(file)])
    whole = (here / "x.pcm").read_bytes()
    (here / "x.pcm").write_bytes(whole[:n_bytes])
    pcm(here / "x.pcm", [file], 16000, lambda: [load(file)])
    assert (here / "x.pcm").read_bytes() == whole


def test_a_full_disk_is_one_sentence(here, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    file = str(write_audio(here / "a.wav", spoof=False, seed=1))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as raised:
        pcm(here / "x.pcm", [file], 16000, lambda: [load(file)])
    assert sentence(raised.value) == f"{here / 'x.pcm'}: No space left on device"
    assert sorted(p.name for p in here.iterdir()) == ["a.wav", "x.lock"]


def slow(folder, file):
    with (folder / "decoded").open("a") as log:
        log.write("once\n")
    time.sleep(0.5)
    return [torch.ones(100) / 2]


def build(folder, file):
    pcm(folder / "x.pcm", [file], 16000, lambda: slow(folder, file))


def test_of_two_builders_one_waits(here):
    file = str(write_audio(here / "a.wav", spoof=False, seed=1))
    builders = [multiprocessing.get_context("fork").Process(target=build, args=(here, file)) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert [builder.exitcode for builder in builders] == [0, 0]
    assert (here / "decoded").read_text() == "once\n"


def test_a_loader_process_is_sent_the_path_alone(here):
    file = str(write_audio(here / "a.wav", spoof=False, seed=1, seconds=3))
    kept = pcm(here / "x.pcm", [file], 16000, lambda: [load(file)])
    sent = pickle.dumps(kept)
    assert len(sent) < 1000
    assert (pickle.loads(sent).get(file)[0] == kept.get(file)[0]).all()
