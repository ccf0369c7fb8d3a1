"""The study of experiments/mini_la: what it runs, and what it makes of the runs."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest
from tiny import REPOSITORY, compose

from deepfake.metrics.comparison import mean_of_systems, paired
from deepfake.metrics.eer import eer
from deepfake.scores.table import Scores, write_scores

sys.path.insert(0, str(REPOSITORY / "experiments/mini_la"))
import study
import study_tables as tables


def scores(seed, better=0.0):
    """Forty bona fide utterances and ten of each attack; the unseen attacks are the harder ones."""
    rng = np.random.default_rng(seed)
    attacks = ["-"] * 40 + [a for a in tables.ATTACKS for _ in range(10)]
    means = np.array([0.0 if a == "-" else -3.0 if a in tables.SEEN else -1.0 - better for a in attacks])
    ids = [f"u{i}" for i in range(len(attacks))]
    return Scores(
        ids, np.array([a == "-" for a in attacks], dtype=np.int64), attacks, means + rng.normal(size=len(ids))
    )


def test_every_recipe_can_be_composed():
    for cell, (row, overrides) in study.cells().items():
        config = compose("experiment=mini_la", "dataset.root=/x", "run_dir=/x", *overrides)
        assert bool(config.augment) >= cell.endswith(", augmented"), cell
        assert config.train_seconds == 1.0
        if row.stage_1:
            game = compose(*row.stage_1, "dataset.root=/x", "run_dir=/x")
            assert game.model.channels == config.model.channels and game.features == config.features
    assert set(study.pairs()) | set(study.pairs().values()) <= set(study.cells())


def test_groups_are_judged_as_evaluate_does():
    runs = [scores(0), scores(1)]
    found = tables.judged(runs)
    labels, attacks = runs[0].labels, np.array(runs[0].attacks)
    for group, some in (("eval", tables.ATTACKS), ("unseen", tables.UNSEEN)):
        rows = (labels == 1) | np.isin(attacks, some)
        assert found.seeds[group] == pytest.approx([eer(run.scores[rows], labels[rows])[0] for run in runs])
        theirs = mean_of_systems([run.scores[rows] for run in runs], labels[rows])["eer"]
        assert tables.interval(found, group, 40) == pytest.approx(theirs)
    assert found.eer("seen") < found.eer("unseen")


def test_a_difference_is_the_paired_one_and_seeds_widen_it():
    runs = [scores(0), scores(1)]
    one, other = (tables.judged([run]) for run in runs)
    theirs = paired(runs[0].scores, runs[1].scores, runs[0].labels)["eer"]
    assert tables.difference(one, other, "eval") == pytest.approx((theirs.difference, theirs.low, theirs.high))
    assert tables.over_seeds(one, other, "eval") is None
    low, high = tables.over_seeds(tables.judged(runs), tables.judged([scores(2, 2.0), scores(3, 2.0)]), "unseen")
    assert low < 0.2 < high


def run_of(folder, of):
    """What a judged run leaves."""
    (folder / "reports").mkdir(parents=True)
    (folder / "detector.pt").touch()
    (folder / "reports/metrics.json").write_text(json.dumps({"eer": 0.02}))
    (folder / "seconds.txt").write_text("60.0\n30.0\n")
    path = tables.scores_of(folder)
    path.parent.mkdir(parents=True)
    write_scores(path, of)


def test_tables_of_what_is_finished(tmp_path):
    runner = study.Runner(tmp_path, tmp_path, jobs=1, seeds=[1])
    for seed in (1, 2):
        run_of(runner.folder("cnn linear", seed), scores(seed))
        run_of(runner.folder("cnn linear, augmented", seed), scores(seed, better=2.0))
    done = {cell: runner.done(cell) for cell in study.cells()}
    assert [run.name for run in done["cnn linear"]] == ["seed1", "seed2"]
    text = tables.write_tables(tmp_path, done, study.pairs())
    assert "| cnn linear | 2 | 2.0 | " in text and "| 1.5 |" in text and "| lcnn lfcc | not run | " in text
    with (tmp_path / "differences.csv").open() as file:
        rows = {row["attacks"]: row for row in csv.DictReader(file)}
    assert float(rows["unseen"]["high"]) < 0  # far better, and told so
    assert (tmp_path / "attacks.png").stat().st_size > 10_000
    assert "not run" in tables.write_tables(tmp_path, {cell: [] for cell in study.cells()}, study.pairs())


def test_finished_runs_are_passed_over_and_failures_named(tmp_path, monkeypatch):
    runner = study.Runner(tmp_path, tmp_path / "out", jobs=1, seeds=[1, 2])
    run_of(runner.folder("cnn linear", 1), scores(1))
    begun = runner.folder("lcnn lfcc", 1)
    begun.mkdir(parents=True)
    (begun / "config.yaml").touch()
    called = []

    def call(command, log):
        called.append(list(command))
        runner.failed.append("failed")

    monkeypatch.setattr(runner, "_call", call)
    runner.study(["cnn linear", "lcnn lfcc"])
    assert len(called) == len(runner.failed) == 3
    assert called[0][-1] == f"hydra.run.dir={runner.folder('cnn linear', 2)}" and "seed=2" in called[0]
    assert called[1] == ["train.py", f"resume={begun}"]
