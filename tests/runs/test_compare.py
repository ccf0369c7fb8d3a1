from __future__ import annotations

from pathlib import Path

import pytest

from deepfake.errors import InputError
from deepfake.runs.compare import differences, flat, table

A, B, C = (Path(name) for name in "abc")


def test_nested_settings_become_dotted_keys():
    assert flat({"a": {"b": 1, "c": [1, 2]}, "d": None}) == {"a.b": 1, "a.c": "[1, 2]", "d": "None"}


def test_only_what_differs_is_named():
    runs = {A: {"seed": 1, "lr": 0.1}, B: {"seed": 2, "lr": 0.1}}
    assert differences(runs) == {A: ["seed=1"], B: ["seed=2"]}


def test_settings_of_another_model_are_not_compared():
    runs = {
        A: {"model._target_": "cnn", "model.width": 1},
        B: {"model._target_": "cnn", "model.width": 2},
        C: {"model._target_": "aasist", "model.nodes": 3},
    }
    assert differences(runs) == {
        A: ["model=cnn", "model.width=1"],
        B: ["model=cnn", "model.width=2"],
        C: ["model=aasist"],
    }


def test_folders_that_are_no_runs_or_reports_are_refused(tmp_path, run_folder):
    with pytest.raises(InputError, match="no run folders"):
        table(tmp_path)
    (tmp_path / "r" / "reports").mkdir(parents=True)
    (tmp_path / "r" / "config.yaml").write_bytes((run_folder / "config.yaml").read_bytes())
    (tmp_path / "r" / "reports" / "metrics.json").write_text("{")
    with pytest.raises(InputError, match=r"metrics\.json"):
        table(tmp_path)
