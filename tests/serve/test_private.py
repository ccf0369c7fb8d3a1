"""The server's temporary folders: what a killed one left is deleted at the next start, and nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile

import pytest

from deepfake.serve.private import private_folder, sweep


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(socket, "gethostname", lambda: "pod-1.example")
    return tmp_path


def test_a_folder_tells_its_process_and_nobody_else_reads_it(folder):
    with private_folder() as private:
        assert private.name.startswith(f"deepfake-serve-pod_1_example-{os.getpid()}-")
        assert private.stat().st_mode & 0o777 == 0o700
    assert not list(folder.iterdir())


def test_only_what_ended_servers_of_this_machine_left_is_deleted(folder):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    other = subprocess.Popen(["sleep", "60"])
    dead, own = int(ended.stdout), os.getpid()
    try:
        names = {
            f"deepfake-serve-pod_1_example-{dead}-abcd_123": False,
            f"deepfake-serve-pod_1_example-{own}-abcd_123": False,  # of a container that was started again
            f"deepfake-serve-pod_1_example-{other.pid}-abcd_123": True,
            f"deepfake-serve-pod_2-{dead}-abcd_123": True,
            f"deepfake-{dead}": True,
            "deepfake-serve-pod_1_example-x-abcd": True,
        }
        for name in names:
            (folder / name / "recording").mkdir(parents=True)
        (folder / f"deepfake-serve-pod_1_example-{dead}-link").symlink_to(folder / f"deepfake-{dead}")
        sweep()
    finally:
        other.kill()
        other.wait()
    kept = {name for name, stays in names.items() if stays} | {f"deepfake-serve-pod_1_example-{dead}-link"}
    assert {path.name for path in folder.iterdir()} == kept
    assert (folder / f"deepfake-{dead}" / "recording").is_dir()
