"""A checkpoint is whole or refused, and a run folder has one training at a time."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile

import pytest
import torch
from children import python
from interrupted import train_until, train_without_report
from tiny import compose, tiny_run

from deepfake import run
from deepfake.errors import InputError
from deepfake.runs.folder import RunFolder
from deepfake.training.checkpoints import CheckpointIO, read_checkpoint

pytestmark = pytest.mark.usefixtures("undrawn")

CONTENT = {key: {} for key in ("callbacks", "config", "epoch", "loops", "lr_schedulers", "optimizer_states")}
CONTENT["state_dict"] = {"weight": torch.arange(1000.0)}


class Opens:
    def __reduce__(self):
        return open, ("/tmp/never", "w")


def cut(file):
    file.write_bytes(file.read_bytes()[:-300])


def flip(file):
    """One bit of the weights."""
    content = bytearray(file.read_bytes())
    at = content.index(torch.arange(1000.0).numpy().tobytes()) + 2001
    content[at] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "not a zip file"),
        (flip, "the checksum of .* does not fit"),
        (lambda file: file.write_bytes(b""), "not a zip file"),
        (lambda file: torch.save({**CONTENT, "epoch": Opens()}, file), "Weights only load failed"),
        (lambda file: torch.save([1], file), "it lacks callbacks, config"),
        (lambda file: torch.save({k: v for k, v in CONTENT.items() if k != "loops"}, file), "it lacks loops"),
        (lambda file: zipfile.ZipFile(file, "w").writestr("a", "b"), r"\("),
    ],
)
def test_what_is_no_whole_checkpoint_is_refused_with_what_to_do(tmp_path, damage, reason):
    file = tmp_path / "last.ckpt"
    CheckpointIO().save_checkpoint(CONTENT, str(file))
    assert torch.equal(read_checkpoint(file)["state_dict"]["weight"], torch.arange(1000.0))
    damage(file)
    with pytest.raises(InputError, match=rf"{re.escape(str(file))} is not a whole checkpoint .*{reason}.* best.ckpt"):
        read_checkpoint(file)


@pytest.fixture
def stopped(tiny_la, tmp_path):
    """The folder of a run that was interrupted behind its first epoch."""
    train_until(tiny_run(tiny_la, tmp_path / "run", "trainer.max_epochs=2"), epoch=1)
    return RunFolder(tmp_path / "run")


def test_checkpoints_need_no_folder_for_temporary_files(stopped, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    before = stopped.last_checkpoint.stat().st_ino
    train_without_report(compose(f"resume={stopped.path}"))
    assert stopped.last_checkpoint.stat().st_ino != before  # another file took its name
    assert sorted(path.name for path in stopped.last_checkpoint.parent.iterdir()) == [
        "best.ckpt",
        "last.ckpt",
        "logged.json",
    ]


def test_a_damaged_checkpoint_says_how_to_go_on_and_that_works(stopped):
    cut(stopped.last_checkpoint)
    with pytest.raises(InputError, match=r"/last.ckpt is not a whole checkpoint .*: copy best.ckpt over it"):
        run.train(compose(f"resume={stopped.path}"))
    shutil.copy(stopped.best_checkpoint, stopped.last_checkpoint)
    train_without_report(compose(f"resume={stopped.path}"))
    assert stopped.done


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("state_dict", {"a": torch.zeros(1)}),
        ("optimizer_states", [{"state": 3, "param_groups": []}]),
        ("lr_schedulers", [None]),
        ("loops", {"fit_loop": 7}),
        ("callbacks", {"EarlyStopping": 1}),
        ("pytorch-lightning_version", "x"),
        ("config", []),
    ],
)
def test_a_checkpoint_that_does_not_fit_its_run_is_named(stopped, part, value):
    content = torch.load(stopped.last_checkpoint, weights_only=True)
    if part == "callbacks":
        value = {key: 1 for key in content["callbacks"]}
    torch.save({**content, part: value}, stopped.last_checkpoint)
    with pytest.raises(InputError, match=r"/last.ckpt does not fit its run .*: copy best.ckpt over it"):
        run.train(compose(f"resume={stopped.path}"))


def test_a_folder_has_one_training_at_a_time(stopped):
    hold = "import sys, time; from pathlib import Path; from deepfake.runs.lock import locked"
    hold += "\nwith locked(Path(sys.argv[1]), ''): print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", hold, str(stopped.lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        before = stopped.config.read_bytes()
        try:
            for overrides in ([f"resume={stopped.path}"], [f"run_dir={stopped.path}", "dataset.root=/nowhere"]):
                with pytest.raises(InputError, match=f"in use by process {other.pid} on .*: wait until it has ended"):
                    stopped.last_checkpoint.unlink(missing_ok=True)
                    run.train(compose(*overrides))
        finally:
            other.kill()
        assert stopped.config.read_bytes() == before


@pytest.mark.parametrize("at", ["deepfake.training.finish.write_report", "deepfake.training.train.fit_normalisation"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ended_from_outside_it_says_how_to_go_on(tiny_la, tmp_path, monkeypatch, at, number):
    before = signal.signal(number, signal.default_int_handler)
    monkeypatch.setattr(at, lambda *_, **__: os.kill(os.getpid(), number))
    try:
        with pytest.raises(InputError, match=rf"interrupted: `python train.py resume={tmp_path}` goes on"):
            run.train(tiny_run(tiny_la, tmp_path, "trainer.max_epochs=1"))
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(
    "start",
    [
        "run.script('train', lambda: run.launch(end, None))",
        "cli._runs = end; sys.exit(cli.main(['runs']))",
    ],
)
def test_sigterm_ends_every_command_in_a_sentence(start):
    code = "import os, signal, sys; from deepfake import cli, run\n"
    code += "def end(_): os.kill(os.getpid(), signal.SIGTERM)\n"
    done = python("-c", code + start)
    assert (done.returncode, done.stderr) == (1, "error: interrupted\n")
