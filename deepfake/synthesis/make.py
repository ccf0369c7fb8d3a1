"""Generation of a corpus of bona fide and spoofed speech from any folder of real speech.

Each spoof is matched to one recording in level, length, pauses, spectrum and background, so that these do not separate
the classes. Training on vocoded speech is a published recipe (X. Wang and J. Yamagishi 2023, "Spoofed training data for
speech spoofing countermeasure can be efficiently created using neural vocoders"); the vocoders here are classical.
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
from deepfake.synthesis.sound import Outcome, Recipe, make
from deepfake.synthesis.systems import EVAL_ONLY, SYSTEMS, available
from deepfake.synthesis.tts import SENTENCES, read_texts
from deepfake.terminal import progress

log = logging.getLogger(__name__)

VERSION = 1  # to be raised when the audio changes
MARK = "corpus.json"


@dataclass(frozen=True, slots=True)
class Result:
    """Result of making a corpus.

    Args:
        counts: Number of files of each partition, by system; `-` is bona fide speech.
        left_out: Files that could not be made, with the reason.
        absent: Systems that are not in the corpus, with what they need.
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
) -> Result:
    """Make a corpus, or the files that it still lacks.

    Every random choice depends on the seed and on names alone: the files are the same byte for byte with any number of
    workers, and after an interruption.

    Args:
        bonafide: Folder of real speech in any format, one folder per speaker; LibriSpeech as it is.
        output: Folder of the corpus.
        seed: Random seed, from 0.
        workers: Number of processes; None is one per core.
        shares: Shares of the speakers in train, dev and eval.
        spoofs: Number of spoofs of each bona fide utterance, by different systems as far as possible.
        eval_only: Systems that occur in eval alone.
        splices: Share of the recordings that go into `partial`, two thirds of them with a spoofed stretch.
        min_seconds, max_seconds: Shorter recordings are skipped, of longer ones a part is used.
        per_speaker: Number of recordings of each speaker, drawn at random; None is all.
        texts: File of sentences for TTS, one per line; None is the openings of a dozen old novels.

    Raises:
        InputError: An argument is out of range, the recordings are unusable, or `output` holds something else.
    """
    _check(seed, workers, shares, spoofs, splices, min_seconds, max_seconds, per_speaker)
    found = recordings(bonafide)
    sentences = read_texts(texts) if texts else SENTENCES
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
        raise InputError(f"--output {output}: lies in the folder of recordings: give one outside {bonafide}")
    _claim(output, settings)
    copies = [name for name in with_version if SYSTEMS[name].copies]
    options = {"seed": seed, "shares": shares, "spoofs": spoofs, "splices": splices, "per_speaker": per_speaker}
    sources = plan(found, systems, copies, **options)
    recipe = Recipe(str(bonafide), str(output), seed, min_seconds, max_seconds, sentences)

    making = _outcomes(sources, partial(make, recipe=recipe), workers or os.cpu_count() or 1)
    made: dict[str, Outcome] = {}
    for one in progress(making, "making the corpus", total=len(sources)):
        made[one.source.path] = one
    counts, left_out = write_lists(output, [made[source.path] for source in sources], settings)
    absent = {name: f"{s.what}: {s.needs}" for name, s in SYSTEMS.items() if name not in with_version}
    return Result(counts, left_out, absent)


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
            f"--eval-only {' '.join(eval_only)}: leaves {', '.join(known) or 'no system'} for training, where a "
            "copy-synthesis is needed: name fewer systems"
        )
    return {part: list(there) if part == "eval" else known for part in PARTITIONS}


def _digest(lines: Any) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _claim(output: Path, settings: dict[str, Any]) -> None:
    """Write the settings into a new folder, or check that an existing corpus has the same ones.

    Raises:
        InputError: The folder holds something else.
    """
    text = json.dumps(settings, indent=2) + "\n"
    if output.is_file():
        raise InputError(f"--output {output}: is a file: a folder was expected")
    if not output.exists() or not any(output.iterdir()):
        write_atomically(output / MARK, text)
        return
    try:
        there = json.loads((output / MARK).read_text(encoding="utf-8"))
        differ = [name for name in settings | there if settings.get(name) != there.get(name)]
    except (OSError, ValueError, TypeError, AttributeError):
        raise InputError(
            f"--output {output}: holds something other than a generated corpus: give another folder"
        ) from None
    if differ:
        raise InputError(
            f"--output {output}: holds a corpus made with other {', '.join(differ)} (see its {MARK}): delete it or "
            "give another folder"
        )


def _outcomes(sources: Sequence[Source], task: Callable[[Source], Outcome], workers: int) -> Iterator[Outcome]:
    """The outcome of each recording, in the order of completion."""
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
                "a worker process died, perhaps for lack of memory: run the command again with fewer --workers, the "
                "finished files are kept"
            ) from None


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Pool of spawned processes, since forks of a process with threads can hang, with one thread each."""
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _worker)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # handled by the parent
    threadpool_limits(1)
    import torch  # imported by the decoder; it has a thread pool of its own

    torch.set_num_threads(1)
