"""What all tests share."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from drawing import blank_figures
from hypothesis import settings
from tiny import REPOSITORY, tiny_run, write_la

from deepfake import run
from deepfake.datasets import protocol

# The examples of a property test are the same in every run, but for those with --hypothesis-profile=random.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("same")

if "PYTEST_XDIST_WORKER" in os.environ:  # a process per core is enough
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def no_corpus_was_warned_of() -> None:
    """What is logged once in a process is logged once in a test."""
    protocol._incomplete.clear()


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """What commands do to logs in their own process, while here they share one with other tests.

    They make the package's log talkative, and attach handlers whose streams are closed after the test, or after the
    first one that asks for a fixture of the session.
    """
    logger = logging.getLogger("deepfake")
    level, propagates = logger.level, logger.propagate
    for one in (logging.getLogger(), logger):
        one.handlers[:] = [handler for handler in one.handlers if type(handler) is not logging.StreamHandler]
    yield
    logger.setLevel(level)
    logger.propagate = propagates


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """For the module, see `blank_figures`; a test that looks at figures is in another one."""
    with blank_figures():
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `shared` beside the checkout, with real speech and reference values."""
    path = REPOSITORY.parent / "shared"
    if not (path / "reference").is_dir():
        pytest.skip(f"needs the folder {path} with real speech and reference values, which is not here")
    return path


@pytest.fixture(scope="session")
def tiny_la(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `write_la`."""
    return write_la(tmp_path_factory.mktemp("LA"))


@pytest.fixture(scope="session")
def run_folder(tiny_la: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: the small CNN on the tiny corpus."""
    folder = tmp_path_factory.mktemp("run")
    run.train(tiny_run(tiny_la, folder))
    return folder
