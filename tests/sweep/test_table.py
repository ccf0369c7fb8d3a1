"""The table over a sweep's trials."""

from __future__ import annotations

import csv
import json
import statistics
from itertools import pairwise

import pytest
from rich.console import Console

from deepfake.errors import InputError
from deepfake.sweep.table import UNFINISHED, best_trial, close, table, write_results
from deepfake.sweep.trial import Trial


@pytest.fixture
def trial(tmp_path):
    def write(number, value=None, *, overrides=(), metrics=None, **keys):
        keys = {"metric": "dev/eer", "mode": "min", "state": "finished" if value is not None else "failed", **keys}
        made = Trial(number, ["x=1", *overrides], value=value, folder=tmp_path / f"s/{number}", **keys)
        made.write()
        if metrics:
            (made.folder / "reports").mkdir()
            (made.folder / "reports" / "metrics.json").write_text(json.dumps(metrics))
        return made

    return write


def read(folder):
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_trial_is_a_row(trial, tmp_path):
    trial(10, 0.125, overrides=["seed=1"], metrics={"eer": 0.125, "auc": 0.9, "cllr": None}, seconds=61.25)
    trial(2, overrides=["model=a,b|c"], error="got | this")
    trial(3, 0.25, state="pruned", overrides=["seed=2"], metrics={"eer": 0.25, "auc": 0.7})
    trial(4, state="running")
    trials, best = write_results(tmp_path / "s")
    rows = read(tmp_path / "s")
    assert [row["trial"] for row in rows] == ["2", "3", "4", "10"] and [t.number for t in trials] == [2, 3, 4, 10]
    assert [row["state"] for row in rows] == ["failed", "pruned", "failed", "finished"]
    assert rows[3]["overrides"] == "x=1 seed=1" and rows[3]["folder"] == "10" and rows[3]["seconds"] == "61.2"
    assert (rows[3]["dev/eer"], rows[3]["eer"], rows[3]["auc"]) == ("0.125", "0.125", "0.9") and "cllr" not in rows[3]
    assert rows[0]["error"] == "got | this" and rows[2]["error"] == UNFINISHED
    page = (tmp_path / "s" / "results.md").read_text()
    assert "Sweep of 4 trials: 1 finished, 1 pruned, 2 failed" in page and "All with `x=1`." in page
    assert "| model=a,b&#124;c |" in page and "Best: trial 10 in `10`, dev/eer 0.1250 (min)." in page
    lines = [line for line in page.partition("Over seeds:")[0].splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1 and len(lines) == 6
    assert best is not None and best.number == 10


@pytest.mark.parametrize(("mode", "best"), [("min", 1), ("max", 3)])
def test_the_best_is_finite_done_and_the_first_of_equals(trial, mode, best):
    trials = [trial(0), trial(1, 0.25, mode=mode), trial(2, 0.25, mode=mode), trial(3, 0.75, mode=mode, state="pruned")]
    trials += [trial(4, mode=mode, state="finished"), trial(5, 0.75, mode=mode)]
    found = best_trial(trials)
    assert found is not None and found.number == best


def test_nothing_is_best_of_nothing_or_of_what_cannot_be_compared(trial, tmp_path, capsys):
    assert best_trial([trial(0)]) is None
    trial(1, 0.5)
    trial(2, 0.5, metric="dev/auc", mode="max")
    close(tmp_path / "s")
    done = capsys.readouterr()
    assert done.out == "" and "different metrics" in done.err


def test_trials_that_differ_in_the_seed_alone_are_summed_up(trial, tmp_path):
    values = {"a": [0.125, 0.25, 0.5], "b": [0.75, 0.5]}
    settings = [(model, seed, value) for model, row in values.items() for seed, value in enumerate(row)]
    for number, (model, seed, value) in enumerate(settings):
        trial(number, value, overrides=[f"model={model}", f"seed={seed}"], state="pruned" if seed else "finished")
    trial(9, overrides=["model=a", "seed=9"])
    write_results(tmp_path / "s")
    page = (tmp_path / "s" / "results.md").read_text()
    for model, row in values.items():
        mean, deviation = statistics.mean(row), statistics.stdev(row)
        assert f"| model={model} | dev/eer | {len(row)} | {len(row) - 1} | {mean:.4f} | {deviation:.4f} |" in page


def test_the_terminal_shows_what_differs(trial, tmp_path):
    trials = [trial(0, 0.5, overrides=["model=[a]"]), trial(1, 0.25, overrides=["model=b"])]
    console = Console(record=True, width=160)
    console.print(table(tmp_path / "s", trials))
    text = console.export_text()
    assert "model=[a]" in text and "x=1" not in text and "error" not in text
    assert all(a < b for a, b in pairwise(map(text.index, ("trial", "state", "dev/eer", "seconds"))))


def test_a_spoilt_record_is_told(trial, tmp_path):
    (trial(0, 0.5).folder / "trial.json").write_text("{")
    with pytest.raises(InputError, match=r"0/trial.json is not the record of a trial"):
        write_results(tmp_path / "s")
