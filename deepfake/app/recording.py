"""Where the recording comes from: a file, the microphone, or an example."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

import soundfile
import streamlit as st

from deepfake.datasets.demo import utterance
from deepfake.datasets.demo_voice import SAMPLE_RATE

CAPTURE_RATE = 48_000
FILE, MICROPHONE, EXAMPLE = "A file", "The microphone", "An example"
EXAMPLES = {"A synthetic voice": "-", "The same voice through a vocoder": "A02"}
KINDS = "WAV, FLAC, MP3, OGG, Opus, M4A, WebM and others"
CAPTURE = (
    "Recorded by the browser at 48 kHz (“browser capture”), which asks for no echo cancellation and no noise "
    "suppression. What a loudspeaker plays into a microphone is a replay: it is outside what the detector was "
    "tested on."
)


@dataclass(frozen=True)
class Recording:
    """A recording as it was given.

    Attributes:
        name: Text that is shown for it; no path is made of it.
        data: The bytes of the file.
        live: Whether it comes from the microphone.
    """

    name: str
    data: bytes
    live: bool = False

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def recording(megabytes: int, minutes: float) -> Recording | None:
    """Ask for a recording; None until there is one."""
    st.markdown(
        f"One recording of speech, at most **{megabytes} MB** and **{minutes:g} minutes** long: {KINDS}. It goes to "
        "the machine that runs this page and nowhere else, and is deleted when you leave."
    )
    kinds = [FILE, MICROPHONE, EXAMPLE]
    kind = st.segmented_control("Where the recording comes from", kinds, default=FILE, required=True)
    if kind == MICROPHONE:
        taken = st.audio_input("Record your voice", sample_rate=CAPTURE_RATE)
        st.caption("The browser gives the microphone only to a page at localhost or with HTTPS.")
        return Recording("browser capture.wav", taken.getvalue(), live=True) if taken else None
    if kind == EXAMPLE:
        named = st.selectbox("Example", list(EXAMPLES), index=None, placeholder="Choose one", key="example")
        st.caption(
            "Made by the program: source-filter synthesis, which is not speech and shows only how the page works."
        )
        return Recording(f"{named}.flac", _example(EXAMPLES[named])) if named else None
    taken = st.file_uploader("Drop a recording here, or browse for one")
    return Recording(plain_name(taken.name), taken.getvalue()) if taken else None


def plain_name(name: str) -> str:
    """The name of an uploaded file as text, without folders and unprintable characters."""
    last = PurePath(name.replace("\\", "/")).name
    return "".join(c for c in last if c.isprintable()).strip(". ") or "recording"


@st.cache_data(show_spinner=False)
def _example(attack: str) -> bytes:
    samples = utterance(0, "eval", pair=2, speaker=0, attack=attack)
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()
