"""Signals end a command wherever they come."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from tiny import REPOSITORY

DELETED = """
import os, sys, time
from deepfake.processes import SlurmStep, end_on_signals

class Deleted:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))
        sum(range(100_000))
        print("not reached")

end_on_signals()
SlurmStep("1", "0", 1, 0).requeue_on_signal()
try:
    Deleted()
    print("ignored", flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=str)
def test_a_signal_that_comes_while_an_object_is_deleted_is_not_lost(number):
    command = [sys.executable, "-c", DELETED, str(int(number))]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["ignored", "interrupted"] and done.stderr == ""
