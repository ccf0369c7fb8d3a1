"""The report on one partition: `metrics.json`, a page that opens anywhere, figures, a table for the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Group
from rich.padding import Padding
from rich.table import Table

from deepfake import terminal
from deepfake.atomic import write_atomically
from deepfake.evaluation import bonafide
from deepfake.figures import calibration as figures_calibration
from deepfake.figures import rates as figures_rates
from deepfake.figures import style as figures
from deepfake.figures.html import pictures, write_page
from deepfake.metrics.trials import Trials
from deepfake.runs.folder import ReportFolder
from deepfake.scores.table import Scores

# key of metrics.json, name, how it is printed, what it is
ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("eer", "EER", "%", "equal error rate, interpolated between the points that thresholds can reach"),
    ("eer_official", "EER, official", "%", "equal error rate by the algorithm of the ASVspoof organisers"),
    ("auc", "AUC", "f", "chance that a bona fide utterance scores above a spoofed one"),
    ("min_dcf", "min DCF", "f", "detection cost of ASVspoof 5 at its best threshold; 1 is of no use"),
    ("min_tdcf_legacy", "min t-DCF, legacy", "f", "tandem cost of ASVspoof 2019; 0 is perfect, 1 is of no use"),
    ("min_tdcf", "min t-DCF", "f", "tandem cost, revised form of ASVspoof 2021; 1 is of no use"),
    ("t_eer", "t-EER", "%", "tandem equal error rate of countermeasure and speaker verifier"),
    ("eer_threshold", "EER threshold", "g", "score at which the two error rates of this data are nearest to equal"),
    ("threshold", "carried threshold", "g", "threshold fixed beforehand, on other data"),
    ("fpr", "spoof accepted", "%", "false positive rate at the threshold used; positive = bona fide"),
    ("fnr", "bona fide rejected", "%", "false negative rate at the threshold used"),
    ("accuracy", "accuracy", "%", "share of all utterances that is decided correctly"),
    ("balanced_accuracy", "balanced accuracy", "%", "mean of the accuracies on bona fide and on spoof"),
    ("precision", "precision", "%", "bona fide, of those accepted"),
    ("recall", "recall", "%", "accepted, of the bona fide"),
    ("f1", "F1", "f", "harmonic mean of precision and recall, for bona fide"),
    ("cllr", "Cllr", "f", "cost of the likelihood ratios in bits; 1 carries no information, above 1 misleads"),
    ("min_cllr", "min Cllr", "f", "what of it is left after the best calibration there can be"),
    ("act_dcf", "actual DCF", "f", "detection cost of ASVspoof 5 at the threshold that its costs ask for"),
    ("ece", "calibration error", "%", "expected calibration error of the probability, 15 bins"),
    ("brier", "Brier score", "f", "mean squared error of the probability"),
    ("misleading_bonafide", "bona fide misleading", "%", "bona fide utterances with a likelihood ratio for spoof"),
    ("misleading_spoof", "spoof misleading", "%", "spoofed utterances with a likelihood ratio for bona fide"),
)
FORMS = {key: form for key, _, form, _ in ROWS}
NAMES = {key: name for key, name, _, _ in ROWS}
ATTACK_COLUMNS = {"eer": "%", "eer_official": "%", "auc": "f", "fpr": "%"}
ATTACK_HEADINGS = ("attack", "spoof", "EER", "interval", "EER, official", "AUC", "accepted")
WITHIN = "by_attack_and_"  # a condition: the start of a key of metrics.json
MOST_ROWS = 20


def write_report(
    folder: ReportFolder, metrics: Mapping[str, Any], scores: Scores, *, title: str, provenance: Mapping[str, Any]
) -> None:
    """Write `metrics.json`, `report.html` and `figures/*.{png,svg}` into a folder.

    A figure that the data does not allow is not written, one of an earlier report is then removed.

    Args:
        folder: To write into; made if it is not there.
        metrics: What `evaluate` made of the scores; may hold further keys.
        scores: The scores themselves, for the figures.
        title: Heading of the page.
        provenance: What was scored with what (run, command, commit, device, date ...), printed as it stands.

    Raises:
        ValueError: A metric is NaN or infinite, which JSON cannot hold.
    """
    text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    attacks = {f"{name} in training": entry for name, entry in metrics["by_training"].items()} | metrics["by_attack"]
    write_page(
        folder.page,
        "evaluation/report.html",
        title=title,
        provenance=provenance,
        metrics=metrics,
        drawn=pictures(folder.figures, _figures(metrics, scores)),
        results=results(metrics, ROWS),
        attack_headings=ATTACK_HEADINGS,
        attacks=[_attack_row(name, entry) for name, entry in attacks.items()],
        conditions=_conditions(metrics),
        speakers=_speakers(metrics),
        speaker_headings=bonafide.HEADINGS,
        number=number,
        bracketed=bracketed,
    )
    write_atomically(folder.metrics, text)


def _figures(metrics: Mapping[str, Any], scores: Scores) -> dict[str, Callable[[], Figure]]:
    """How each figure is drawn."""
    trials = llrs = scores.trials
    if metrics["calibrated"]:
        llrs = Trials(np.array(scores.extras["llr"], dtype=float)[scores.ranked], trials.bonafide)
    attacks = [scores.attacks[i] for i in scores.ranked]
    threshold = metrics["threshold"] if metrics["threshold_source"] == "carried" else metrics["eer_threshold"]
    decided = np.nan if threshold is None else threshold
    eers = {name: entry["eer"] for name, entry in metrics["by_attack"].items() if entry["eer"] is not None}
    weights = {NAMES[name]: weights for name, weights in metrics["tdcf_weights"].items()}
    interval = metrics["ci"].get("eer")
    drawn = {
        "det": lambda: figures.det(trials, interval=interval),
        "roc": lambda: figures.roc(trials, interval=interval),
        "histogram": lambda: figures.histogram(trials, threshold=threshold),
        "precision_recall": lambda: figures_rates.precision_recall(trials),
        "by_speaker": lambda: bonafide.figure(metrics),
        "by_attack": lambda: figures.by_attack(eers, overall=metrics["eer"]),
        "histogram_by_attack": lambda: figures_rates.histogram_by_attack(trials, None, attacks, threshold=threshold),
        "confusion": lambda: figures_rates.confusion(trials, None, decided),
        "threshold_sweep": lambda: figures_rates.rates_by_threshold(trials, threshold=threshold),
        "tdcf": lambda: figures_rates.tdcf_curve(trials, None, weights, threshold=threshold),
        "reliability": lambda: figures_calibration.reliability(llrs),
        "tippett": lambda: figures_calibration.tippett(llrs),
        "pav": lambda: figures_calibration.pav(llrs),
        "empirical_cross_entropy": lambda: figures_calibration.ece(llrs),
        "misleading": lambda: figures_calibration.misleading(llrs),
    }
    for key in metrics:
        if key.startswith(WITHIN):
            names = {"row_name": "attack", "column_name": key.removeprefix(WITHIN)}
            drawn[key] = partial(figures_rates.heat_map, metrics[key], **names)
    return drawn


def number(value: float | None, form: str) -> str:
    """A metric as people read it: `%` percent, `f` four decimals, `g` five digits, a dash where there is none."""
    if value is None:
        return "–"
    return {"%": f"{100 * value:.2f} %", "f": f"{value:.4f}", "g": f"{value + 0.0:.5g}"}[form]  # + 0.0: -0 reads 0


def interval(bounds: Sequence[float] | None, form: str) -> str:
    """`3.1 to 4.2`, in the unit of the number it stands beside; nothing where there is none."""
    if bounds is None:
        return ""
    low, high = (number(bound, form).removesuffix(" %") for bound in bounds)
    return f"{low} to {high}"


def bracketed(metrics: Mapping[str, Any], key: str) -> str:
    """The interval of a metric, to be written after its number; nothing where there is none."""
    among = interval(metrics["ci"].get(key), FORMS[key])
    return f" ({among})" if among else ""


def _attack_row(name: str, entry: Mapping[str, Any]) -> list[str]:
    eer, *others = (number(entry[key], form) for key, form in ATTACK_COLUMNS.items())
    return [name, f"{entry['n']:,}", eer, interval(entry["ci"].get("eer"), "%"), *others]


def _speakers(metrics: Mapping[str, Any]) -> list[list[str]]:
    """A row for each of the worst and the best speakers, of bona fide speech alone."""
    if not bonafide.alone(metrics):
        return []
    worst, best = bonafide.speakers(metrics)
    return [
        [name, f"{found.n:,}", number(found.rate, "%"), interval(found.interval, "%")]
        for name, found in (worst | best).items()
    ]


def table(metrics: Mapping[str, Any]) -> Group:
    """The metrics as rich tables for the terminal: all spoof, then attack by attack, the other metrics, the notes.

    Of bona fide speech alone its speakers, if they are known, stand in place of the attacks.
    """
    whole = {"all": {**metrics, "n": metrics["n_spoof"]}}
    whole |= {f"{name} in training": entry for name, entry in metrics["by_training"].items()}
    rows = [_attack_row(name, entry) for name, entry in {**whole, **metrics["by_attack"]}.items()]
    attacks = terminal.table(ATTACK_HEADINGS, rows, title=f"{metrics['dataset']} {metrics['partition']}")
    attacks.rows[len(whole) - 1].end_section = True
    if speakers := _speakers(metrics):
        title = f"{metrics['dataset']} {metrics['partition']}: the worst and the best speakers"
        attacks = terminal.table(bonafide.HEADINGS, speakers, title=title)
    others = Table.grid(padding=(0, 2))
    others.add_row("bona fide", f"{metrics['n_bonafide']:,}")
    for name, value, bounds, _ in results(metrics, [row for row in ROWS if row[0] not in ATTACK_COLUMNS]):
        others.add_row(name, value, bounds)
    return terminal.with_notes([attacks, Padding(others, (0, 2))], metrics["notes"])


def results(metrics: Mapping[str, Any], rows: Sequence[tuple[str, str, str, str]]) -> list[tuple[str, str, str, str]]:
    """Name, value, interval and meaning of each metric of `rows` that could be had."""
    return [
        (name, number(metrics[key], form), interval(metrics["ci"].get(key), form), meaning)
        for key, name, form, meaning in rows
        if metrics[key] is not None
    ]


def _conditions(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Name, rows and number of values of each condition, speakers last; of many values the hardest ones."""
    keys = [k for k in metrics if k.startswith("by_") and k not in ("by_attack", "by_training")]
    keys = [k for k in keys if not (k == "by_speaker" and bonafide.alone(metrics))]  # has a section of its own
    keys = sorted((k for k in keys if not k.startswith(WITHIN)), key="by_speaker".__eq__)
    return [{"name": k.removeprefix("by_"), "rows": _condition_rows(metrics[k]), "n": len(metrics[k])} for k in keys]


def _condition_rows(groups: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    shown = list(groups.items())
    if len(groups) > MOST_ROWS:
        shown = sorted(shown, key=lambda item: -1 if item[1]["eer"] is None else item[1]["eer"], reverse=True)
    columns = {"eer": "%", "auc": "f", "fpr": "%", "fnr": "%"}
    return [
        [value, f"{of['n_bonafide']:,}", f"{of['n']:,}", *(number(of[key], form) for key, form in columns.items())]
        for value, of in shown[:MOST_ROWS]
    ]
