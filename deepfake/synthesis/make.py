"""A corpus of bona fide and spoofed speech from any folder of real speech.

Each spoof is tied to one recording, from which it takes level, length, pauses, spectrum and background, so that these
do not tell the classes apart. Training on spoofs made by vocoders alone is a published recipe (X. Wang and J. Yamagishi
2023, "Spoofed training data for speech spoofing countermeasure can be efficiently created using neural vocoders"); the
vocoders here are classical.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from deepfake.atomic import write_atomically
from deepfake.datasets.utterance import PARTITIONS
from deepfake.errors import InputError
from deepfake.synthesis.listing import write_lists
from deepfake.synthesis.plan import Source, plan, recordings
from deepfake.synthesis.sound import Made, Recipe, make
from deepfake.synthesis.systems import EVAL_ONLY, SYSTEMS, available
from deepfake.synthesis.tts import SENTENCES, texts_of
from deepfake.terminal import progress

log = logging.getLogger(__name__)

VERSION = 1  # raise it when the sound changes
MARK = "corpus.json"


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it.

    Args:
        counts: Files of each partition, by system; `-` is bona fide speech.
        left_out: Files that could not be made, and why.
        absent: Systems that are not in the corpus, and what they need.
    """

    counts: dict[str, dict[str, int]]
    left_out: dict[str, str]
    absent: dict[str, str] = field(default_factory=dict)


def make_corpus(
    bonafide: Path,
    output: Path,
    *,
    seed: int = 0,
    workers: int | None = None,
    shares: Sequence[float] = (60, 20, 20),
    spoofs: int = 3,
    eval_only: Sequence[str] = EVAL_ONLY,
    splices: float = 0.15,
    min_seconds: float = 1.0,
    max_seconds: float = 6.0,
    per_speaker: int | None = None,
    texts: Path | None = None,
) -> Done:
    """Make the corpus, or what it still lacks.

    Every random choice depends on the seed and on names alone: the files are the same byte for byte with any number of
    workers, and after an interruption.

    Args:
        bonafide: Real speech in any format, a folder per speaker; LibriSpeech as it is.
        output: Folder of the corpus.
        seed: From 0.
        workers: Processes; None = one a core.
        shares: Of the speakers, in train, dev and eval.
        spoofs: Of each bona fide utterance, each of another system as far as there are.
        eval_only: Systems that are in eval alone.
        splices: Share of the recordings that go into `partial`, two of three with a spoofed stretch.
        min_seconds, max_seconds: A shorter recording is left out, of a longer one a part is taken.
        per_speaker: Recordings to take of each speaker, drawn at random; None = all.
        texts: File of sentences for TTS, one a line; None = the openings of a dozen old novels.

    Raises:
        InputError: An argument is out of range, the recordings cannot be used, or `output` holds something else.
    """
    _check(seed, workers, shares, spoofs, splices, min_seconds, max_seconds, per_speaker)
    found = recordings(bonafide)
    sentences = texts_of(texts) if texts else SENTENCES
    with_version = available()
    systems = _systems(list(with_version), eval_only)
    settings = {
        "version": VERSION,
        "seed": seed,
        "shares": [float(share) for share in shares],
        "spoofs": spoofs,
        "splices": splices,
        "min_seconds": min_seconds,
        "max_seconds": max_seconds,
        "per_speaker": per_speaker,
        "systems": {name: {"what": SYSTEMS[name].what, "with": said} for name, said in with_version.items()},
        "eval_only": [name for name in eval_only if name in with_version],
        "texts": _digest(sentences),
        "recordings": _digest(f"{path} {(bonafide / path).stat().st_size}" for own in found.values() for path in own),
    }
    if output.resolve().is_relative_to(bonafide.resolve()):
        raise InputError(f"--output {output}: lies in the folder of recordings: choose one outside {bonafide}")
    _claim(output, settings)
    copies = [name for name in with_version if SYSTEMS[name].copies]
    options = {"seed": seed, "shares": shares, "spoofs": spoofs, "splices": splices, "per_speaker": per_speaker}
    sources = plan(found, systems, copies, **options)
    recipe = Recipe(str(bonafide), str(output), seed, min_seconds, max_seconds, sentences)

    making = _made(sources, partial(make, recipe=recipe), workers or os.cpu_count() or 1)
    made: dict[str, Made] = {}
    for one in progress(making, "making the corpus", total=len(sources)):
        made[one.source.path] = one
    counts, left_out = write_lists(output, [made[source.path] for source in sources], settings)
    absent = {name: f"{s.what}: {s.needs}" for name, s in SYSTEMS.items() if name not in with_version}
    return Done(counts, left_out, absent)


