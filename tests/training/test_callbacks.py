from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import tiny_run

from deepfake import run
from deepfake.training.callbacks import Bars, BestCheckpoint, Pictures, PlainProgress, add_feature, progress

pytestmark = pytest.mark.usefixtures("undrawn")


def test_bars_for_a_person_and_lines_for_a_log(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(progress(), Bars)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert isinstance(progress(), PlainProgress)


def test_bars_show_the_dev_eer_on_stderr(tiny_la, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "deepfake.training.callbacks.progress", lambda: Bars(console_kwargs={"stderr": True, "width": 200})
    )
    run.train(tiny_run(tiny_la, tmp_path))
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path)]
    assert "dev EER:" in err and "Epoch" in err


@pytest.mark.parametrize("every_seconds", [0.0, 1e9])
def test_a_long_epoch_says_where_it_is(tiny_la, tmp_path, monkeypatch, caplog, every_seconds):
    monkeypatch.setattr("deepfake.training.callbacks.progress", lambda: PlainProgress(every_seconds))
    with caplog.at_level("INFO"):
        run.train(tiny_run(tiny_la, tmp_path, "trainer.max_epochs=1"))
    assert ("epoch 1, step 2 of 3" in caplog.text) == (every_seconds == 0.0)
    assert "epoch 1 of 1, loss" in caplog.text and "dev EER" in caplog.text


def test_the_best_checkpoint_loads_all_that_it_saves(tmp_path):
    saved, loaded = (BestCheckpoint(tmp_path, monitor="dev/eer") for _ in range(2))
    saved.best_model_score = saved.current_score = torch.tensor(0.25)
    loaded.load_state_dict(saved.state_dict())
    assert loaded.state_dict() == saved.state_dict()


def test_a_feature_is_drawn_with_its_low_bands_at_the_bottom():
    images = []
    board = SimpleNamespace(add_image=lambda tag, picture, step: images.append((tag, picture, step)))
    add_feature(board, "x", torch.tensor([[0.0, 1.0], [2.0, 4.0]]), 3)
    ((tag, picture, step),) = images
    assert (tag, step) == ("x", 3) and picture.tolist() == [[[0.5, 1.0], [0.0, 0.25]]]


def test_histograms_of_dev_scores_are_named_by_their_class(monkeypatch):
    drawn = {}
    board = SimpleNamespace(add_histogram=lambda tag, values, step: drawn.update({tag: values.tolist()}))
    monkeypatch.setattr("deepfake.training.callbacks.board_of", lambda trainer: board)
    task = SimpleNamespace(dev_scores=(np.array([3.0, -1.0, 2.0]), np.array([1, 0, 1])))
    Pictures().on_validation_end(SimpleNamespace(global_step=1), task)  # type: ignore[arg-type]
    assert drawn == {"dev_scores/bonafide": [3.0, 2.0], "dev_scores/spoof": [-1.0]}
