"""Does a detector know when it does not know: what of each source lies outside its domain, and what it gets wrong.

python experiments/modern/domain.py --run RUN --la LA --modern manifest.csv [--real-fake DIR] [--seeds RUN ...]

With `--seeds`, trainings of the same with other seeds, a table more: what is flagged where their scores disagree.
Gaussians and neighbours are fitted on train; the limit of each variant is the 95th percentile of its distances on dev,
and `outside` the 99th. All is of first clips, as `evaluate.py` scores them, at the run's own threshold.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from scipy.signal import butter, sosfilt

from deepfake.audio import load
from deepfake.augment.codec import transcoded
from deepfake.datasets import asvspoof2019_la, manifest
from deepfake.datasets.utterance import Utterance
from deepfake.detector import Detector
from deepfake.domain import SOURCES, Described, Gaussians
from deepfake.scores.domain import describe

RATE = 16_000
Samples = np.ndarray


class Clips(NamedTuple):
    """Clips of a source: what the domain sees of them, and where the detector is wrong `[N]`."""

    described: Described
    wrong: np.ndarray


def noisy(x: Samples, db: float, seed: int = 0) -> Samples:
    """White noise so many dB below the clip."""
    noise = np.random.default_rng(seed).standard_normal(len(x))
    return x + noise * np.sqrt(np.mean(x**2) / 10 ** (db / 10))


def telephone(x: Samples) -> Samples:
    """300 to 3400 Hz alone."""
    return np.asarray(sosfilt(butter(6, [300, 3400], "bandpass", fs=RATE, output="sos"), x))


CONDITIONS: dict[str, Callable[[Samples], Samples]] = {
    "white noise, 20 dB": lambda x: noisy(x, 20),
    "white noise, 10 dB": lambda x: noisy(x, 10),
    "telephone band": telephone,
    "MP3, 64 kbit/s": lambda x: transcoded(x, "mp3", sample_rate=RATE, kbps=64),
    "MP3, 32 kbit/s": lambda x: transcoded(x, "mp3", sample_rate=RATE, kbps=32),
    "Opus, 24 kbit/s": lambda x: transcoded(x, "opus", sample_rate=RATE, kbps=24),
    "10 dB softer": lambda x: x * 10**-0.5,
}


def sources(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[str, list[Utterance]]]:
    """The sources by name, train and dev first; what is made of dev is written into the folder."""
    la = {name: asvspoof2019_la.utterances(name, root=arguments.la) for name in ("train", "dev", "eval")}
    known = {u.attack for u in la["train"]}
    yield from (("train", la["train"]), ("dev", la["dev"]))
    yield "eval, bona fide", [u for u in la["eval"] if u.label == 1]
    yield "eval, attacks of training", [u for u in la["eval"] if u.label == 0 and u.attack in known]
    yield "eval, other attacks", [u for u in la["eval"] if u.label == 0 and u.attack not in known]
    for partition in ("dev", "train"):
        modern = manifest.utterances(partition, root=arguments.modern)
        for label, word in ((1, "bona fide"), (0, "spoof")):
            yield f"modern {partition}, {word}", [u for u in modern if u.label == label]
    if arguments.real_fake:
        files = sorted(Path(arguments.real_fake).rglob("*.wav"))
        yield "real_fake", [Utterance(id=f.stem, path=str(f), label=int(f.parent.name == "real")) for f in files]
    for i, (name, made) in enumerate(CONDITIONS.items()):
        yield f"dev, {name}", [written(u, made, folder / str(i)) for u in la["dev"]]


def written(u: Utterance, made: Callable[[Samples], Samples], folder: Path) -> Utterance:
    """An utterance under a condition."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{u.id}.wav"
    soundfile.write(path, made(load(u.path).numpy().astype(np.float64)), RATE, subtype="FLOAT")
    return Utterance(id=u.id, path=str(path), label=u.label)


def clips_of(detector: Detector, utterances: list[Utterance]) -> Clips:
    """Describe and score them."""
    described = describe(detector, utterances)
    return Clips(described, (described.scores > detector.threshold) != (described.labels == 1))


def disagreement(detectors: list[Detector], of: dict[str, list[Utterance]]) -> dict[str, np.ndarray]:
    """Standard deviation over the seeds of each clip's scores `[N]` by source, each seed's in units of its own on dev.

    In the order of `describe`.
    """
    scores = {name: np.stack([describe(d, listed).scores for d in detectors]) for name, listed in of.items()}
    centre, unit = (f(scores["dev"], axis=1, keepdims=True) for f in (np.mean, np.std))
    return {name: ((found - centre) / unit).std(axis=0) for name, found in scores.items()}


