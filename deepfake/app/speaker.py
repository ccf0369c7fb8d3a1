"""Whose voice it is, of the speakers who are enrolled on this machine."""

from __future__ import annotations

import streamlit as st

from deepfake.app import look
from deepfake.app.recording import Recording
from deepfake.commands.speakers import comparison
from deepfake.errors import InputError
from deepfake.forensics.assess import Assessment
from deepfake.speakers.check import CLONE, check
from deepfake.speakers.embedding import installed
from deepfake.speakers.profiles import Profiles


def available() -> bool:
    """Whether speakers can be compared: Resemblyzer is installed and somebody is enrolled, or their key is amiss."""
    if not installed():
        return False
    try:
        return any(True for _ in Profiles())
    except InputError:
        return True


def show(given: Recording, found: Assessment) -> None:
    """The nearest speaker beside the score of spoofing, and both together where the detector is calibrated."""
    try:
        with st.spinner("Comparing the voice"):
            said = comparison(check(given.data, Profiles()), found)
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
