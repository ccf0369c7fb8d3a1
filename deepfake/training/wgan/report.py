"""Report of an adversarial training: history, curves, metrics, and the two networks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml
from matplotlib.figure import Figure

from deepfake.atomic import write_atomically, write_csv
from deepfake.errors import InputError
from deepfake.figures.html import saved
from deepfake.figures.style import STYLES, dress, figure_of
from deepfake.training.callbacks import board_of
from deepfake.training.setup import Setup
from deepfake.training.wgan.checkpoints import write_networks

FIGURES = ("critic_loss", "generator_loss", "wasserstein", "gradient_norm", "penalty")


def finish_wgan(setup: Setup, task: Any) -> dict[str, Any]:
    """Write the values of each epoch as a table and as curves, the metrics, and both networks.

    Args:
        setup: The setup after training, on rank 0.
        task: The trained `WGANGP`.

    Returns:
        The metrics: the values of the last epoch, with the estimate of the Wasserstein distance as `objective`.
    """
    report, history = setup.folder.report, task.history
    if not history:
        raise InputError("trainer.max_epochs=0: one epoch was expected, since the report is of the last one")
    columns = ("epoch", *FIGURES)
    rows = [[epoch.get(column) for column in columns] for epoch in history]
    write_csv(report.path / "history.csv", [columns, *rows], "\n")
    figure = curves(history)
    write_atomically(report.figures / "losses.png", saved(figure, "png"))
    last = history[-1]
    metrics = {"objective": last["wasserstein"], "epochs": len(history), "real_class": task.real_class}
    metrics |= {"n_real": len(setup.datamodule.train), **{k: last[k] for k in FIGURES if k in last}}
    write_atomically(report.metrics, json.dumps(metrics, indent=2) + "\n")
    if (board := board_of(setup.trainer)) is not None:
        board.add_figure("game/losses", figure)
        board.add_text("config", f"```yaml\n{yaml.safe_dump(dict(setup.config), sort_keys=False)}```")
    for logger in setup.trainer.loggers:
        logger.finalize("success")
    write_networks(setup.folder.path, task)  # last: with them the run counts as finished
    return metrics


def curves(history: Sequence[dict[str, float]]) -> Figure:
    """Losses, Wasserstein estimate, gradient norm (which should be 1) and penalty by epoch."""
    figure = figure_of(12, 3.6)
    for axes, names, title in zip(
        figure.subplots(1, 3),
        (("critic_loss", "generator_loss"), ("wasserstein",), ("gradient_norm", "penalty")),
        ("Losses", "Estimate of the Wasserstein distance", "Gradient between real and generated"),
        strict=True,
    ):
        for name, (colour, line, mark) in zip(names, STYLES, strict=False):
            rows = [row for row in history if name in row]
            style = {"color": colour, "linestyle": line, "marker": mark, "markersize": 3}
            axes.plot([r["epoch"] + 1 for r in rows], [r[name] for r in rows], label=name.replace("_", " "), **style)
        dress(axes, title, "epoch", "")
        if len(names) > 1:
            axes.legend(frameon=False)
    return figure
