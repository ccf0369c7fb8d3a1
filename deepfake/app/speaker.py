"""Whose voice it is, of the speakers who are enrolled on this machine."""

from __future__ import annotations

import numpy as np
import streamlit as st

from deepfake.app import look
from deepfake.app.detector import Loaded
from deepfake.app.recording import Recording
from deepfake.app.results import decoded
from deepfake.commands.speakers import comparison
from deepfake.errors import InputError
from deepfake.forensics.assess import Assessment
from deepfake.speakers.check import CLONE, check
from deepfake.speakers.embedding import LONGEST_SECONDS, installed
from deepfake.speakers.profiles import Profiles


def available() -> bool:
    """Whether speakers can be compared: Resemblyzer is installed and somebody is enrolled, or their key is amiss."""
    if not installed():
        return False
    try:
        return any(True for _ in Profiles())
    except InputError:
        return True


def show(detector: Loaded, given: Recording, found: Assessment) -> None:
    """The nearest speaker beside the score of spoofing, and both together where the detector is calibrated."""
    try:
        with st.spinner("Comparing the voice"):
            said = comparison(check(_beginning(detector, given), Profiles()), found)
    except InputError as error:
        st.markdown(look.plain(f"The speaker cannot be compared: {error}"))
        return
    sasv = said["sasv"]
    st.markdown(f"**{look.plain(said['words'])}**")
    facts = {
        "Cosine to the nearest speaker": f"{said['score']:.3f}; a match above {said['threshold']:.3f}",
        "Likelihood ratio of the speaker": f"log10 {said['log10_lr_speaker']:.2f}, against another speaker",
        "Score of spoofing": f"{found.score:.4g}: {found.verdict}",
    }
    if sasv is not None:
        accepted = "accepted" if sasv["accepted"] else "not accepted"
        facts["Both together"] = f"{accepted} as bona fide speech of {said['speaker']} (LLR {sasv['llr']:.2f})"
    look.facts(facts)
    rows = sorted(said["scores"].items(), key=lambda item: -item[1])[:10]
    look.table(["Speaker", "Cosine"], [[name, f"{score:.3f}"] for name, score in rows], marked=0)
    st.caption(f"{CLONE} The threshold: {look.plain(said['threshold_source'])}.")


def _beginning(detector: Loaded, given: Recording) -> tuple[np.ndarray, int]:
    """As much of a recording as its voice is taken from, and its rate."""
    rate = detector.explainer.detector.sample_rate
    n_samples, pieces = round(LONGEST_SECONDS * rate), list[np.ndarray]()
    with decoded(detector, given) as recording:
        for block in recording.blocks:
            pieces.append(block)
            if (n_samples := n_samples - len(block)) <= 0:
                break
    return np.concatenate(pieces), rate
