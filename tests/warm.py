"""Imports of a training, an evaluation and an explanation, for the process that `children` forks from."""

import gc

from hydra.core.plugins import Plugins

Plugins.instance()  # hydra looks for them
gc.freeze()
