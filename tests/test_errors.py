"""Errors of the system and of libraries that the user can mend are one sentence, those of the program none."""

from __future__ import annotations

import errno

import pytest

from deepfake.errors import InputError, sentence


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.EROFS, "Read-only file system", "/x/run"), "/x/run: Read-only file system"),
        (
            OSError(errno.EMFILE, "Too many open files", "a.wav"),
            "a.wav: Too many open files: raise the limit by `ulimit -n 4096`, or set num_workers=0",
        ),
        (
            AssertionError("Invalid device id"),
            "more processes than GPUs were started here: start one for each (`nvidia-smi -L` lists them), or set "
            "trainer.accelerator=cpu",
        ),
        (MemoryError(), "Cannot allocate memory: more memory is needed than `ulimit -v` or the machine allows"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
            "Cannot allocate memory: more memory is needed than `ulimit -v` or the machine allows",
        ),
        (
            ImportError("libtorch.so: failed to map segment from shared object"),
            "Cannot allocate memory: more memory is needed than `ulimit -v` or the machine allows",
        ),
        (
            RuntimeError("unable to write to file </torch_12_3>: No space left on device (28)"),
            "/dev/shm is too small for the loader processes; num_workers=0 does without them",
        ),
        (RuntimeError("can't start new thread"), "no thread can be started: raise the limit by `ulimit -u`"),
    ],
)
def test_a_limit_of_the_system_is_a_sentence(error, message):
    assert (sentence(error) or "").startswith(message)
    outer = RuntimeError("while it was at work")
    outer.__cause__ = error
    assert sentence(outer) == sentence(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("shape mismatch"), OSError("x"), TypeError("shared memory"), AssertionError("a bug")]
)
def test_a_fault_of_the_program_is_none(error):
    assert sentence(error) is None


def test_the_users_own_error_is_itself():
    assert sentence(InputError("x=1: y was expected")) == "x=1: y was expected"
