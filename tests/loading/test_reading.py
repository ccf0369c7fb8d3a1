"""A loader process that is killed leaves the name of the file that it read."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest
from tiny import write_audio
from torch.utils.data import DataLoader

from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError
from deepfake.loading.item import Clips, collate
from deepfake.loading.reading import deaths_explained, end_where_memory_is_short, last_read, note
from deepfake.loading.sampler import SeededSampler

pytestmark = pytest.mark.usefixtures("undrawn")


class Deadly(Clips):
    """Clips whose third file kills the process that reads it."""

    def item(self, index, seed):
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().item(index, seed)


def test_the_file_is_named(tmp_path):
    files = [write_audio(tmp_path / f"größe {i}.wav", spoof=False, seed=i) for i in range(4)]
    clips = Deadly([Utterance(f.stem, str(f), 1) for f in files], n_samples=800, sample_rate=16000)
    sampler = SeededSampler(4, seed=None)
    with pytest.raises(InputError) as caught, deaths_explained():
        list(DataLoader(clips, batch_size=1, sampler=sampler, collate_fn=collate, num_workers=1))
    said = str(caught.value)
    assert said.startswith("a loader process was killed by signal: Killed while or after it read ")
    assert str(files[2]) in said and said.endswith("num_workers=0 does without them")


def test_each_process_has_its_own():
    def read(name, done):
        note(name)
        done.put(os.getpid())

    context = multiprocessing.get_context("fork")
    done = context.SimpleQueue()
    for name in ("a.wav", "b" * 5000):
        process = context.Process(target=read, args=(name, done))
        process.start()
        process.join()
        assert (last_read(pid := done.get()) or "?") in name
        assert last_read(pid + 256) is None


def test_other_errors_are_left_alone():
    with pytest.raises(RuntimeError, match="shape") as caught, deaths_explained():
        raise RuntimeError("shape")
    assert not isinstance(caught.value, InputError)


class Unsendable:
    """Fails as a tensor does for which /dev/shm has no room."""

    def __reduce__(self):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>")


def test_a_batch_that_cannot_be_sent_is_not_waited_for():
    worker = {"num_workers": 1, "worker_init_fn": end_where_memory_is_short}
    loader = DataLoader([1, 2], collate_fn=lambda _: Unsendable(), **worker)
    with pytest.raises(InputError, match=r"^/dev/shm is too small.*num_workers=0"), deaths_explained():
        list(loader)
