"""What a trial leaves in its folder."""

from __future__ import annotations

import gc
import json
import math
import weakref

import pytest

from deepfake.errors import InputError
from deepfake.sweep.trial import Trial, attempt, read_trial

MONITOR = {"metric": "dev/auc", "mode": "max"}


def tried(folder, run, *, overrides=("seed=1",), monitor=MONITOR):
    def sentence(error):
        return str(error) if isinstance(error, InputError) else None

    return attempt(folder, run, number=3, overrides=overrides, monitor=monitor, sentence=sentence)


def test_the_record_is_read_back(tmp_path):
    trial = Trial(1, ["a=b c"], "dev/eer", "min", "finished", 0.25, 1.5, "", True, tmp_path)
    trial.write()
    assert read_trial(tmp_path) == trial


def test_while_it_runs_a_trial_is_running(tmp_path):
    def run(resume):
        record = json.loads((tmp_path / "trial.json").read_text())
        assert record["state"] == "running" and not resume
        return 0.75, True

    trial = tried(tmp_path, run)
    assert (trial.state, trial.value, trial.passed_over, trial.objective) == ("finished", 0.75, True, 0.75)
    assert read_trial(tmp_path) == trial


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_no_value_is_a_bad_value(tmp_path, mode, value):
    trial = tried(tmp_path, lambda resume: (value, False), monitor={"metric": "dev/eer", "mode": mode})
    assert trial.value is None and trial.state == "finished"
    assert math.isfinite(trial.objective) and (trial.objective > 1 if mode == "min" else trial.objective < 0)


def test_what_the_user_breaks_off_is_recorded_and_raised(tmp_path):
    def run(resume):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tried(tmp_path, run)
    assert read_trial(tmp_path).state == "failed"


def test_a_failed_trial_gives_its_memory_back(tmp_path):
    class Network:
        pass

    kept = []

    def run(resume):
        network = Network()
        network.itself = network  # as a trainer and its module hold each other
        kept.append(weakref.ref(network))
        raise RuntimeError("out of memory")

    gc.disable()
    try:
        assert tried(tmp_path, run).state == "failed" and kept[0]() is None
    finally:
        gc.enable()


def test_what_was_begun_goes_on_and_what_is_done_stays(tmp_path):
    tried(tmp_path, lambda resume: 1 / 0)
    seen = []
    (tmp_path / "config.yaml").touch()
    for _ in range(2):
        trial = tried(tmp_path, lambda resume: (seen.append(resume) or 0.5, False))
        assert trial.state == "finished" and trial.value == 0.5
    assert seen == [True]


def test_another_sweeps_trial_is_not_overwritten(tmp_path):
    tried(tmp_path, lambda resume: (0.5, False))
    with pytest.raises(InputError, match=r"holds a trial of another sweep \(seed=1\)"):
        tried(tmp_path, lambda resume: (0.25, False), overrides=["seed=2"])
    assert read_trial(tmp_path).value == 0.5
