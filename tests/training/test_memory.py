"""The batch size that fits into free memory, with measured steps replaced by given ones, and the measurement itself."""

from __future__ import annotations

import logging
import math
import os
import signal
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import read_write
from small_detectors import sizes
from tiny import REPOSITORY, tiny_run, write_lines

from deepfake import run
from deepfake.datasets.corpus import Corpus
from deepfake.errors import InputError
from deepfake.training import memory
from deepfake.training.memory import fit_batch, free_bytes

pytestmark = pytest.mark.usefixtures("undrawn")

GIB = 2.0**30


def setup_of(**more):
    """A setup on a CPU with batches of 16 clips of 4 s."""
    config = {"batch_size": 16, "train_seconds": 4.0, "sample_rate": 16000, "resume": None, "batch_seconds": None}
    config |= {"trainer": {"accumulate_grad_batches": 1}} | {k: v for k, v in more.items() if k in config}
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        num_devices=more.get("num_devices", 1),
        precision_plugin=SimpleNamespace(forward_context=nullcontext),
    )
    data = SimpleNamespace(batch_size=config["batch_size"])
    return SimpleNamespace(config=config, trainer=trainer, datamodule=data, auto_batch=more.get("auto", False))


def given(monkeypatch, *, free, steps):
    """Replace free bytes and the bytes of measured steps; the sizes that are measured are listed."""
    asked = []
    monkeypatch.setattr(memory, "free_bytes", lambda: free)
    monkeypatch.setattr(memory, "_taken", lambda task, setup, n, n_samples: asked.append(n) or steps[n])
    return asked


TASK = SimpleNamespace(can_be_tried=True, detector=torch.nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("free", "expected", "asked"),
    [
        (10.0, 16, [2]),  # eight times the step of 2 clips, and a quarter more
        (9.9, 16, [2, 8]),  # 9.9 / 1.25 - 1 = 6.92 GiB are left for further clips of 0.25 GiB: 27 of them
        (5.0, 14, [2, 8]),  # 3 GiB: 12 of them
        (1.25, 2, [2, 4]),
    ],
)
def test_the_batch_that_fits_is_in_the_config(monkeypatch, caplog, free, expected, asked):
    found = given(monkeypatch, free=free * GIB, steps={2: GIB, 4: 1.5 * GIB, 8: 2.5 * GIB})
    setup = setup_of(auto=True)
    with caplog.at_level(logging.INFO):
        fit_batch(TASK, setup)
    assert setup.config["batch_size"] == setup.datamodule.batch_size == expected
    assert found == asked
    assert len(caplog.messages) == 1 and f"batch_size=auto: {expected}" in caplog.text
    if expected == 16:  # a bound, where the steps of 2 clips sufficed
        words = "at most 8.0" if asked == [2] else "about 4.5"
        assert f"as in the recipe; a training step of 16 clips takes {words} GiB" in caplog.text
    if expected == 14:
        assert "14 instead of the recipe's 16, since a training step of 16 clips takes about 4.5 GiB" in caplog.text
        assert "5.0 GiB are free; optimizer.lr" in caplog.text and "accumulate_grad_batches=2 would" in caplog.text


def test_processes_of_one_machine_share_it(monkeypatch):
    given(monkeypatch, free=10 * GIB, steps={2: GIB, 8: 4 * GIB})
    monkeypatch.setattr("resource.getpagesize", lambda: 0)  # this process has nothing, and so has the other
    setup = setup_of(auto=True, num_devices=2)
    fit_batch(TASK, setup)
    assert setup.config["batch_size"] == 8  # 2 * (5 / 1.25 - 1) + 2


def test_no_room_for_two_clips_is_an_error(monkeypatch):
    for step in (GIB, math.inf):
        given(monkeypatch, free=1.2 * GIB, steps={2: step, 4: math.inf})
        with pytest.raises(
            InputError, match=r"^batch_size=auto: room for 2 clips was expected, but .*1\.2 GiB are free"
        ):
            fit_batch(TASK, setup_of(auto=True))


def test_a_number_that_would_be_killed_is_refused_and_one_that_might_be_is_warned_of(monkeypatch, caplog):
    given(monkeypatch, free=6.9 * GIB, steps={2: GIB, 8: 4.3 * GIB})  # 16 clips take 1 + 14 * 0.55 = 8.7 GiB
    message = r"^batch_size=16: at most 10 was expected, since a training step of 16 clips takes about 8\.7 GiB"
    with pytest.raises(InputError, match=message):
        fit_batch(TASK, setup_of())
    with pytest.raises(InputError, match=r"^batch_seconds=64: at most 40\.0 was expected"):
        fit_batch(TASK, setup_of(batch_seconds=64))
    assert caplog.messages == []
    for free, warnings in ((9, []), (7, ["the run may be killed for want of memory: a training step"])):
        given(monkeypatch, free=free * GIB, steps={2: GIB, 8: 4.3 * GIB})
        fit_batch(TASK, setup := setup_of())  # within the margin: it is the user's number
        assert setup.config["batch_size"] == 16
        assert [message[:57] for message in caplog.messages] == warnings


