"""All that libsndfile does not read, by FFmpeg, whose bindings are PyAV, the extra `media`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from deepfake.audio.libsndfile import mp3_frames
from deepfake.audio.sound import WAYS_OUT, Info, Note, Sound, reason
from deepfake.errors import InputError

# No playlists, no addresses, no second file.
DEMUXERS = ("mov", "matroska", "aac", "mp3", "ogg", "asf", "avi", "mpegts", "flv", "amr", "wav", "w64", "aiff", "caf")
PROMISES = ("mov", "matroska")  # containers that state the length; elsewhere it is an estimate
SLACK_SECONDS = 0.25  # edit lists and codec delay shift an honest duration a little
# FFmpeg's names of codecs, in libsndfile's words.
SUBTYPES = {
    "MP3": "MPEG_LAYER_III",
    "MP2": "MPEG_LAYER_II",
    "PCM_MULAW": "ULAW",
    "PCM_ALAW": "ALAW",
    "ADPCM_MS": "MS_ADPCM",
    "ADPCM_IMA_WAV": "IMA_ADPCM",
    "PCM_F32": "FLOAT",
    "PCM_F64": "DOUBLE",
}
PCM = re.compile(r"PCM_([SF]?)(\d+)[LB]E")


def subtype(codec: str) -> str:
    """A codec in libsndfile's words.

    >>> subtype("PCM_S16LE"), subtype("PCM_F32BE"), subtype("MP3"), subtype("AC3")
    ('PCM_16', 'FLOAT', 'MPEG_LAYER_III', 'AC3')
    """
    name = PCM.sub(lambda found: f"PCM_{found[1].strip('S')}{found[2]}", codec)
    return SUBTYPES.get(name, name)


def sound(name: str, file: Any, head: bytes, stack: ExitStack, av: Any) -> Sound:
    """Open a file.

    Args:
        name: As errors call it.
        file: Unbuffered.
        head: Its first bytes.
        stack: Closes what is opened.
        av: PyAV.
    """
    options = {"fd": str(file.fileno()), "protocol_whitelist": "fd", "format_whitelist": ",".join(DEMUXERS)}
    file.seek(0)
    try:
        container: Any = stack.enter_context(av.open("fd:", options=options, metadata_errors="replace"))
    except av.FFmpegError as error:
        raise InputError(f"{name}: not audio, or truncated or damaged ({reason(error)}); {WAYS_OUT}") from error
    if not container.streams.audio:
        raise InputError(f"{name}: no audio in it, or truncated; {WAYS_OUT}")
    stream, notes = container.streams.audio[0], []
    demuxer, codec = container.format.name.split(",")[0], "an unknown codec"
    try:
        if stream.codec_context is not None:
            codec = stream.codec_context.codec.canonical_name.upper()
        frames = _decoded(container, stream, notes, lenient=demuxer == "mp3")
        first = next(frames, None)  # HE-AAC tells its true rate only in its frames
    except av.FFmpegError as error:
        what = f"{codec} in {demuxer.upper()} that FFmpeg cannot decode ({reason(error)})"
        raise InputError(f"{name}: {what}; convert it to FLAC where it plays, or get it again") from error
    if first is None:
        raise InputError(f"{name}: no audio in it (0 samples), or truncated; {WAYS_OUT}")
    seconds, rate = None, first.sample_rate
    if stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration:  # that of its longest stream
        seconds = container.duration / av.time_base
    header = Info(seconds, rate, first.layout.nb_channels, demuxer.upper(), subtype(codec), None)

    def blocks(_: int, size: int) -> Iterator[np.ndarray]:
        fifo = av.AudioFifo()  # joins frames of 20 ms, each of which costs as much in Python as its decoding
        for frame in itertools.chain([first], frames):
            if (frame.sample_rate, frame.layout.nb_channels) != (rate, header.channels):
                raise ValueError("the sampling rate or the channels change")
            frame.pts = None  # gaps in time are left out
            fifo.write(frame)
            if fifo.samples >= size:
                yield _floats(fifo.read())
        if fifo.samples:
            yield _floats(fifo.read())

    at_least = mp3_frames(head, rate) if demuxer == "mp3" else 0
    if seconds and demuxer in PROMISES and (stream.duration or len(container.streams) == 1):
        at_least = max(0, int((seconds - SLACK_SECONDS) * rate))
    context = stream.codec_context
    indexed = stream.frames * context.frame_size if demuxer == "mov" and context else 0
    return Sound(name, header, blocks, at_least=at_least, indexed=indexed, file=file, notes=notes)


def _decoded(container: Any, stream: Any, notes: list[Note], *, lenient: bool) -> Iterator[Any]:
    """Frames of a stream; where players find the way back in by themselves, packets that are no audio are left out."""
    n_bad = 0
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except ValueError:  # what FFmpeg's "invalid data" is
            if not lenient:
                raise
            n_bad += 1
            notes[:] = [Note("damaged", n_bad, f"It is damaged or joined: {n_bad} of its packets cannot be decoded.")]


def _floats(frame: Any) -> np.ndarray:
    """`[N, channels]`, full scale being 1; PyAV's own resampler loses interruptions."""
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    if values.dtype.kind == "f":
        return values.astype(np.float32, copy=False)
    half = 2.0 ** (8 * values.dtype.itemsize - 1)
    return ((values - half * (values.dtype.kind == "u")) / half).astype(np.float32)
