"""The verdict on audio that comes through standard input, while it comes: `deepfake predict -`."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from deepfake.audio.pcm import FORMATS, Pcm, wav_header
from deepfake.audio.sound import Info
from deepfake.commands.predict import loaded, row
from deepfake.commands.rows import show_table
from deepfake.errors import InputError
from deepfake.forensics.assess import WHOLE, Assessment
from deepfake.forensics.live import LiveAssessment
from deepfake.localisation.stream import Row
from deepfake.runs.provenance import score_range
from deepfake.terminal import write

NAME = "standard input"
PIECE = 1 << 16
NO_INPUT = "a pipe was expected, as in `arecord -f S16_LE -r 16000 -t wav | deepfake predict -`"


class Raw(NamedTuple):
    """Samples without a header.

    Attributes:
        rate: In hertz.
        form: One of `deepfake.audio.pcm.FORMATS`.
        channels: Number of channels.
    """

    rate: int
    form: str = "s16le"
    channels: int = 1


def live_settings(arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings of `predict_live` by the arguments of `deepfake predict`; None where these name files.

    Raises:
        InputError: Some arguments do not go together.
    """
    given = {name for name, value in arguments.items() if value is not None and value is not False}
    if Path("-") not in arguments["inputs"]:
        if wrong := given & {"hop", "raw_rate", "raw_format", "raw_channels"}:
            raise InputError(f"{_option(wrong)} without -: say `deepfake predict -` to read standard input")
        return None
    if len(arguments["inputs"]) > 1:
        raise InputError("- beside files: standard input alone was expected; judge the files by a command of their own")
    if wrong := given & {"output", "manifest", "random"}:
        raise InputError(f"{_option(wrong)} with -: standard input alone was expected; `> FILE` keeps its lines")
    if wrong := "raw_rate" not in given and given & {"raw_format", "raw_channels"}:
        raise InputError(f"{_option(wrong)} without --raw-rate: give the rate in hertz too")
    names = {"rate": "raw_rate", "form": "raw_format", "channels": "raw_channels"}
    raw = {name: arguments[argument] for name, argument in names.items() if argument in given}
    same = {name: arguments[name] for name in ("hop", "clips", "backend", "judge_outside")}
    return {"raw": Raw(**raw) if raw else None, "form": arguments["format"], **same}


def _option(names: Collection[str]) -> str:
    return f"--{min(names).replace('_', '-')}"


def predict_live(
    run: str | Path,
    *,
    device: torch.device,
    raw: Raw | None = None,
    hop: float | None = None,
    clips: str = WHOLE,
    form: str = "table",
    backend: str = "torch",
    judge_outside: bool = False,
) -> None:
    """Assess what comes through standard input: a line for each hop as soon as it is there, then the verdict.

    An interruption ends the audio: what came so far is judged.

    Args:
        run: Run folder or detector file.
        device: Where to compute.
        raw: What comes, where that is no WAV.
        hop: From one line to the next, in seconds; None for half a clip.
        clips: As in `deepfake.forensics.assess.assess`.
        form: `table`, or `json` for lines of JSON.
        backend: As in `deepfake.commands.predict.predict`.
        judge_outside: As in `deepfake.forensics.assess.assess`.

    Raises:
        InputError: The run cannot be loaded, or what comes cannot be used.
        KeyboardInterrupt: It was interrupted before any audio came.
    """
    if form not in ("table", "json"):
        raise InputError(f"--format {form} with -: table or json was expected")
    if not _open(0):
        raise InputError(f"{NAME} is closed: {NO_INPUT}")
    if os.isatty(0):
        raise InputError(f"{NAME} is a terminal: {NO_INPUT}")
    detector = loaded(run, device, backend)
    judging = {"score_range": score_range(run, detector), "judge_outside": judge_outside, "clips": clips, "hop": hop}
    with interruptible(0) as pipe:
        try:
            header, n_bytes = (_header(raw), None) if raw else wav_header(NAME, pipe.read)
        except InputError:
            if pipe.interrupted:
                raise KeyboardInterrupt from None
            raise
        live = LiveAssessment(detector, NAME, header, **judging, at_least=header.n_frames or 0)
        pcm, left = Pcm(header.subtype, header.channels), math.inf if n_bytes is None else n_bytes
        while left and (data := pipe.read(int(min(PIECE, left)))):
            left -= len(data)
            _write(live.take(pcm.take(data)), form)
        rows, found = live.finish(interrupted=pipe.interrupted)
    _write(rows, form)
    _write_verdict(found, form)


def _open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _header(raw: Raw) -> Info:
    return Info(None, raw.rate, raw.channels, "raw", FORMATS[raw.form], None)


def _write(rows: list[Row], form: str) -> None:
    for one in rows:
        if form == "json":
            write(json.dumps(one._asdict()) + "\n", sys.stdout)
        else:
            score = f"score {one.score:.4f}, p_fake {one.p_fake:.4f}; mean {one.mean:.4f}: {one.verdict}"
            write(f"{one.start:.2f} to {one.end:.2f} s: {score}\n", sys.stdout)


def _write_verdict(found: Assessment, form: str) -> None:
    final: dict[str, Any] = {"file": "-", **row(found)}
    if form == "json":
        write(json.dumps(final) + "\n", sys.stdout)
    else:
        show_table([final], found.detector)


class Pipe:
    """The bytes of a descriptor, as they come, until it ends or an interruption ends it.

    Args:
        descriptor: To read from.
        interruption: Becomes readable with the interruption.

    Attributes:
        interrupted: Whether it was.
    """

    def __init__(self, descriptor: int, interruption: int) -> None:
        self.descriptor, self.interruption = descriptor, interruption
        self.interrupted = False

    def read(self, n: int) -> bytes:
        """At most so many bytes, as soon as there are some; none at the end."""
        ready = select.select([self.descriptor, self.interruption], [], [])[0]
        self.interrupted = self.interrupted or self.interruption in ready
        return b"" if self.interrupted else os.read(self.descriptor, n)


@contextmanager
def interruptible(descriptor: int) -> Iterator[Pipe]:
    """A descriptor whose reading, and nothing else, the first SIGINT or SIGTERM ends; the next one acts as ever."""
    ours, theirs = os.pipe()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def interrupt(*_: object) -> None:
        restore()
        os.write(theirs, b"x")

    try:
        for number in before:
            signal.signal(number, interrupt)
        yield Pipe(descriptor, ours)
    finally:
        restore()
        with suppress(OSError):
            os.close(ours)
            os.close(theirs)
