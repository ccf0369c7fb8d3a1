"""What moved the score: the recording with its suspicious stretches, the maps in tabs, and the files to keep."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import PurePath
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from deepfake.app import look, speaker, verdict
from deepfake.app.detector import Loaded
from deepfake.app.recording import Recording
from deepfake.app.results import Evidence, archive_with_audio, explained
from deepfake.commands.explain import Settings
from deepfake.errors import InputError
from deepfake.figures.html import saved
from deepfake.forensics.assess import Assessment
from deepfake.forensics.cautions import INCONCLUSIVE
from deepfake.localisation.figure import timeline_figure

SUMMARY, TIMELINE, TECHNICAL, SPECTROGRAM = "Summary", "Timeline", "Technical", "Spectrogram"
SPEAKER = "Speaker"
MAPS = {
    "Saliency": ("mel_saliency_overlay", "mel_integrated_gradients_overlay"),
    "Grad-CAM": ("mel_gradcam_overlay",),
    "Time importance": ("time_importance",),
    "Regions": ("mel_occlusion_overlay", "radar"),
}
WORDS = {
    "mel": "Level by time and frequency, from which nothing about spoofing can be read directly.",
    "marked": "The same clip by time and frequency. Framed: the suspicious regions.",
    "waveform_highlight": "Waveform of the clip that is explained. Hatched: the suspicious regions.",
    "timeline": "p_fake over the whole recording. Hatched: what is above the threshold.",
    "time_importance": "Evidence of each frame by method: above the line for spoof, below it for bona fide.",
    "radar": "Where the evidence for spoof lies, as shares of it. Dashed: evidence spread evenly over the clip.",
}
MAP = "{} over the spectrogram: vermilion speaks for spoof, blue for bona fide."
HIDDEN = "No maps are shown: the result is inconclusive, and a map would look like evidence that there is not."
MOST_SPANS, MOST_ROWS = 12, 40
STAGES = {"report and figures": "Drawing the figures and writing the report"}


def show(detector: Loaded, settings: Settings, given: Recording, found: Assessment, finding: Mapping[str, Any]) -> None:
    """Draw it: first what the assessment has, then, as they are made, the maps and the files."""
    inconclusive = verdict.of(found) == INCONCLUSIVE
    where = st.container()
    progress = st.empty()
    names = [SUMMARY, SPECTROGRAM, *([] if inconclusive else MAPS), TIMELINE]
    names += [*([SPEAKER] if speaker.available() else []), TECHNICAL]
    slots = {name: tab.empty() for name, tab in zip(names, st.tabs(names), strict=True)}
    files = st.container()
    for slot in slots.values():
        slot.info("This is being computed.", icon=":material/hourglass_empty:")
    with slots[TIMELINE].container():
        _timeline(found)
    with slots[SUMMARY].container():
        _summary(finding, None)
    if SPEAKER in slots:
        with slots[SPEAKER].container():
            speaker.show(detector, given, found)
    try:
        with progress.status("Explaining") as status:
            evidence = explained(detector, settings, given, found, stage=partial(_stage, status))
    except InputError as error:
        progress.info(look.plain(f"There is nothing more to show: {error}"), icon=":material/info:")
        for name in (SPECTROGRAM, *MAPS, TECHNICAL):
            if name in slots:
                slots[name].markdown("This recording cannot be explained; the reason is above.")
        return
    progress.empty()
    with where:
        _where(given, found, evidence, inconclusive)
    _fill(slots, evidence, finding, inconclusive)
    with files:
        _downloads(given, evidence)


def _stage(status: Any, name: str) -> None:
    status.update(label=STAGES.get(name, f"Explaining by {name.replace('_', ' ')}"))


def _where(given: Recording, found: Assessment, evidence: Evidence, inconclusive: bool) -> None:
    """The waveform and the spectrogram with the suspicious stretches, each of which can be played.

    The stretches are the regions of the explained clip; where none stands out, what is flagged over time.
    """
    if inconclusive:
        return
    for name in ("waveform_highlight", "marked"):
        look.picture(evidence.pictures[name], WORDS[name])
    st.markdown(look.plain(evidence.report["words"]["places"]))
    spans = [(region["start_s"], region["end_s"]) for region in evidence.report["regions"]]
    if not spans and found.timeline is not None:
        spans = [(segment.start, segment.end) for segment in found.timeline.segments]
    chosen = st.pills("Play one suspicious stretch", spans[:MOST_SPANS], format_func=_span) if spans else None
    if chosen:
        start, end = chosen
        st.audio(given.data, start_time=start, end_time=end, autoplay=True)


def _span(span: tuple[float, float]) -> str:
    return f"{span[0]:.2f} to {span[1]:.2f} s"


def _fill(
    slots: Mapping[str, DeltaGenerator], evidence: Evidence, finding: Mapping[str, Any], inconclusive: bool
) -> None:
    report = evidence.report
    with slots[SUMMARY].container():
        _summary(finding, report)
    with slots[SPECTROGRAM].container():
        look.picture(evidence.pictures["mel"], WORDS["mel"])
        if inconclusive:
            st.markdown(HIDDEN)
    for name, pictures in MAPS.items():
        if name not in slots:
            continue
        with slots[name].container():
            for picture in pictures:
                _picture(evidence, picture)
            if name == "Regions":
                _regions(report)
    with slots[TECHNICAL].container():
        _technical(report)


def _picture(evidence: Evidence, name: str) -> None:
    method = name.removeprefix("mel_").removesuffix("_overlay")
    if name not in evidence.pictures:
        st.markdown(f"This detector has no map by {method.replace('_', ' ')}.")
        return
    look.picture(evidence.pictures[name], WORDS.get(name) or MAP.format(method.replace("_", " ").capitalize()))
    if warning := evidence.report["methods"].get(method, {}).get("warning"):
        st.warning(look.plain(warning), icon=":material/warning:")


def _summary(finding: Mapping[str, Any], report: Mapping[str, Any] | None) -> None:
    """The verbal scale with the row of this recording, where the evidence lies, and the limits."""
    words = finding["words"]
    scale = words["scale"]
    marked = next((i for i, row in enumerate(scale) if row["words"] == words["strength"]), None)
    if finding["llr"]["calibrated"]:
        rows = [("▶" if i == marked else "", row["range"], row["words"]) for i, row in enumerate(scale)]
        look.table(["", "Likelihood ratio, or one over it", "Words"], rows, marked=marked)
        st.caption(f"{look.plain(words['scale_convention'])} {look.plain(words['scale_source'])}")
    st.markdown(look.plain(words["graded"]))
    limits = (report or finding)["words"]["limits"]
    st.markdown("**What this does not show**\n\n" + "\n".join(f"- {look.plain(limit)}" for limit in limits))


def _timeline(found: Assessment) -> None:
    timeline = found.timeline
    assert timeline is not None
    look.picture(saved(timeline_figure(timeline), "png"), WORDS["timeline"])
    kind = "a trend: no time shorter than one window is resolved" if timeline.scan.kind == "trend" else "localised"
    st.markdown(f"Effective resolution: {timeline.scan.window:.3g} s ({kind}).")
    if timeline.segments:
        shown = timeline.segments[:MOST_ROWS]
        rows = [[f"{s.start:.2f}", f"{s.end:.2f}", f"{s.confidence:.2f}", f"{s.peak:.2f}"] for s in shown]
        look.table(["From (s)", "To (s)", "Mean p_fake", "Largest p_fake"], rows)
        if more := len(timeline.segments) - len(shown):
            st.markdown(f"{more} more are in segments.json of the ZIP.")
    else:
        st.markdown("No time is flagged.")


def _regions(report: Mapping[str, Any]) -> None:
    st.markdown(look.plain(report["words"]["places"]))
    rows = [
        [f"{r['start_s']:.2f}", f"{r['end_s']:.2f}", f"{r['low_hz']:.0f} to {r['high_hz']:.0f}", f"{r['strength']:.3g}"]
        for r in report["regions"]
    ]
    if rows:
        look.table(["From (s)", "To (s)", "Band (Hz)", "Strength"], rows)


def _technical(report: Mapping[str, Any]) -> None:
    file, detector = report["file"], report["detector"]
    rows = {
        "File": f"{file['name']}, {file['bytes']:,} bytes",
        "Format": f"{file['format']} {file['subtype']}, {file['sample_rate']:,} Hz, {file['channels']} channel(s)",
        "SHA-256 of the file": file["sha256"],
        "SHA-256 of the samples": report["recording"]["sha256"],
        "SHA-256 of the detector": detector["sha256"],
        "Network": detector["model"],
    }
    look.table(["What", "Value"], list(rows.items()))
    with st.expander("Everything that report.json holds"):
        st.json(dict(report), expanded=1)


def _downloads(given: Recording, evidence: Evidence) -> None:
    stem = PurePath(given.name).stem or "recording"
    st.markdown("**Files to keep**")
    rows: list[tuple[str, Any, str, str]] = [
        ("Report as PDF", evidence.pdf, "pdf", "application/pdf"),
        ("Report as JSON", evidence.json, "json", "application/json"),
        ("All evidence as ZIP", evidence.archive, "zip", "application/zip"),
        ("ZIP with the recording", partial(archive_with_audio, given, evidence.archive), "zip", "application/zip"),
    ]
    with st.container(horizontal=True):
        for label, data, suffix, kind in rows:
            extra = "_with_audio" if label.endswith("recording") else ""
            st.download_button(label, data, f"{stem}{extra}.{suffix}", kind, on_click="ignore")