def test_small_batches_and_other_tasks_cost_nothing(monkeypatch):
    asked = given(monkeypatch, free=2.5 * GIB, steps={})
    fit_batch(TASK, setup_of(train_seconds=0.2))
    fit_batch(SimpleNamespace(can_be_tried=False), setup_of())
    assert asked == []


def test_what_cannot_be_tried_asks_for_a_number():
    for task, setting in ((SimpleNamespace(can_be_tried=False), {}), (TASK, {"batch_seconds": 64})):
        with pytest.raises(InputError, match=r"^batch_size=auto with .*: a number was expected"):
            fit_batch(task, setup_of(auto=True, **setting))


def test_a_step_is_measured_in_a_process_of_its_own():
    def taken(step):
        return memory._taken(SimpleNamespace(trial_step=step), setup_of(), 2, 1000)

    def allocate(batch):
        assert batch["waveform"].shape == (2, 1000)
        torch.ones(100, 2**18)  # 100 MiB

    def fail(error):
        raise error

    assert taken(allocate) == pytest.approx(100 * 2**20, rel=0.1)
    assert taken(lambda _: os.kill(os.getpid(), signal.SIGKILL)) == math.inf
    assert taken(lambda _: fail(RuntimeError("DefaultCPUAllocator: can't allocate memory"))) == math.inf
    assert taken(lambda _: fail(InputError("no"))) is None


def test_a_run_has_its_number_in_config_and_checkpoint(tiny_la, tmp_path, monkeypatch):
    given(monkeypatch, free=2.5 * GIB, steps={2: GIB, 4: 1.5 * GIB})  # 2 + (2.5 / 1.25 - 1) / 0.25 = 6
    cfg = tiny_run(tiny_la, tmp_path / "run", "batch_size=auto", "trainer.max_epochs=1")
    run.train(cfg)
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["batch_size"] == 6
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2 and checkpoint["config"]["batch_size"] == 6


def test_a_step_is_tried_without_compilation(tiny_la, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: lambda *_: pytest.fail("the compiled network ran"))
    overrides = ["task.compile=true", "model=ssl_linear", *sizes("xlsr_300m"), "choices={}"]
    config = run._plain(tiny_run(tiny_la, tmp_path / "run", *overrides))
    task, _ = run._composed(config, Corpus.of(config["dataset"]))
    before = [p.detach().clone() for p in task.detector.model.parameters()]
    task.trial_step({"waveform": torch.randn(2, 8000), "label": torch.tensor([0, 1])})
    assert any(not torch.equal(p, q) for p, q in zip(task.detector.model.parameters(), before, strict=True))


def test_all_processes_take_the_number_of_the_first(tiny_la, tmp_path):
    config = run._plain(tiny_run(tiny_la, tmp_path / "run", "choices={}"))
    _, setup = run._composed(config, Corpus.of(config["dataset"]), auto_batch=True)
    setup.datamodule.prepare_data()
    strategy = SimpleNamespace(broadcast=lambda size: size - 1)
    setup.datamodule.trainer = SimpleNamespace(strategy=strategy, global_rank=1, world_size=2)
    setup.datamodule.setup()
    assert setup.datamodule.train_dataloader().batch_size == 3


@pytest.mark.parametrize(("overrides", "expected"), [([], 16), (["experiment=aasist_la"], 24)])
def test_the_recipe_has_the_number(overrides, expected):
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        cfg = hydra_compose("train", overrides=[*overrides, "batch_size=auto"], return_hydra_config=True)
        with read_write(cfg.hydra.job):
            cfg.hydra.job.config_name = "train"
        HydraConfig.instance().set_config(cfg)
        try:
            assert run._recipe_batch_size() == expected
        finally:
            HydraConfig.instance().cfg = None


def test_free_memory_is_that_of_the_smallest_control_group(tmp_path):
    write_lines(tmp_path / "proc/meminfo", "MemTotal:  9000 kB", "MemFree:  1 kB", "MemAvailable:    5000 kB")
    write_lines(tmp_path / "proc/self/cgroup", "7:cpu:/", "4:memory:/job/step", "0::/user")
    assert free_bytes(tmp_path) == 5_120_000
    for name, bound in (("job", "4000000"), ("job/step", "9223372036854771712")):
        group = tmp_path / "sys/fs/cgroup/memory" / name
        write_lines(group / "memory.limit_in_bytes", bound)
        write_lines(group / "memory.usage_in_bytes", "1500000")
        write_lines(group / "memory.stat", "cache 7", "total_inactive_file 500000")
    assert free_bytes(tmp_path) == 3_000_000
    for name, bound in (("", "2000000"), ("user", "max")):
        group = tmp_path / "sys/fs/cgroup" / name
        write_lines(group / "memory.max", bound)
        write_lines(group / "memory.current", "700000")
        write_lines(group / "memory.stat", "anon 7", "inactive_file 100000")
    assert free_bytes(tmp_path) == 1_400_000
