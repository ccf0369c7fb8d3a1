from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tiny import REPOSITORY

FAULTS = """
import resource, sys, torch
from deepfake.allocator import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    print(-1); sys.exit()
torch.set_num_threads(1)
network = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.Conv2d(16, 16, 3, padding=1))
picture = torch.randn(1, 1, 256, 4096)  # maps of 67 MB
with torch.inference_mode():
    for i in range(12):
        if i == 4:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        network(picture)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_freed_memory_is_used_again_without_page_faults():
    faults = {}
    for setting in ("default", "kept"):
        command = [sys.executable, "-c", FAULTS, setting]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        faults[setting] = int(done.stdout)
    if faults["kept"] == -1:
        pytest.skip("the C library is not glibc")
    assert faults["kept"] < faults["default"] / 5


@pytest.mark.parametrize(
    "given, spins",
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
    ids=["by default", "own count", "own policy"],
)
def test_idle_threads_spin_for_a_short_time_unless_told_otherwise(given, spins):
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", "import deepfake, os; print(os.environ.get('GOMP_SPINCOUNT'))"]
    shown = subprocess.run(command, env=clean | given, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == str(spins)
