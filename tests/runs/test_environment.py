"""What a report says of how it was made."""

from __future__ import annotations

import torch

from deepfake.runs.environment import environment, environment_rows


def test_the_command_is_printed_as_it_was_typed():
    command = ["evaluate.py", "run='/a b/c'", "dataset=folder", "seed=1"]
    said = environment_rows(environment(command, torch.device("cpu"), 1))
    assert said["command"] == "evaluate.py 'run=/a b/c' dataset=folder seed=1"
    assert "torch " in said["software"] and "deepfake " in said["software"]
