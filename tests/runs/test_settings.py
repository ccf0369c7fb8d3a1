"""A setting out of range is one sentence, before anything is read or written."""

from __future__ import annotations

import pytest
from tiny import compose, tiny_run

from deepfake import run
from deepfake.errors import InputError, sentence
from deepfake.runs.settings import GROUPS, check_settings

pytestmark = pytest.mark.usefixtures("undrawn")

SEED = "a whole number from 0 to 4294967295 was expected"
COUNT = "a whole number above zero was expected"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=null", f"seed=null: {SEED}"),
        ("seed=-1", f"seed=-1: {SEED}"),
        ("seed=4294967296", f"seed=4294967296: {SEED}"),
        ("seed=1.5", f"seed=1.5: {SEED}"),
        ("seed=true", f"seed=True: {SEED}"),
        ("seed=abc", f"seed=abc: {SEED}"),
        ("num_workers=-1", "num_workers=-1: a whole number from 0 was expected"),
        ("num_workers=abc", "num_workers=abc: a whole number from 0 was expected"),
        ("batch_size=0", f"batch_size=0: {COUNT}"),
        ("batch_size=1.5", f"batch_size=1.5: {COUNT}"),
        ("score_batch_size=abc", f"score_batch_size=abc: {COUNT}"),
        ("sample_rate=0", f"sample_rate=0: {COUNT}"),
        ("seconds=0", "seconds=0: something above zero was expected"),
        ("seconds=nan", "seconds=nan: something above zero"),
        ("seconds=inf", "seconds=inf: something above zero"),
        ("train_seconds=null", "train_seconds=null: something above zero"),
        ("trainer.max_epochs=abc", "trainer.max_epochs=abc: a whole number was expected"),
        ("trainer.max_epochs=-1", "trainer.max_epochs=-1: a whole number was expected"),
        ("trainer.precision=bf16-true", "trainer.precision=bf16-true: 32-true, bf16-mixed or 16-mixed was expected"),
        ("+trainer.overfit_batches=1", "trainer.overfit_batches=1: 0 was expected"),
        ("+trainer.limit_val_batches=0", "trainer.limit_val_batches=0: something above zero was expected"),
        ("+trainer.limit_train_batches=0", "trainer.limit_train_batches=0: something above zero was expected"),
        ("~logger", "~logger: training needs this part of the config; logger=none switches logging off"),
        ("~callbacks", "~callbacks: training needs this part of the config"),
        ("~scheduler", "~scheduler: training needs this part of the config"),
    ],
)
def test_of_training(tiny_la, tmp_path, override, message):
    with pytest.raises(InputError) as caught:
        run.train(tiny_run(tiny_la, tmp_path / "run", override))
    assert str(caught.value).startswith(message)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("key", "value"), [("batch_size", 0), ("num_workers", -1)])
def test_of_an_evaluation(key, value):
    with pytest.raises(InputError, match=f"^{key}={value}: a whole number"):
        run.evaluate(compose("run=nowhere", f"{key}={value}", config="evaluate"))


def test_of_an_explanation():
    with pytest.raises(InputError, match=r"^batch_size=0: a whole number"):
        run.explain(compose("run=nowhere", "input=a.wav", "batch_size=0", config="explain"))


@pytest.mark.parametrize(
    "override", ["seed=0", "seed=4294967295", "num_workers=0", "+trainer.overfit_batches=0", "trainer.max_epochs=null"]
)
def test_the_ends_of_a_range_belong_to_it(override):
    check_settings(run._plain(compose(override, "run_dir=x", "choices={}")), GROUPS)


def test_an_epoch_without_dev_scores_is_explained(tiny_la, tmp_path):
    with pytest.raises(RuntimeError) as caught:
        run.train(tiny_run(tiny_la, tmp_path, "+trainer.max_steps=1"))
    assert "leave trainer.max_steps out" in (sentence(caught.value) or "")


@pytest.mark.parametrize("override", ["trainer.max_epochs=0", "+trainer.fast_dev_run=true"])
def test_a_detector_that_is_not_trained_is_said_to_be(tiny_la, tmp_path, caplog, override):
    run.train(tiny_run(tiny_la, tmp_path, override))
    (said,) = [r.message for r in caplog.records if "not trained" in r.message]
    assert said.startswith(override.removesuffix("=true"))
