"""What each stage costs a clip: `python experiments/benchmarks/stages.py FOLDER [--output DIR] [--rounds 3]`.

FOLDER holds recordings, of which the first 64 are taken. CPU time of one thread, median of the rounds with their range;
the stages in turn within each round. Bytes are those on the disk. It takes about two minutes and prints a table; with
`--output` it goes to `stages.md` and `stages.json` there too.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from deepfake.allocator import keep_freed_memory
from deepfake.audio import info, load, load_clip
from deepfake.augment.noise import Noise
from deepfake.augment.rawboost import RawBoost
from deepfake.datasets import shards
from deepfake.datasets.folder import audio_below
from deepfake.datasets.utterance import Utterance
from deepfake.evaluation.metrics import Intervals, evaluate
from deepfake.features.lfcc import LFCC
from deepfake.features.mel import Mel
from deepfake.loading.pcm import pcm
from deepfake.models.aasist import AASIST
from deepfake.scores.table import Scores

N_FILES, N_SAMPLES, BATCH = 64, 64_600, 2
N_SCORES = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    files = [str(path) for path in audio_below(arguments.folder)[:N_FILES]]
    n_bytes, seconds = (
        sum(Path(file).stat().st_size for file in files),
        sum(info(file).seconds or 0.0 for file in files),
    )
    with tempfile.TemporaryDirectory() as folder:
        times = measured(stages(files, Path(folder)), arguments.rounds)
    found = {
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}",
        "files": {"number": len(files), "seconds": seconds, "bytes": n_bytes},
        "milliseconds": times,
    }
    text = markdown(found)
    print(text)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "stages.json").write_text(json.dumps(found, indent=2) + "\n")
        (arguments.output / "stages.md").write_text(text + "\n")


def stages(files: list[str], folder: Path) -> dict[str, tuple[Callable[[], object], int]]:
    """A function for each stage, and of how many clips (or scores) it is."""
    listed = [Utterance(str(i), file, i % 2, partition="train") for i, file in enumerate(files)]
    shards.write_shards(listed, folder, megabytes=1000)
    packed = [u.path for u in shards.utterances("train", root=str(folder))]
    kept = pcm(folder / "kept.pcm", files, 16_000, lambda: map(load, files))
    rng = np.random.default_rng(0)
    every, inside, samples = cycle(files), cycle(packed), cycle(files)

    def crop(source: object) -> torch.Tensor:
        return load_clip(source, n_samples=N_SAMPLES, rng=rng)  # type: ignore[arg-type]

    clip = crop(files[0])
    batch = torch.stack([crop(file) for file in files[:BATCH]])
    label = torch.arange(BATCH) % 2
    network, scoring = AASIST(in_channels=1).train(), AASIST(in_channels=1).eval()
    lfcc, mel, boost, noise = LFCC(), Mel(), RawBoost(), Noise()

    @torch.inference_mode()
    def forward() -> None:
        scoring(batch.unsqueeze(1))

    def step() -> None:
        network.zero_grad()
        F.cross_entropy(network(batch.unsqueeze(1)), label).backward()

    table = Scores(
        [str(i) for i in range(N_SCORES)],
        np.arange(N_SCORES) % 2,
        [f"A{i % 26 // 2:02d}" if i % 2 == 0 else "" for i in range(N_SCORES)],
        rng.normal(size=N_SCORES) + np.arange(N_SCORES) % 2,
    )
    return {
        "a file decoded to its end": (lambda: [load(next(every)) for _ in range(32)], 32),
        "a random crop of 4.04 s, FLAC": (lambda: [crop(next(every)) for _ in range(32)], 32),
        "the same, FLAC in tar archives": (lambda: [crop(next(inside)) for _ in range(32)], 32),
        "the same, decoded samples (`dataset.cache=true`)": (
            lambda: [kept.clip(next(samples), N_SAMPLES, seed) for seed in range(32)],
            32,
        ),
        "RawBoost": (lambda: [boost(clip, rng) for _ in range(8)], 8),
        "noise": (lambda: [noise(clip, rng) for _ in range(8)], 8),
        "features, LFCC": (lambda: lfcc(batch), BATCH),
        "features, 80 mel bands": (lambda: mel(batch), BATCH),
        "AASIST, scoring": (forward, BATCH),
        "AASIST, forward and backward": (step, BATCH),
        "judging, with intervals and 13 attacks": (
            lambda: evaluate(table, threshold=0.5, dataset="x", partition="eval", intervals=Intervals()),
            N_SCORES,
        ),
    }


def measured(what: dict[str, tuple[Callable[[], object], int]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of CPU a clip, of each stage: median, smallest, largest."""
    times: dict[str, list[float]] = {name: [] for name in what}
    for _ in range(rounds):
        for name, (run, n) in what.items():
            start = time.process_time()
            run()
            times[name].append(1e3 * (time.process_time() - start) / n)
    return {name: [statistics.median(each), min(each), max(each)] for name, each in times.items()}


def markdown(found: dict) -> str:
    files = found["files"]
    rate = files["bytes"] / files["seconds"]
    lines = [f"{found['machine']}; {files['number']} files of {files['seconds'] / files['number']:.1f} s on average, "]
    lines[0] += f"{rate / 1e3:.1f} kB a second of speech.\n"
    lines += ["| stage, of one clip or score | ms of CPU |", "|---|---|"]
    lines += [f"| {name} | {m:.3g} ({a:.3g} to {b:.3g}) |" for name, (m, a, b) in found["milliseconds"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
