"""What a report says of how it was made."""

from __future__ import annotations

import sys

import pytest
import torch

from deepfake.runs.environment import environment, environment_rows, write_environment


def test_the_command_is_printed_as_it_was_typed():
    command = ["evaluate.py", "run='/a b/c'", "dataset=folder", "seed=1"]
    said = environment_rows(environment(command, torch.device("cpu"), 1))
    assert said["command"] == "evaluate.py 'run=/a b/c' dataset=folder seed=1"
    assert "torch " in said["software"] and "deepfake " in said["software"]


@pytest.mark.parametrize(("resumed", "threads", "warned"), [(True, 7, True), (True, 3, False), (False, 7, False)])
def test_a_resumed_run_with_other_threads_is_warned_of(tmp_path, monkeypatch, caplog, resumed, threads, warned):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for n in (3, threads):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=n: n)
        facts = write_environment(tmp_path, ["train.py"], torch.device("cpu"), 1, resumed=resumed)
    assert (facts["threads"], facts["omp_num_threads"]) == (threads, "3") and facts["interop_threads"] >= 1
    said = [r.message for r in caplog.records if "threads" in r.message]
    assert len(said) == warned
    assert not warned or ("began with 3 threads and goes on with 7" in said[0] and "OMP_NUM_THREADS=3" in said[0])


def test_a_process_without_torch_has_none_of_its_threads(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    facts = environment(["evaluate.py"], "cpu", 1)
    assert facts["threads"] is facts["interop_threads"] is None and "torch" not in sys.modules
    assert facts["device"].startswith("cpu (") and facts["packages"]["torch"]
