"""The median stopping rule against a plain one, and in training."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_run

from deepfake import run
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.sweep.pruning import Pruning, worse_than_median
from deepfake.sweep.trial import Trial, attempt

pytestmark = pytest.mark.usefixtures("undrawn")

VALUES = st.dictionaries(st.integers(0, 6), st.one_of(st.just(math.nan), st.integers(0, 8).map(lambda n: n / 8)))


def plain(own, others, epoch, mode, min_trials):
    """The same in numpy, with the larger value the better one."""
    sign = -1 if mode == "min" else 1

    def best(values):
        curve = np.full(7, -np.inf)
        for e, value in values.items():
            curve[e] = -np.inf if np.isnan(value) else sign * value
        return curve[: epoch + 1].max()

    reached = []
    for values, finished in others:
        n = max(values, default=-1) + 1
        if n and (finished or n > epoch):
            reached.append(best(values))
    if len(reached) < min_trials:
        return False
    reached.sort()
    middle = len(reached) // 2
    with np.errstate(invalid="ignore"):
        median = reached[middle] if len(reached) % 2 else (reached[middle - 1] + reached[middle]) / 2
    return bool(best(own) < median)


@given(VALUES, st.lists(st.tuples(VALUES, st.booleans()), max_size=6), st.integers(0, 6), st.integers(1, 4))
def test_the_rule_is_the_plain_one(own, others, epoch, min_trials):
    for mode in ("min", "max"):
        found = worse_than_median(own, others, epoch, mode=mode, min_trials=min_trials)
        assert found == plain(own, others, epoch, mode, min_trials)


def test_the_rule_on_figures_done_by_hand():
    others = [({0: 0.5, 1: 0.25, 2: 0.1}, True), ({0: 0.5, 1: 0.375}, False), ({0: 0.125}, False)]

    def judged(*own, epoch=1, **keys):
        return worse_than_median(dict(enumerate(own)), others, epoch, **{"mode": "min", "min_trials": 2, **keys})

    assert judged(0.5, 0.375) and not judged(0.5, 0.3125)  # the median of 0.25 and 0.375 is 0.3125: equal is not worse
    assert not judged(0.25, 0.5)  # the best so far counts, not the last
    assert not judged(0.5, 0.5, min_trials=3)  # the third never came so far
    assert judged(0.5, 0.25, 0.25, epoch=2, min_trials=1)  # one that finished stays in
    assert judged(math.nan, math.nan)
    assert judged(0.25, 0.25, mode="max") and not judged(0.25, 0.5, mode="max")


@pytest.mark.parametrize("keys", [{"warm_up_epochs": 0}, {"min_trials": 0}, {"mode": "best"}])
def test_a_setting_out_of_range_is_refused(keys):
    with pytest.raises(InputError, match=r"callbacks\.pruning"):
        Pruning("run", **{"monitor": "dev/eer", "mode": "min", **keys})


def beside(folder, number, values, state="finished"):
    trial = Trial(number, [], "dev/auc", "max", state=state, folder=folder / str(number))
    trial.write()
    (trial.folder / "dev_curve.json").write_text(json.dumps({"values": dict(enumerate(values))}))


class Trainer:
    sanity_checking = False
    is_global_zero = True
    should_stop = False

    def __init__(self, epoch, value):
        self.current_epoch = epoch
        self.callback_metrics = {"dev/auc": torch.tensor(value)}


def follow(folder, values, first=0, **keys):
    """The epoch after which a trial of these values stops, None where it does not."""
    callback = Pruning(str(folder), monitor="dev/auc", mode="max", **keys)
    for epoch, value in enumerate(values[first:], first):
        trainer = Trainer(epoch, value)
        callback.on_validation_end(trainer, None)
        assert trainer.should_stop == callback.pruned
        if callback.pruned:
            return epoch
    return None


def test_a_trial_is_compared_with_those_beside_it(tmp_path):
    for number, best in enumerate((0.5, 0.75, 1.0)):
        beside(tmp_path, number, [0.25, 0.25, best])
    Trial(3, [], "dev/auc", "max", folder=tmp_path / "3").write()
    assert follow(tmp_path / "3", [0.5] * 5, warm_up_epochs=1, min_trials=3) == 2
    assert json.loads((tmp_path / "3/dev_curve.json").read_text())["pruned"]
    assert follow(tmp_path / "3", [0.0] * 5, warm_up_epochs=2, min_trials=3) == 1
    assert follow(tmp_path / "3", [0.0] * 5, warm_up_epochs=5, min_trials=3) == 4
    assert follow(tmp_path / "3", [0.0] * 5, warm_up_epochs=1, min_trials=4) is None
    assert follow(tmp_path / "3", [0.75] * 5, warm_up_epochs=1, min_trials=3) is None


def test_a_resumed_trial_decides_as_one_that_ran_through(tmp_path):
    for number in range(3):
        beside(tmp_path, number, [0.25, 0.5, 0.75, 0.75])
    values = [0.5, 0.25, 0.25, 0.25]
    Trial(3, [], "dev/auc", "max", folder=tmp_path / "3").write()
    assert follow(tmp_path / "3", values, min_trials=3) == 2
    whole = (tmp_path / "3/dev_curve.json").read_text()
    assert follow(tmp_path / "3", values, first=1, min_trials=3) == 2  # its last two epochs again
    assert (tmp_path / "3/dev_curve.json").read_text() == whole


def test_outside_a_sweep_nothing_is_pruned_or_written(tmp_path):
    for number in range(5):
        beside(tmp_path, number, [1.0] * 4)
    (tmp_path / "run").mkdir()
    assert follow(tmp_path / "run", [0.0] * 4) is None and not list((tmp_path / "run").iterdir())


def test_a_pruned_trial_ends_with_its_detector(tiny_la, tmp_path):
    for number in range(2):
        beside(tmp_path, number, [1.01] * 3)
    overrides = ["sweep=grid", "monitor=auc", "callbacks.pruning.min_trials=2", "callbacks.pruning.warm_up_epochs=1"]
    config = tiny_run(tiny_la, tmp_path / "2", *overrides, "trainer.max_epochs=3")

    def go(resume):
        return run.train(config), False

    trial = attempt(tmp_path / "2", go, number=2, overrides=[], monitor=config.monitor, sentence=lambda error: None)
    assert trial.state == "pruned", trial.error
    assert list(json.loads((tmp_path / "2/dev_curve.json").read_text())["values"]) == ["0"]
    metrics = json.loads((tmp_path / "2/reports/metrics.json").read_text())
    assert trial.value == metrics["auc"] and Detector.load(tmp_path / "2").threshold == metrics["threshold"]
    # stopped between its last epoch and its end, it stays stopped
    (tmp_path / "2" / "detector.pt").unlink()
    config.resume = str(tmp_path / "2")
    run.train(config)
    assert list(json.loads((tmp_path / "2/dev_curve.json").read_text())["values"]) == ["0"]