def print_disagreement(
    found: dict[str, Clips], apart: dict[str, np.ndarray], distance: Callable[[Described], np.ndarray]
) -> None:
    """The table of seeds, `distance` being what detectors store."""
    limit, far = np.percentile(apart["dev"], 95), np.percentile(distance(found["dev"].described), 95)
    print("\n| source | seeds disagree (%) | they or the domain (%) | wrong where they agree (%), n |")
    print("|---|---|---|---|")
    for source, (clips, wrong) in found.items():
        disagree = apart[source] > limit
        agreed = f"{percent(wrong[~disagree])}, {np.sum(~disagree)}"
        print(f"| {source} | {percent(disagree)} | {percent(disagree | (distance(clips) > far))} | {agreed} |")


def neighbours(train: np.ndarray, k: int) -> Callable[[np.ndarray], np.ndarray]:
    """The distance to the k-th nearest training clip, each dimension by its deviation."""
    centre, scale = train.mean(axis=0), train.std(axis=0) + 1e-9
    known = (train - centre) / scale
    return lambda x: np.sort(np.linalg.norm(((x - centre) / scale)[:, None] - known, axis=2), axis=1)[:, k - 1]


def variants(train: Described, dev: Described) -> dict[str, Callable[[Described], np.ndarray]]:
    """Distances by name; `both` is what detectors store."""
    found: dict[str, Callable[[Described], np.ndarray]] = {}
    for source in SOURCES:
        x = getattr(train, source)
        gaussians, nearest = Gaussians.fit(x, train.labels), neighbours(x, 5)
        found[f"{source}, Gaussians"] = lambda d, g=gaussians, s=source: g(torch.from_numpy(getattr(d, s))).numpy()
        found[f"{source}, 5th neighbour"] = lambda d, f=nearest, s=source: f(getattr(d, s))
    pair = [found[f"{source}, Gaussians"] for source in SOURCES]
    units = [np.percentile(one(dev), 95) for one in pair]
    return {**found, "both": lambda d: np.max([one(d) / unit for one, unit in zip(pair, units, strict=True)], axis=0)}


def percent(of: np.ndarray) -> str:
    """A share of clips in percent."""
    return f"{100 * of.mean():.0f}" if len(of) else "-"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--run", "--la", "--modern"):
        parser.add_argument(name, required=True)
    parser.add_argument("--real-fake")
    parser.add_argument("--seeds", nargs="+", default=[], metavar="RUN")
    arguments = parser.parse_args()
    detector = Detector.load(arguments.run)
    with tempfile.TemporaryDirectory() as folder:
        listed = dict(sources(arguments, Path(folder)))
        found = {name: clips_of(detector, utterances) for name, utterances in listed.items()}
        seeds = [detector, *map(Detector.load, arguments.seeds)]
        apart = disagreement(seeds, listed) if arguments.seeds else {}
    train, dev = found["train"].described, found["dev"].described
    distances = variants(train, dev)
    limits = {name: np.percentile(distance(dev), [95, 99]) for name, distance in distances.items()}
    names = [*distances]
    print("| source | clips |", " | ".join(f"{name} (%)" for name in names), "|")
    print("|---|---|", "---|" * len(names), sep="")
    for source, (clips, _) in found.items():
        flagged = [percent(distances[name](clips) > limits[name][0]) for name in names]
        print(f"| {source} | {len(clips.labels)} |", " | ".join(flagged), "|")
    print("\n| source | edge or outside (%) | outside (%) | wrong, all (%) | wrong, in (%), n | wrong, outside (%) |")
    print("|---|---|---|---|---|---|")
    for source, (clips, wrong) in found.items():
        far = distances["both"](clips)[:, None] > limits["both"]
        cells = [percent(far[:, 0]), percent(far[:, 1]), percent(wrong)]
        cells += [f"{percent(wrong[~far[:, 0]])}, {np.sum(~far[:, 0])}", percent(wrong[far[:, 1]])]
        print(f"| {source} |", " | ".join(cells), "|")
    if apart:
        print_disagreement(found, apart, distances["both"])


if __name__ == "__main__":
    main()
