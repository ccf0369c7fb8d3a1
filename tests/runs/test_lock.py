import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from deepfake.errors import InputError
from deepfake.runs.lock import locked

HOLD = """
import os, sys, time
from pathlib import Path
from deepfake.runs.lock import locked
with locked(Path(sys.argv[1]), "wait"):
    if os.fork():  # as for a loader process
        print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock, and has forked."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run" / ".lock")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "held\n"
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_who_holds_it_is_named(holder, tmp_path):
    message = rf"/run is in use by process {holder.pid} on {re.escape(socket.gethostname())}: wait for it$"
    with pytest.raises(InputError, match=message), locked(tmp_path / "run" / ".lock", "wait for it"):
        pass


def test_it_falls_with_its_process_whatever_that_has_forked(holder, tmp_path):
    holder.kill()
    holder.wait()
    with locked(tmp_path / "run" / ".lock", "wait"):
        assert (tmp_path / "run" / ".lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}"


def test_it_is_free_again_behind_the_block(tmp_path):
    for _ in range(2):
        with locked(tmp_path / ".lock", "wait"):
            pass
