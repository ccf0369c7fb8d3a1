"""The report on one partition: `metrics.json`, a page that opens anywhere, figures, a table for the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from deepfake.atomic import write_atomically
from deepfake.errors import InputError
from deepfake.figures import calibration as figures_calibration
from deepfake.figures import rates as figures_rates
from deepfake.figures import style as figures
from deepfake.figures.html import Pictures, heading, html_table, page, paragraph, pictures
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
    (
        "eer_threshold",
        "EER threshold",
        "g",
        "score at which the two error rates of this data lie nearest to each other",
    ),
    ("threshold", "carried threshold", "g", "threshold that the detector brought along"),
    ("fpr", "spoof accepted", "%", "false positive rate at the threshold used; positive = bona fide"),
    ("fnr", "bona fide rejected", "%", "false negative rate at the threshold used"),
    ("accuracy", "accuracy", "%", "decided rightly, of all"),
    ("balanced_accuracy", "balanced accuracy", "%", "mean of the accuracies on bona fide and on spoof"),
    ("precision", "precision", "%", "bona fide, of those accepted"),
    ("recall", "recall", "%", "accepted, of the bona fide"),
    ("f1", "F1", "f", "harmonic mean of precision and recall, for bona fide"),
    ("cllr", "Cllr", "f", "cost of the likelihood ratios in bits; 1 says nothing, above 1 misleads"),
    ("min_cllr", "min Cllr", "f", "what of it is left after the best calibration there can be"),
    ("act_dcf", "actual DCF", "f", "detection cost of ASVspoof 5 at the threshold that its costs ask for"),
    ("ece", "calibration error", "%", "expected calibration error of the probability, 15 bins"),
    ("brier", "Brier score", "f", "mean squared error of the probability"),
    (
        "misleading_bonafide",
        "bona fide misleading",
        "%",
        "bona fide utterances whose likelihood ratio speaks for spoof",
    ),
    ("misleading_spoof", "spoof misleading", "%", "spoofed utterances whose likelihood ratio speaks for bona fide"),
)
FORMS = {key: form for key, _, form, _ in ROWS}
NAMES = {key: name for key, name, _, _ in ROWS}
ATTACK_COLUMNS = {"eer": "%", "eer_official": "%", "auc": "f", "fpr": "%"}
ATTACK_HEADINGS = ("attack", "spoof", "EER", "interval", "EER, official", "AUC", "accepted")
SOURCES = {"carried": "the threshold that was carried along", "eer": "the EER threshold of this very data"}
MOST_ROWS = 20


def write_report(
    folder: str | Path, metrics: Mapping[str, Any], scores: Scores, *, title: str, provenance: Mapping[str, Any]
) -> None:
    """Write `metrics.json`, `report.html` and `figures/*.{png,svg}` into a folder.

    A figure that the data does not allow is not written, one of an earlier report is then removed.

    Args:
        folder: Made if it is not there.
        metrics: What `judge` said of the scores; may hold further keys.
        scores: The scores themselves, for the figures.
        title: Heading of the page.
        provenance: What was scored with what (run, command, commit, device, date ...), printed as it stands.

    Raises:
        ValueError: A metric is NaN or infinite, which JSON cannot hold.
    """
    folder = Path(folder)
    text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    drawn = pictures(folder / "figures", _figures(metrics, scores))
    write_atomically(folder / "report.html", _page(metrics, drawn, title=title, provenance=provenance))
    write_atomically(folder / "metrics.json", text)


def _figures(metrics: Mapping[str, Any], scores: Scores) -> Pictures:
    """How each figure is drawn, and what stands below it."""
    known = np.flatnonzero(scores.labels >= 0)
    s, y = scores.scores[known], scores.labels[known]
    attacks = [scores.attacks[i] for i in known]
    llrs = np.array(scores.extras["llr"], dtype=float)[known] if metrics["calibrated"] else s
    taken = "" if metrics["calibrated"] else " The scores are not calibrated and are taken as they stand."
    threshold = metrics["threshold"] if metrics["threshold_source"] == "carried" else metrics["eer_threshold"]
    eers = {name: entry["eer"] for name, entry in metrics["by_attack"].items() if entry["eer"] is not None}
    weights = {NAMES[name]: weights for name, weights in metrics["tdcf_weights"].items()}
    interval = metrics["ci"].get("eer")
    drawn: Pictures = {
        "det": (
            lambda: figures.det(s, y, interval=interval),
            "Misses against false alarms, nearer to the lower left corner is better.",
        ),
        "roc": (
            lambda: figures.roc(s, y, interval=interval),
            "Bona fide accepted against spoof accepted, nearer to the upper left.",
        ),
        "histogram": (
            lambda: figures.histogram(s, y, threshold=threshold),
            "How the scores of the two classes lie; what overlaps cannot be told apart.",
        ),
        "precision_recall": (
            lambda: figures_rates.precision_recall(s, y),
            "Share of bona fide among those accepted, against the share of bona fide that is accepted.",
        ),
        "by_attack": (
            lambda: figures.by_attack(eers, overall=metrics["eer"]),
            "Each attack's spoofs against all bona fide utterances, shorter is better.",
        ),
        "histogram_by_attack": (
            lambda: figures_rates.histogram_by_attack(s, y, attacks, threshold=threshold),
            "Where the scores of each attack lie, beside those of bona fide speech.",
        ),
        "confusion": (
            lambda: figures_rates.confusion(s, y, _needed(threshold)),
            f"Decisions at {SOURCES.get(metrics['threshold_source'], 'no threshold')}.",
        ),
        "threshold_sweep": (
            lambda: figures_rates.threshold_sweep(s, y, threshold=threshold),
            "What another threshold would give on this data.",
        ),
        "tdcf": (
            lambda: figures_rates.tdcf_curve(s, y, weights, threshold=threshold),
            "Tandem cost against the threshold; 1 is what a countermeasure costs that does not listen.",
        ),
        "reliability": (
            lambda: figures_calibration.reliability(llrs, y),
            f"How often it is bona fide when the detector says so with a given probability.{taken}",
        ),
        "tippett": (
            lambda: figures_calibration.tippett(llrs, y),
            "Bona fide with this likelihood ratio or a lower one, spoof with this or a higher one: at 1, what misleads."
            + taken,
        ),
        "pav": (
            lambda: figures_calibration.pav(llrs, y),
            f"The likelihood ratio that the data supports against the one given; on the diagonal they agree.{taken}",
        ),
        "empirical_cross_entropy": (
            lambda: figures_calibration.ece(llrs, y),
            f"Cost of the likelihood ratios for every prior; above the dashed line they do harm.{taken}",
        ),
        "misleading": (
            lambda: figures_calibration.misleading(llrs, y),
            f"How often, and how strongly, the likelihood ratio points the wrong way.{taken}",
        ),
    }
    for key in metrics:
        if key.startswith("by_attack_and_"):
            name = key.removeprefix("by_attack_and_")
            drawn |= {key: (_heat_map(metrics[key], name), f"EER of each attack within each {name}, in percent.")}
    return drawn


def _heat_map(table: Mapping[str, Mapping[str, float | None]], name: str):
    return lambda: figures_rates.heat_map(table, row_name="attack", column_name=name)


def number(value: float | None, form: str) -> str:
    """A metric as people read it: `%` percent, `f` four decimals, `g` five digits, a dash where there is none."""
    if value is None:
        return "–"
    return {"%": f"{100 * value:.2f} %", "f": f"{value:.4f}", "g": f"{value + 0.0:.5g}"}[form]  # + 0.0: -0 reads 0


def interval(bounds: list[float] | None, form: str) -> str:
    """`3.1 to 4.2`, in the unit of the number it stands beside; nothing where there is none."""
    if bounds is None:
        return ""
    low, high = (number(bound, form).removesuffix(" %") for bound in bounds)
    return f"{low} to {high}"


def _attack_cells(entry: Mapping[str, Any]) -> list[str]:
    eer, *others = (number(entry[key], form) for key, form in ATTACK_COLUMNS.items())
    return [f"{entry['n']:,}", eer, interval(entry["ci"].get("eer"), "%"), *others]


def table(metrics: Mapping[str, Any]) -> Table:
    """The metrics as a rich table for the terminal: all spoof, then attack by attack, the other metrics, the notes."""
    attacks = Table(box=box.SIMPLE_HEAD, title=Text(f"{metrics['dataset']} {metrics['partition']}", style="bold"))
    attacks.add_column("attack")
    for name in ATTACK_HEADINGS[1:]:
        attacks.add_column(name, justify="right")
    whole = {"all": {**metrics, "n": metrics["n_spoof"]}}
    whole |= {f"{name} in training": entry for name, entry in metrics["by_training"].items()}
    for name, entry in {**whole, **metrics["by_attack"]}.items():
        attacks.add_row(Text(name), *_attack_cells(entry), end_section=name == list(whole)[-1])
    others = Table.grid(padding=(0, 2))
    others.add_row("bona fide", f"{metrics['n_bonafide']:,}")
    for key, name, form, _ in ROWS:
        if key not in ATTACK_COLUMNS and metrics[key] is not None:
            others.add_row(name, number(metrics[key], form), interval(metrics["ci"].get(key), form))
    view = Table.grid()
    view.add_row(attacks)
    view.add_row(Padding(others, (0, 2)))
    for note in metrics["notes"]:
        view.add_row(Padding(Text(note, style="yellow"), (0, 2)))
    return view


def _page(metrics: Mapping[str, Any], drawn: Mapping[str, str], *, title: str, provenance: Mapping[str, Any]) -> str:
    source = SOURCES.get(metrics["threshold_source"])
    decided = [
        f"{number(metrics[key], '%')}{f' ({among})' if among else ''} of the {what}"
        for key, what in (("fpr", "spoofed utterances pass as bona fide"), ("fnr", "bona fide ones are rejected"))
        if metrics[key] is not None
        for among in [interval(metrics["ci"].get(key), "%")]
    ]
    sentence = f"At {source}, {' and '.join(decided)}." if source else "No threshold could be applied."
    counts = f"{metrics['n_bonafide']:,} bona fide and {metrics['n_spoof']:,} spoofed utterances"
    what = ", ".join(filter(None, (metrics["dataset"], metrics["partition"])))
    headline = f"{number(metrics['eer'], '%')} EER" if metrics["eer"] is not None else "no EER"
    if among := interval(metrics["ci"].get("eer"), "%"):
        headline += f" ({among})"
    results = [
        (name, number(metrics[key], form), interval(metrics["ci"].get(key), form), what)
        for key, name, form, what in ROWS
        if metrics[key] is not None
    ]
    attacks = {f"{name} in training": entry for name, entry in metrics["by_training"].items()} | metrics["by_attack"]

    def shown(*names: str) -> str:
        return "".join(drawn.get(name, "") for name in names)

    def section(text: str, *parts: str) -> str:
        return heading(text) + "".join(parts) if any(parts) else ""

    conditions = [key for key in metrics if key.startswith("by_") and key not in ("by_attack", "by_training")]
    grouped = sorted((k for k in conditions if not k.startswith("by_attack_and_")), key="by_speaker".__eq__)
    among = f"{100 * (metrics['confidence'] or 0.95):g} %"
    return page(
        title,
        headline,
        paragraph(f"Scored: {what}, {counts}. {sentence}"),
        paragraph(" ".join(metrics["read_as"])) if "read_as" in metrics else "",
        "".join(paragraph(note, note=True) for note in metrics["notes"]),
        section("Results", html_table(("", "", f"{among} interval", ""), results, left=(0, 3))),
        paragraph(
            "Larger scores are more bona fide; an utterance passes as bona fide if its score is greater than the "
            "threshold. Intervals are bootstrapped over the utterances of this data (those of the two error rates are "
            "exact); they say nothing of other data."
        ),
        section("How well it tells them apart", shown("det", "roc", "histogram", "precision_recall", "tdcf")),
        section(
            "Attack by attack",
            html_table(ATTACK_HEADINGS, ([name, *_attack_cells(entry)] for name, entry in attacks.items()))
            if attacks
            else "",
            shown("by_attack", "histogram_by_attack"),
        ),
        *(
            section(f"By {key.removeprefix('by_').replace('_', ' ')}", _condition_table(key, metrics[key]))
            + shown(f"by_attack_and_{key.removeprefix('by_')}")
            for key in grouped
        ),
        section("Decisions", shown("confusion", "threshold_sweep")),
        section(
            "As likelihood ratios",
            shown("tippett", "misleading", "pav", "empirical_cross_entropy", "reliability"),
        ),
        section("Where the numbers come from", html_table((), provenance.items(), left=(0, 1))),
    )


def _condition_table(key: str, groups: Mapping[str, Mapping[str, Any]]) -> str:
    """The values of a condition, the hardest first where there are many."""
    name = key.removeprefix("by_")
    hardest = sorted(groups.items(), key=lambda item: -1 if item[1]["eer"] is None else item[1]["eer"], reverse=True)
    rows = [
        (
            value,
            f"{entry['n_bonafide']:,}",
            f"{entry['n']:,}",
            *(number(entry[column], form) for column, form in (("eer", "%"), ("auc", "f"), ("fpr", "%"), ("fnr", "%"))),
        )
        for value, entry in (groups.items() if len(groups) <= MOST_ROWS else hardest[:MOST_ROWS])
    ]
    more = (
        f"The {MOST_ROWS} of {len(groups)} with the highest EER; all are in metrics.json."
        if len(groups) > MOST_ROWS
        else ""
    )
    own = "Where a group has no bona fide utterance of its own, all of them stand in."
    headings = (name, "bona fide", "spoof", "EER", "AUC", "spoof accepted", "bona fide rejected")
    return html_table(headings, rows) + paragraph(f"{more} {own}".strip())


def _needed(threshold: float | None) -> float:
    if threshold is None:
        raise InputError("there is no threshold")
    return threshold
