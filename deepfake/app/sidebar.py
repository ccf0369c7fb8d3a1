"""The sidebar: which detector, and how it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import streamlit as st

from deepfake.app import look
from deepfake.app.detector import Loaded
from deepfake.commands.explain import Settings
from deepfake.errors import InputError
from deepfake.localisation.segments import THRESHOLD
from deepfake.runs import provenance
from deepfake.runs.folder import RunFolder

DETECTORS = "the detector's"
OWN, DEV, DEFAULT = "my own", "fixed on dev", f"default ({THRESHOLD:g})"
WINDOWS = (0.5, 1.0, 2.0)  # seconds


def run_among(found: Sequence[RunFolder], below: Path) -> Path:
    """The run that is chosen among several, the newest first."""
    paths = [run.path for run in found]
    st.sidebar.header("Detector", anchor=False)
    if len(paths) == 1:
        st.sidebar.markdown(f"Run **{look.plain(paths[0].resolve().name)}**")
        return paths[0]
    return st.sidebar.selectbox(
        "Run, the newest first", paths, format_func=lambda path: f"{path.relative_to(below)} ({_day(path)})"
    )


def settings(detector: Loaded) -> Settings:
    """How recordings are assessed and explained."""
    st.sidebar.header("Settings", anchor=False)
    calibrated = detector.explainer.detector.calibration is not None
    prior = st.sidebar.slider(
        "Prior probability of spoof",
        0.01,
        0.99,
        0.5,
        0.01,
        help="What is held to be probable before the recording is weighed. It changes the stated probability and "
        "neither the score nor the likelihood ratio."
        + ("" if calibrated else " The detector is not calibrated: it has no effect."),
    )
    own = detector.explainer.detector.seconds
    windows = [None, *(seconds for seconds in WINDOWS if seconds < own)]
    seconds = st.sidebar.selectbox(
        "Window of the timeline",
        windows,
        format_func=lambda value: f"{own:.3g} s, the detector's clip" if value is None else f"{value:g} s",
        help="Shorter windows show more of when, and are less reliable.",
    )
    threshold, judge = _threshold(detector, seconds), False
    if detector.explainer.detector.domain is not None:
        judge = st.sidebar.toggle(
            "Judge what lies outside too",
            help="A verdict, with a caution, on recordings unlike the speech that the detector was made for.",
        )
    return Settings(window_seconds=seconds, prior=prior, threshold=threshold, judge_outside=judge)


def listens_first() -> bool:
    """Whether a recording is to be listened to before its verdict is shown."""
    return st.sidebar.toggle(
        "Listen before the verdict is shown", help="A verdict that is read first is hard to listen past."
    )


def judging(detector: Loaded) -> Loaded:
    """The detector with the threshold of the score that is chosen: its own, or one of the visitor's."""
    used = detector.explainer.detector
    threshold = used.config["threshold"]
    source = look.plain(threshold["source"])
    name = st.sidebar.selectbox(
        "Threshold of the score",
        [DETECTORS, OWN],
        help="A score of it or below is spoof: a higher one lets fewer spoofs pass and flags more bona fide speech. "
        "The likelihood ratio of a calibrated detector does not depend on it.",
    )
    if name == OWN:
        value = st.sidebar.number_input(
            "My own threshold of the score", value=float(threshold["value"]), step=0.1, format="%.4f"
        )
        st.sidebar.caption(
            f"It was not measured what passes and what is flagged at it. The detector's is {threshold['value']:.4g}: "
            f"{source}."
        )
        return detector.judging_at(value)
    st.sidebar.markdown(f"Spoof at a score of **{threshold['value']:.4g}** or below: {source}.")
    if rates := provenance.dev_rates(detector.run, used):
        st.sidebar.caption(
            f"At this threshold {rates['fpr']:.1%} of the spoofs of dev pass as bona fide and {rates['fnr']:.1%} of "
            "its bona fide files are flagged."
        )
    if used.calibration is None:
        st.sidebar.caption("The detector is not calibrated: no likelihood ratio can be stated.")
    return detector


def _threshold(detector: Loaded, window_seconds: float | None) -> float | str:
    """The threshold on p_fake from which on a time is flagged; `dev` for the one that was fixed on dev."""
    choices = [DEFAULT, OWN]
    try:
        measured = detector.explainer.under(Settings(window_seconds=window_seconds, threshold="dev")).threshold
        choices.insert(1, DEV)
    except InputError:
        measured = None
    name = st.sidebar.selectbox(
        "Threshold of suspicious times, on p_fake", choices, help="Times whose p_fake is above it are flagged."
    )
    if name == OWN:
        return st.sidebar.slider("My own threshold", 0.0, 1.0, THRESHOLD, 0.05)
    if name == DEV and measured is not None:
        st.sidebar.caption(f"{measured.value:.3g}: {look.plain(measured.source)}")
        return "dev"
    return THRESHOLD


def _day(path: Path) -> str:
    return f"{datetime.fromtimestamp(RunFolder(path).detector.stat().st_mtime):%Y-%m-%d %H:%M}"
