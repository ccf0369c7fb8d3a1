"""The page: one recording, many files, and what the detector is."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import streamlit as st

from deepfake.app import batch, card, evidence, look, verdict
from deepfake.app.detector import Loaded, loaded
from deepfake.app.recording import CAPTURE, Recording, recording
from deepfake.app.results import assessed
from deepfake.app.sidebar import judging, listens_first, run_among, settings
from deepfake.commands.explain import Settings
from deepfake.errors import InputError
from deepfake.forensics import report
from deepfake.forensics.assess import Assessment
from deepfake.forensics.figures import clock
from deepfake.runs.folder import RunFolder

MOST_MEGABYTES = 100
MOST_MINUTES = 120.0
LEAST_SECONDS = 0.3  # between two signs of progress
HELP = """\
A detector is a run folder with a `detector.pt`. Ways to get one:

- `deepfake train` trains a small one on a corpus that it makes itself, in minutes;
- `deepfake fetch aasist` downloads published weights;
- `deepfake import aasist --weights AASIST-L.pth --output RUN` takes them from a file.

Then start the page with `deepfake app --run RUN`, or reload it if the run lies below the folder above.
"""


def page(runs: Path, *, megabytes: int = MOST_MEGABYTES, minutes: float = MOST_MINUTES) -> None:
    """Draw the page.

    Args:
        runs: A run folder, a detector file, or a folder of runs.
        megabytes: Largest file that the server takes, for the text.
        minutes: Longest recording that is assessed.
    """
    st.set_page_config("deepfake: is this speech genuine?", "\N{LEFT-POINTING MAGNIFYING GLASS}")
    look.apply()
    st.title("Is this speech genuine?")
    found = RunFolder.below(runs)
    if not found and not runs.is_file():
        st.error(f"There is no detector below {look.plain(str(runs))}.", icon=":material/search_off:")
        st.markdown(HELP)
        return
    try:
        detector = loaded(run_among(found, runs) if found else runs, minutes)
    except InputError as error:
        st.error(look.plain(f"The detector cannot be used: {error}"), icon=":material/error:")
        st.markdown(HELP)
        return
    judge = judging(detector)
    choice, listen = settings(judge), listens_first()
    one, many, about = st.tabs(["One recording", "Many files", "Model card"])
    with about:
        card.show(detector)
    with many:
        batch.show(judge, megabytes, minutes)
    with one:
        if given := recording(megabytes, minutes):
            _check(judge, choice, given, listen)
        else:
            st.info("The verdict, and the reasons for it, will be shown here.", icon=":material/arrow_upward:")


def _check(detector: Loaded, settings: Settings, given: Recording, listen: bool) -> None:
    """The verdict on a recording, and what moved it where that speaks for spoof."""
    st.subheader(look.plain(given.name), anchor=False)
    player = st.empty()
    player.audio(given.data)
    if given.live:
        st.caption(CAPTURE)
        settings = replace(settings, recording=True)
    if listen and not _listened(given):
        return
    try:
        found = _assessed(detector, settings, given)
    except InputError as error:
        player.empty()
        st.error(look.plain(str(error)), icon=":material/error:")
        st.markdown("Nothing is said of this recording. Try it as WAV or FLAC, or record it anew.")
        return
    finding = report.finding(found, source=detector.source, prior=settings.prior)
    verdict.show(found, finding)
    if verdict.of(found) != verdict.GENUINE:
        evidence.show(detector, settings, given, found, finding)


def _listened(given: Recording) -> bool:
    """Whether the recording was listened to; until then it can be, and the verdict is not computed."""
    listened: set[str] = st.session_state.setdefault("listened", set())
    if given.sha256 in listened:
        return True
    st.radio("Your own impression", ["genuine", "spoofed", "I cannot tell"], index=None, horizontal=True)
    st.caption("It is kept nowhere, and does not change the verdict.")
    if not st.button("Show the verdict", type="primary"):
        return False
    listened.add(given.sha256)
    st.rerun()


def _assessed(detector: Loaded, settings: Settings, given: Recording) -> Assessment:
    """The assessment, with what was scored so far shown meanwhile."""
    place = st.empty()
    place.status("Decoding and scoring")
    shown = time.monotonic()

    def progress(seconds: float) -> None:
        nonlocal shown
        if time.monotonic() - shown > LEAST_SECONDS:
            shown = time.monotonic()
            place.status(f"Decoding and scoring: {clock(seconds, hours=seconds >= 3600)} so far")

    try:
        return assessed(detector, settings, given, progress=progress)
    finally:
        place.empty()
