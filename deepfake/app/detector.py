"""The detector that the page uses: loaded once for all visitors, who take turns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import streamlit as st
import torch

from deepfake.commandline import detector_file
from deepfake.commands.explain import Explainer, Settings
from deepfake.decoding.decoder import Decoder
from deepfake.explain.defaults import methods
from deepfake.runs import provenance
from deepfake.scores.compute import device_of

COMMAND = ["deepfake", "app"]
OWN = "set on the page"  # source of a threshold


@dataclass(frozen=True)
class Loaded:
    """A detector with all that is asked of it.

    Attributes:
        run: Its folder.
        explainer: With the default settings.
        sha256: Of its file.
        turn: Held while it computes: gradients and hooks are those of one recording at a time.
        decoder: Of the visitors' files, in processes of their own.
    """

    run: Path
    explainer: Explainer
    sha256: str
    turn: Lock
    decoder: Decoder

    def judging_at(self, threshold: float) -> Loaded:
        """The same with a visitor's own threshold of the score."""
        return replace(self, explainer=self.explainer.judging_at(threshold, OWN))

    @property
    def source(self) -> str | None:
        """Name of what it was calibrated on."""
        return provenance.calibration_set(self.run, self.explainer.detector)


def loaded(run: Path, minutes: float) -> Loaded:
    """The detector of a run, as its file is now.

    Args:
        run: Its folder or file.
        minutes: Longest recording that it is given.

    Raises:
        InputError: The run cannot be loaded.
    """
    return _loaded(run, minutes, detector_file(run).stat().st_mtime_ns)


@st.cache_resource(max_entries=2, show_spinner="Loading the detector …")
def _loaded(run: Path, minutes: float, changed: int) -> Loaded:
    """`changed` tells a file that was written anew from the one that was loaded."""
    explainer = Explainer(str(run), methods(), Settings(), device_of("auto"))
    explainer.answer_others(COMMAND)
    with torch.inference_mode():  # the first forward pass is slow
        explainer.detector(torch.zeros(1, explainer.detector.n_samples, device=explainer.detector.device))
    decoder = Decoder(sample_rate=explainer.detector.sample_rate, max_seconds=60 * minutes)
    decoder.prepare()
    return Loaded(run, explainer, provenance.hash_of_file(detector_file(run)), Lock(), decoder)
