"""A run that is served, in this process and in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("fastapi", reason='needs pip install "deepfake[serve]"')

from small_detectors import small
from starlette.testclient import TestClient
from tiny import REPOSITORY, write_audio

from deepfake.serve.app import application
from deepfake.serve.service import Settings

KEY = "a key that only a test knows"


@pytest.fixture(scope="session")
def served_run(tmp_path_factory) -> Path:
    """A run folder that holds a small detector of clips of half a second, and nothing else."""
    folder = tmp_path_factory.mktemp("served")
    small("cnn", "mel").save(folder / "detector.pt")
    return folder


@pytest.fixture(scope="session")
def recordings(tmp_path_factory) -> list[Path]:
    """Six of several lengths and kinds."""
    folder = tmp_path_factory.mktemp("recordings")
    kinds = [("a.wav", 0.6, 16_000), ("b.flac", 2.3, 44_100), ("c.wav", 0.3, 8_000), ("d.ogg", 1.7, 16_000)]
    kinds += [("e.flac", 12.0, 16_000), ("f.wav", 1.0, 48_000)]
    return [
        write_audio(folder / name, spoof=i % 2 == 1, seed=i, seconds=seconds, rate=rate)
        for i, (name, seconds, rate) in enumerate(kinds)
    ]


@pytest.fixture(scope="session")
def client(served_run) -> Iterator[TestClient]:
    with TestClient(application(Settings(served_run, device="cpu")), raise_server_exceptions=False) as client:
        yield client


class Served(NamedTuple):
    """A server in a process of its own."""

    url: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.split("//")[1].split(":")
        return host, int(port)


@pytest.fixture
def serving(served_run, tmp_path) -> Callable[..., object]:
    """`with serving("--tls") as served:` runs `deepfake serve` with these arguments."""

    @contextmanager
    def serve(*arguments: str, run: Path = served_run) -> Iterator[Served]:
        log = tmp_path / "server.log"
        main = "import sys; from deepfake.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", main, "serve", "--run", str(run), "--port", "0", "--device", "cpu"]
        home = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "TMPDIR": str(tmp_path / "tmp"), "OMP_NUM_THREADS": "1"}
        (tmp_path / "tmp").mkdir(exist_ok=True)
        with log.open("w") as out:
            process = subprocess.Popen(
                [*command, *arguments], cwd=REPOSITORY, stderr=out, env={**os.environ, **home}, text=True
            )
        try:
            yield Served(_address(process, log), process, log)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()

    return serve


def _address(process: subprocess.Popen[str], log: Path) -> str:
    """Where a server answers, once it does."""
    for _ in range(600):
        text = log.read_text()
        if "Application startup complete" in text:
            return next(line for line in text.splitlines() if line.startswith("http"))
        assert process.poll() is None, text
        time.sleep(0.1)
    raise AssertionError(log.read_text())
