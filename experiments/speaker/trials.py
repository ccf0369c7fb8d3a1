"""Trials of the speaker check: threshold and calibration from train and dev, error rates on eval.

python experiments/speaker/trials.py --root LA [--run RUN] [--embeddings FILE.npz]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deepfake.datasets.asvspoof2019_la import read
from deepfake.datasets.utterance import Utterance
from deepfake.errors import InputError
from deepfake.metrics import bootstrap
from deepfake.metrics.bounds import supported
from deepfake.metrics.calibration import Calibration, calibrate
from deepfake.metrics.dcf import C_FA, C_MISS, P_SPOOF, a_dcf
from deepfake.metrics.eer import carried_threshold, eer
from deepfake.metrics.resampling import share_interval
from deepfake.metrics.sasv import P_NONTARGET, sasv_llr, sasv_threshold
from deepfake.runs.folder import RunFolder
from deepfake.scores.table import read_scores
from deepfake.speakers.embedding import mean_of, voice
from deepfake.terminal import progress

DRAWS = 20  # of the samples that are enrolled, for each speaker
KINDS = ("target", "nontarget", "spoof")


class Set(NamedTuple):
    """Trials of some partitions, one row each.

    Attributes:
        scores: Cosines `[N]`.
        kinds: `target`, `nontarget` or `spoof` `[N]`.
        speakers: Who is claimed `[N]`.
        ids: Of the utterances tried `[N]`.
        attacks: `-` for bona fide ones `[N]`.
    """

    scores: np.ndarray
    kinds: np.ndarray
    speakers: np.ndarray
    ids: np.ndarray
    attacks: np.ndarray


def embeddings(utterances: Sequence[Utterance], file: Path) -> dict[str, np.ndarray]:
    """Of each utterance that holds enough speech; kept in a file."""
    if file.is_file():
        return dict(np.load(file))
    found = {}
    for one in progress(utterances, "embedding"):
        try:
            found[one.id] = voice(one.path).embedding
        except InputError as error:
            print("left out:", error)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **found)
    return found


def trials(utterances: Sequence[Utterance], known: dict[str, np.ndarray], n_enrolled: int, draws: int = DRAWS) -> Set:
    """Every speaker with enough bona fide files is enrolled, up to `draws` times, and all other files are tried."""
    rng, rows = np.random.default_rng(0), []
    listed = [one for one in utterances if one.id in known]
    bonafide = [one for one in listed if one.label]
    for speaker in sorted({one.speaker for one in bonafide}):
        own = sorted(one.id for one in bonafide if one.speaker == speaker)
        for samples in drawn(own, n_enrolled, draws, rng):
            profile = mean_of([known[name] for name in samples])
            for one in listed:
                kind = ("target" if one.label else "spoof") if one.speaker == speaker else "nontarget"
                if one.id in samples or (kind == "nontarget" and not one.label):
                    continue
                rows.append((float(known[one.id] @ profile), kind, speaker, one.id, one.attack or "-"))
    return Set(*map(np.array, zip(*rows, strict=True)))


def both(sets: Sequence[Set]) -> Set:
    return Set(*(np.concatenate(columns) for columns in zip(*sets, strict=True)))


def drawn(own: list[str], n: int, draws: int, rng: np.random.Generator) -> Iterator[tuple[str, ...]]:
    """Which samples are enrolled, at most so many choices of them."""
    every = list(combinations(own, n))
    yield from (every[i] for i in sorted(rng.permutation(len(every))[:draws]))


def share(of: np.ndarray, speakers: np.ndarray) -> str:
    """A share in percent, with its 95 % interval over speakers."""
    low, high = share_interval(of, speakers)
    return f"{of.mean():.1%} ({low:.1%} to {high:.1%}; {len(of)} trials, {len(np.unique(speakers))} speakers)"


def report(name: str, found: Set, threshold: float) -> None:
    target, nontarget, spoof = (found.kinds == kind for kind in KINDS)
    claimed = target | nontarget
    ci = bootstrap.intervals(found.scores[claimed], target[claimed], clusters=found.speakers[claimed])["eer"]
    rate, _ = eer(found.scores[claimed], target[claimed])
    print(f"\n## {name}: {target.sum()} target, {nontarget.sum()} nontarget, {spoof.sum()} spoof trials")
    print(f"EER {rate:.1%} ({ci[0]:.1%} to {ci[1]:.1%})")
    rate, _ = eer(found.scores[target | spoof], target[target | spoof])
    print(f"EER of targets against spoofs {rate:.1%}")
    for limit in (threshold, 0.75):
        print(f"at {limit:.4f}:")
        print("  targets refused", share((found.scores <= limit)[target], found.speakers[target]))
        print("  nontargets passed", share((found.scores > limit)[nontarget], found.speakers[nontarget]))
        print("  spoofs passed", share((found.scores > limit)[spoof], found.speakers[spoof]))
        for attack in sorted({*found.attacks[spoof]}):
            of = spoof & (found.attacks == attack)
            print(f"    {attack} {np.mean(found.scores[of] > limit):.1%} of {of.sum()}")
    print("cosines", {k: f"{np.median(found.scores[found.kinds == k]):.3f}" for k in KINDS})
    print("a-DCF of the cosine alone", costs(found.scores, found.kinds, None))


def costs(scores: np.ndarray, kinds: np.ndarray, threshold: float | None) -> str:
    """The least a-DCF, and that at a threshold."""
    groups = [scores[kinds == kind] for kind in KINDS]
    least, _ = a_dcf(*groups)
    if threshold is None:
        return f"min {least:.4f}"
    miss, fa_nontarget, fa_spoof = np.mean(groups[0] <= threshold), *(np.mean(g > threshold) for g in groups[1:])
    weights = C_MISS * (1 - P_NONTARGET - P_SPOOF), C_FA * P_NONTARGET, C_FA * P_SPOOF
    cost = np.dot(weights, [miss, fa_nontarget, fa_spoof]) / min(weights[0], weights[1] + weights[2])
    rates = f"targets refused {miss:.1%}, nontargets passed {fa_nontarget:.1%}, spoofs passed {fa_spoof:.1%}"
    return f"min {least:.4f}, actual {cost:.4f}: {rates}"


def together(found: Set, calibration: Calibration, run: str) -> None:
    """The decision with the likelihood ratios of a calibrated detector."""
    scores = read_scores(RunFolder(Path(run)).evaluation("asvspoof2019_la", "eval").scores)
    llr = dict(zip(scores.ids, np.array(scores.extras["llr"], dtype=float), strict=True))
    spoofing = np.array([llr[name] for name in found.ids])
    speaker = calibration.llr(found.scores)
    print("\n## with the detector, a-DCF")
    print("detector alone", costs(spoofing, found.kinds, None))
    print("cosine alone", costs(found.scores, found.kinds, None))
    print("both", costs(sasv_llr(speaker, spoofing), found.kinds, sasv_threshold()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--run", help="calibrated, and evaluated on the same corpus")
    parser.add_argument("--embeddings", type=Path, default=Path("outputs/speaker/embeddings.npz"))
    arguments = parser.parse_args()
    parts = {name: read("LA", name, arguments.root) for name in ("train", "dev", "eval")}
    known = embeddings([one for part in parts.values() for one in part], arguments.embeddings)
    fit, once = (both([trials(parts[name], known, 3, n) for name in ("train", "dev")]) for n in (DRAWS, 1))
    claimed, single = fit.kinds != "spoof", once.kinds != "spoof"
    threshold = carried_threshold(fit.scores[claimed], fit.kinds[claimed] == "target")
    found = calibrate(fit.scores[claimed], fit.kinds[claimed] == "target")
    y = once.kinds[single] == "target"  # the draws of a speaker are not independent: one of them vouches for the bounds
    low, high = supported(found.uncapped(once.scores[single]), y)
    calibration = Calibration(found.weight, found.offset, low, high, int(y.sum()), int((~y).sum()))
    print("threshold", threshold, calibration)
    report("train and dev, three samples", fit, threshold)
    judged = trials(parts["eval"], known, 3)
    report("eval, three samples", judged, threshold)
    report("eval, one sample", trials(parts["eval"], known, 1), threshold)
    if arguments.run:
        together(judged, calibration, arguments.run)


if __name__ == "__main__":
    main()
