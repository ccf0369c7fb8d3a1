"""Imports of a training, an evaluation and an explanation, for the process that `children` forks from."""

import gc
from importlib import import_module

from hydra.core.plugins import Plugins

for name in ("run", "training.train", "training.detection", "commands.evaluate_runs", "commands.explain", "cli"):
    import_module(f"deepfake.{name}")
import_module("tensorboard.summary.writer.event_file_writer")
Plugins.instance()  # hydra looks for them
gc.freeze()
