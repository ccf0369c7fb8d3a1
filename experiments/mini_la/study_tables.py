"""Tables of the study: means over seeds with intervals, differences, EER per attack."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import t as student

from deepfake.atomic import write_atomically
from deepfake.figures.style import figure_of
from deepfake.metrics.classification import proportion_interval
from deepfake.metrics.ranked import Ranked
from deepfake.metrics.resampling import Resampler, percentiles
from deepfake.metrics.trials import Trials
from deepfake.runs.folder import RunFolder
from deepfake.scores.fusion import aligned
from deepfake.scores.table import Scores, read_scores

SEEN, UNSEEN = [f"A{i:02}" for i in range(1, 7)], [f"A{i:02}" for i in range(7, 13)]
ATTACKS = SEEN + UNSEEN
GROUPS = {"eval": ATTACKS, "seen": SEEN, "unseen": UNSEEN}
CONFIDENCE, REPLICATES = 0.95, 1000


@dataclass(frozen=True)
class Found:
    """EERs of the runs of one recipe, which differ in their seed.

    Args:
        seeds: Of each run `[K]`, by group and by attack.
        drawn: Of the resamples, means over the runs `[n]`, by group.
    """

    seeds: dict[str, NDArray[np.float64]]
    drawn: dict[str, NDArray[np.float64]]

    def eer(self, name: str) -> float:
        """Mean over the runs, of a group or an attack."""
        return float(self.seeds[name].mean())


def judged(runs: Sequence[Scores]) -> Found:
    """EERs of runs on the same trials in the same order; the resamples are the same ones in every call."""
    labels, attacks = runs[0].labels, np.array(runs[0].attacks)
    seeds, drawn = {}, {}
    for name, some in {**GROUPS, **{attack: [attack] for attack in ATTACKS}}.items():
        rows = (labels == 1) | np.isin(attacks, some)
        ranked = [Ranked(Trials(run.scores[rows], labels[rows]), costs={}) for run in runs]
        seeds[name] = np.array([one.metrics(np.ones(rows.sum(), dtype=np.int64))[0] for one in ranked])
        if name in GROUPS:
            counts = Resampler(labels[rows] == 1).counts(np.random.default_rng(0), REPLICATES)
            drawn[name] = np.array([np.mean([one.metrics(c)[0] for one in ranked]) for c in counts])
    return Found(seeds, drawn)


def interval(found: Found, group: str, fewest: int) -> tuple[float, float]:
    """Over other utterances; where no run errs, that of none among the class that has the fewest."""
    if not found.seeds[group].any():
        return proportion_interval(0.0, fewest, CONFIDENCE)
    return percentiles(found.drawn[group][:, None], CONFIDENCE)[0]


def difference(a: Found, b: Found, group: str) -> tuple[float, float, float]:
    """Mean EER of the first less that of the second, with its interval over other utterances."""
    return (a.eer(group) - b.eer(group), *percentiles((a.drawn[group] - b.drawn[group])[:, None], CONFIDENCE)[0])


def over_seeds(a: Found, b: Found, group: str) -> tuple[float, float] | None:
    """The same difference's interval over other seeds: Welch's, None where a recipe has one seed."""
    k = np.array([len(one.seeds[group]) for one in (a, b)])
    if k.min() < 2:
        return None
    parts = np.array([one.seeds[group].var(ddof=1) for one in (a, b)]) / k
    mean, spread = a.eer(group) - b.eer(group), float(parts.sum())
    freedom = spread**2 / float((parts**2 / (k - 1)).sum()) if spread else 1.0
    half = float(student.ppf((1 + CONFIDENCE) / 2, freedom)) * spread**0.5
    return mean - half, mean + half


def percent(*values: float, sign: str = "") -> str:
    """`1.7 (0.0 to 3.4)` or `0.0 to 3.4`, in percent."""
    *mean, low, high = (f"{round(100 * value, 1) + 0.0:{sign}.1f}" for value in values)
    return f"{mean[0]} ({low} to {high})" if mean else f"{low} to {high}"


def markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    return "".join(f"| {' | '.join(line)} |\n" for line in [heading, ["---"] * len(heading), *rows])


def heat_map(found: Mapping[str, Found]) -> Figure:
    """Mean EER in percent, a row for each recipe, a column for each attack."""
    values = 100 * np.array([[one.eer(attack) for attack in ATTACKS] for one in found.values()])
    figure = figure_of(9.5, 1.6 + 0.3 * len(found))
    axes = figure.add_subplot()
    image = axes.imshow(values, aspect="auto", cmap="cividis", vmin=0, vmax=50)
    for (row, column), value in np.ndenumerate(values):
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color="wk"[int(value > 25)])
    axes.axvline(len(SEEN) - 0.5, color="white", linewidth=3)
    axes.set_xticks(range(len(ATTACKS)), ATTACKS)
    axes.set_yticks(range(len(found)), list(found), fontsize=9)
    axes.set_title("EER (%) per attack on eval, mean over seeds; left: seen in training, right: not", fontsize=11)
    figure.colorbar(image, ax=axes, pad=0.01)
    return figure


def write_tables(output: Path, runs: Mapping[str, Sequence[Path]], pairs: Mapping[str, str]) -> str:
    """Write `results.md`, `results.csv`, `differences.csv` and `attacks.png`; gives back the first.

    Args:
        output: Folder to write to.
        runs: Finished run folders, judged on eval, by recipe; none where it was not run.
        pairs: What is compared with what.
    """
    scores = {str(run): read_scores(scores_of(run)) for some in runs.values() for run in some}
    scores = aligned(scores) if scores else scores
    found = {name: judged([scores[str(run)] for run in some]) for name, some in runs.items() if some}
    table, rows = [], []
    for name, some in runs.items():
        if not some:
            table.append([name, "not run", *[""] * (len(GROUPS) + 2)])
            continue
        labels = scores[str(some[0])].labels
        fewest = int(min(np.sum(labels == 0), np.sum(labels == 1)))
        of = {group: (found[name].eer(group), *interval(found[name], group, fewest)) for group in GROUPS}
        dev = np.mean([(RunFolder(run).finished() or {})["eer"] for run in some])
        minutes = sum(map(seconds, some)) / len(some) / 60
        table.append([name, str(len(some)), f"{100 * dev:.1f}", *(percent(*v) for v in of.values()), f"{minutes:.1f}"])
        rows += [[name, len(some), key, *of.get(key, (found[name].eer(key), "", ""))] for key in (*GROUPS, *ATTACKS)]
    compared, ways = [], []
    for a, b in pairs.items():
        if a in found and b in found:
            of = {group: difference(found[a], found[b], group) for group in GROUPS}
            apart = over_seeds(found[a], found[b], "unseen")
            shown = [percent(*values, sign="+") for values in of.values()]
            compared.append([f"{a} - {b}", *shown, percent(*apart, sign="+") if apart else ""])
            ways += [[a, b, group, *values] for group, values in of.items()]
    per_attack = [[name, *(f"{100 * one.eer(a):.1f}" for a in ATTACKS)] for name, one in found.items()]
    text = "\n".join(
        [
            markdown(("recipe", "seeds", "dev", "eval", "attacks seen", "unseen", "CPU minutes"), table),
            markdown(("difference", "eval", "attacks seen", "unseen", "unseen, other seeds"), compared),
            markdown(("EER per attack", *ATTACKS), per_attack),
        ]
    )
    write_atomically(output / "results.md", text)
    _write_csv(output / "results.csv", ["recipe", "seeds", "attacks", "eer", "low", "high"], rows)
    _write_csv(output / "differences.csv", ["first", "second", "attacks", "difference", "low", "high"], ways)
    if found:
        heat_map(found).savefig(output / "attacks.png")
    return text


def scores_of(run: Path) -> Path:
    """The eval scores of a run."""
    return run / "evaluations" / "asvspoof2019_la-eval" / "scores.csv"


def seconds(run: Path) -> float:
    """What a run cost, with its pre-training."""
    files = [folder / "seconds.txt" for folder in (run, run.with_name(f"{run.name}-stage1"))]
    return sum(float(line) for file in files if file.is_file() for line in file.read_text().split())


def _write_csv(path: Path, heading: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([heading, *rows])
