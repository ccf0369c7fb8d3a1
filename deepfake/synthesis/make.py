"""Generation of a corpus of bona fide and spoofed speech from any folder of real speech.

Each spoof is matched to one recording in level, length, pauses, spectrum and background, so that these do not separate
the classes. Training on vocoded speech is a published recipe (X. Wang and J. Yamagishi 2023, "Spoofed training data for
speech spoofing countermeasure can be efficiently created using neural vocoders"); the vocoders here are classical, and
neural ones are what the user has as ONNX files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
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
from deepfake.synthesis.neural import facts
from deepfake.synthesis.plan import Recipe, Source, plan, recordings
from deepfake.synthesis.sound import Outcome, make
from deepfake.synthesis.systems import System, available, numbered, systems
from deepfake.synthesis.tts import SENTENCES, piper_voice, read_texts
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


def make_corpus(recipe: Recipe) -> Result:
    """Make a corpus, or the files that it still lacks.

    Every random choice depends on the seed and on names alone: the files are the same byte for byte with any number of
    workers, and after an interruption; not those of a network that draws random numbers of its own, as Piper's do.

    Raises:
        InputError: The recordings or the systems are unusable, or the output folder holds something else.
    """
    bonafide, output = recipe.bonafide, recipe.output
    found = recordings(bonafide)
    texts = read_texts(recipe.texts or SENTENCES)
    vocoders, piper = numbered("V", recipe.vocoders), numbered("P", recipe.piper)
    known = systems(recipe.vocoders, recipe.piper)
    with_version = available() | dict.fromkeys(vocoders, "ONNX Runtime") | dict.fromkeys(piper, "Piper")
    by_partition = _systems(list(with_version), recipe.eval_only, known)
    names = ("seed", "shares", "spoofs", "splices", "min_seconds", "max_seconds", "per_speaker")
    settings = {
        "version": VERSION,
        **{name: getattr(recipe, name) for name in names},
        "shares": [float(share) for share in recipe.shares],
        "systems": {name: {"what": known[name].what, "with": program} for name, program in with_version.items()},
        "eval_only": [name for name in recipe.eval_only if name in with_version],
        "texts": _digest(texts),
        **({"vocoders": {name: facts(given) for name, given in vocoders.items()}} if vocoders else {}),
        **({"piper": {name: piper_voice(Path(given)) for name, given in piper.items()}} if piper else {}),
        "recordings": _digest(f"{path} {(bonafide / path).stat().st_size}" for own in found.values() for path in own),
    }
    if output.resolve().is_relative_to(bonafide.resolve()):
        raise InputError(f"--output {output}: lies in the folder of recordings: give one outside {bonafide}")
    _claim(output, settings)
    sources = plan(found, by_partition, [name for name in with_version if known[name].copies], recipe)
    making = _outcomes(sources, partial(make, recipe=recipe, texts=texts), recipe.workers or os.cpu_count() or 1)
    made = {one.source.path: one for one in progress(making, "making the corpus", total=len(sources))}
    counts, left_out = write_lists(output, [made[source.path] for source in sources], settings)
    absent = {name: f"{s.what}: {s.needs}" for name, s in known.items() if name not in with_version}
    return Result(counts, left_out, absent)


def _systems(there: Sequence[str], eval_only: Sequence[str], all_of: Mapping[str, System]) -> dict[str, list[str]]:
    """The systems of each partition."""
    if unknown := [name for name in eval_only if name not in all_of]:
        raise InputError(f"--eval-only {unknown[0]}: some of {', '.join(all_of)} were expected")
    known = [name for name in there if name not in eval_only]
    if not any(all_of[name].copies for name in known):
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
    # spawned, since forks of a process with threads can hang
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _worker)
    try:
        for finished in as_completed([pool.submit(task, source) for source in sources]):
            yield finished.result()
    except BrokenProcessPool:
        raise InputError(
            "a worker process died, perhaps for lack of memory: run the command again with fewer --workers, the "
            "finished files are kept"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # handled by the parent
    threadpool_limits(1)
    import torch  # imported by the decoder; it has a thread pool of its own

    torch.set_num_threads(1)