def _check(
    seed: int,
    workers: int | None,
    shares: Sequence[float],
    spoofs: int,
    splices: float,
    min_seconds: float,
    max_seconds: float,
    per_speaker: int | None,
) -> None:
    wrong = {
        f"--seed {seed}: a number from 0": seed < 0,
        f"--workers {workers}: a number from 1": workers is not None and workers < 1,
        f"--shares {' '.join(f'{s:g}' for s in shares)}: three numbers above 0": len(shares) != 3
        or not all(0 < share < float("inf") for share in shares),
        f"--spoofs {spoofs}: a number from 1": spoofs < 1,
        f"--splices {splices:g}: a share from 0 to 0.9": not 0 <= splices <= 0.9,
        f"--min-seconds {min_seconds:g}: from 0.5, and at most half of --max-seconds {max_seconds:g},": not 0.5
        <= min_seconds
        <= max_seconds / 2
        < float("inf"),
        f"--per-speaker {per_speaker}: a number from 1": per_speaker is not None and per_speaker < 1,
    }
    for sentence, is_wrong in wrong.items():
        if is_wrong:
            raise InputError(f"{sentence} was expected")


def _systems(there: Sequence[str], eval_only: Sequence[str]) -> dict[str, list[str]]:
    """The systems of each partition."""
    if unknown := [name for name in eval_only if name not in SYSTEMS]:
        raise InputError(f"--eval-only {unknown[0]}: some of {', '.join(SYSTEMS)} were expected")
    known = [name for name in there if name not in eval_only]
    if not any(SYSTEMS[name].copies for name in known):
        raise InputError(
            f"--eval-only {' '.join(eval_only)}: leaves {', '.join(known) or 'no system'} for training, one that "
            "copies is needed: name fewer"
        )
    return {part: list(there) if part == "eval" else known for part in PARTITIONS}


def _digest(lines: Any) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _claim(output: Path, settings: dict[str, Any]) -> None:
    """Write the settings into a new folder, or see that they are those of an old one.

    Raises:
        InputError: Something else stands there.
    """
    text = json.dumps(settings, indent=2) + "\n"
    if output.is_file():
        raise InputError(f"--output {output}: is a file, a folder was expected")
    if not output.exists() or not any(output.iterdir()):
        write_atomically(output / MARK, text)
        return
    try:
        there = json.loads((output / MARK).read_text(encoding="utf-8"))
        differ = [name for name in settings | there if settings.get(name) != there.get(name)]
    except (OSError, ValueError, TypeError, AttributeError):
        raise InputError(
            f"--output {output}: holds something other than a made corpus: choose another folder"
        ) from None
    if differ:
        raise InputError(
            f"--output {output}: holds a corpus made with other {', '.join(differ)} (see its {MARK}): delete it or "
            "choose another folder"
        )


def _made(sources: Sequence[Source], task: Callable[[Source], Made], workers: int) -> Iterator[Made]:
    """What became of each recording, in the order in which they are finished."""
    if workers == 1:
        with threadpool_limits(1):
            yield from map(task, sources)
        return
    with _pool(workers) as pool:
        try:
            for finished in as_completed([pool.submit(task, source) for source in sources]):
                yield finished.result()
        except BrokenProcessPool:
            raise InputError(
                "a worker process died, perhaps for lack of memory: start again with fewer --workers, what is made "
                "is kept"
            ) from None


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that are started anew, since a copy of one with threads can hang, and have one thread each."""
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _worker)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's business
    threadpool_limits(1)
    import torch  # has a pool of its own, which the decoder brings

    torch.set_num_threads(1)
