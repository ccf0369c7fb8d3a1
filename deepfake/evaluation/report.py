"""The report on one partition: `metrics.json`, a page that opens anywhere, figures, a table for the terminal."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Collection, Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from deepfake.atomic import write_atomically
from deepfake.errors import InputError
from deepfake.evaluation import figures
from deepfake.evaluation.scores import Scores
from deepfake.metrics.classification import at_threshold, auc
from deepfake.metrics.eer import eer, eer_official
from deepfake.metrics.tdcf import AsvOperatingPoint, min_tdcf, min_tdcf_legacy

# key of metrics.json, name, how it is printed, what it is
ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("eer", "EER", "%", "equal error rate, interpolated between the points that thresholds can reach"),
    ("eer_official", "EER, official", "%", "equal error rate by the algorithm of the ASVspoof organisers"),
    ("auc", "AUC", "f", "chance that a bona fide utterance scores above a spoofed one"),
    ("min_tdcf_legacy", "min t-DCF, legacy", "f", "tandem cost of ASVspoof 2019; 0 is perfect, 1 is of no use"),
    ("min_tdcf", "min t-DCF", "f", "tandem cost, revised form of ASVspoof 2021; 1 is of no use"),
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
)
ATTACK_COLUMNS = {"eer": "%", "eer_official": "%", "auc": "f", "fpr": "%"}
ATTACK_HEADINGS = ("attack", "spoof", "EER", "EER, official", "AUC", "accepted")
SOURCES = {"carried": "the threshold it brought along", "eer": "the EER threshold of this very data"}


def judge(
    scores: Scores,
    *,
    threshold: float | None,
    asv: AsvOperatingPoint | None = None,
    dataset: str,
    partition: str,
    trained_on: Collection[str] = (),
) -> dict[str, Any]:
    """Everything that `metrics.json` says of one partition, a pure function of its scores.

    What cannot be had is `None`, and `notes` says why. Utterances without a label are left out.

    Args:
        scores: Scored utterances.
        threshold: The threshold carried from dev, `None` for that of the EER on this data (`threshold_source` says
            which was used: `carried`, `eer`, or `None`). Accepted as bona fide: score > threshold.
        asv: Operating point of the ASV system, for the t-DCF.
        dataset: Name of the corpus.
        partition: Name of the partition.
        trained_on: Attacks that the detector was trained on; `by_training` then holds the spoofs of `seen` and `unseen`
            attacks apart.

    Returns:
        Flat, rates as fractions; `by_attack` and `by_training` hold `n, eer, eer_official, auc, fpr` of some of the
        spoofs against all bona fide utterances, `fpr` being the share of these spoofs that is accepted.

    Raises:
        InputError: The threshold is not finite.
    """
    known = scores.labels >= 0
    s, y, attacks = scores.scores[known], scores.labels[known], np.array(scores.attacks, dtype=object)[known]
    n_bonafide, n_spoof = int(np.sum(y == 1)), int(np.sum(y == 0))
    notes = []
    if len(y) < len(scores):
        notes.append(f"{len(scores) - len(y)} of {len(scores)} utterances have no label and are left out.")
    metrics: dict[str, Any] = {"dataset": dataset, "partition": partition, "n_bonafide": n_bonafide, "n_spoof": n_spoof}
    metrics |= dict.fromkeys(("eer", "eer_official", "eer_threshold"))
    metrics |= {"threshold": None if threshold is None else float(threshold), "threshold_source": None}
    metrics |= dict.fromkeys(("fpr", "fnr", "auc", "accuracy", "balanced_accuracy", "precision", "recall", "f1"))
    metrics |= dict.fromkeys(("min_tdcf_legacy", "min_tdcf"))

    if both := n_bonafide > 0 and n_spoof > 0:
        metrics["eer"], metrics["eer_threshold"] = eer(s, y)
        metrics["eer_official"], _ = eer_official(s, y)
        metrics["auc"] = auc(s, y)
        if metrics["eer"] > 0.5:
            notes.append("The EER is above 50 %: the scores may be larger for spoof, the wrong way round.")
        if abs(metrics["eer"] - metrics["eer_official"]) > 0.005:
            notes.append("The two EERs differ because many scores are equal, or because there are few.")
    else:
        notes.append(f"There are {n_bonafide} bona fide and {n_spoof} spoofed utterances: EER and AUC need both.")
    if both and asv is not None:
        try:
            metrics["min_tdcf_legacy"], _ = min_tdcf_legacy(s, y, asv)
            metrics["min_tdcf"], _ = min_tdcf(s, y, asv)
        except InputError as error:
            metrics["min_tdcf_legacy"] = None
            notes.append(f"No t-DCF: {error}.")
    applied, source = (metrics["eer_threshold"], "eer") if threshold is None else (threshold, "carried")
    if applied is not None and len(y):
        metrics |= at_threshold(s, y, applied)
        metrics["threshold_source"] = source
        if source == "eer":
            notes.append("No threshold was carried from dev: the rates at the EER threshold of this data flatter it.")

    def entry(spoof: NDArray[np.bool_]) -> dict[str, Any]:
        """Some of the spoofs against all bona fide utterances."""
        figures: dict[str, Any] = {"n": int(spoof.sum()), "eer": None, "eer_official": None, "auc": None, "fpr": None}
        if both:
            chosen = spoof | (y == 1)
            figures |= {"eer": eer(s[chosen], y[chosen])[0], "eer_official": eer_official(s[chosen], y[chosen])[0]}
            figures["auc"] = auc(s[chosen], y[chosen])
        if applied is not None:
            figures["fpr"] = float(np.mean(s[spoof] > applied))
        return figures

    names = sorted({str(name) or "-" for name in attacks[y == 0]})
    names = names if names != ["-"] else []
    attacks[attacks == ""] = "-"
    metrics["by_attack"] = {name: entry((y == 0) & (attacks == name)) for name in names}
    known_attack = np.isin(attacks.astype(str), sorted(trained_on))
    groups = {"seen": (y == 0) & known_attack, "unseen": (y == 0) & ~known_attack}
    split = all(group.any() for group in groups.values())
    metrics["by_training"] = {name: entry(group) for name, group in groups.items()} if split and trained_on else {}
    return metrics | {"notes": notes}


def write_report(
    folder: str | Path, metrics: Mapping[str, Any], scores: Scores, *, title: str, provenance: Mapping[str, Any]
) -> None:
    """Write `metrics.json`, `report.html` and `figures/{det,roc,histogram,by_attack}.png` into a folder.

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
    pictures: dict[str, tuple[bytes, str]] = {}
    for name, (draw, caption) in _figures(metrics, scores).items():
        path = folder / "figures" / f"{name}.png"
        try:
            pictures[name] = _png(draw()), caption
        except InputError:
            path.unlink(missing_ok=True)
        else:
            write_atomically(path, pictures[name][0])
    write_atomically(folder / "report.html", _page(metrics, pictures, title=title, provenance=provenance).encode())
    write_atomically(folder / "metrics.json", text.encode())


def _figures(metrics: Mapping[str, Any], scores: Scores) -> dict[str, tuple[Callable[[], Figure], str]]:
    """How each figure is drawn, and what stands below it."""
    known = scores.labels >= 0
    s, y = scores.scores[known], scores.labels[known]
    threshold = metrics["threshold"] if metrics["threshold_source"] == "carried" else metrics["eer_threshold"]
    eers = {name: entry["eer"] for name, entry in metrics["by_attack"].items() if entry["eer"] is not None}
    return {
        "det": (lambda: figures.det(s, y), "Misses against false alarms, nearer to the lower left corner is better."),
        "roc": (lambda: figures.roc(s, y), "Bona fide accepted against spoof accepted, nearer to the upper left."),
        "histogram": (
            lambda: figures.histogram(s, y, threshold=threshold),
            "How the scores of the two classes lie; what overlaps cannot be told apart.",
        ),
        "by_attack": (
            lambda: figures.by_attack(eers, overall=metrics["eer"]),
            "Each attack's spoofs against all bona fide utterances, shorter is better.",
        ),
    }


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _number(value: float | None, form: str) -> str:
    """A metric as people read it: `%` percent, `f` four decimals, `g` five digits, a dash where there is none."""
    if value is None:
        return "–"
    return {"%": f"{100 * value:.2f} %", "f": f"{value:.4f}", "g": f"{value + 0.0:.5g}"}[form]  # + 0.0: -0 reads 0


def _attack_cells(entry: Mapping[str, Any]) -> list[str]:
    return [f"{entry['n']:,}", *(_number(entry[key], form) for key, form in ATTACK_COLUMNS.items())]


def table(metrics: Mapping[str, Any]) -> Table:
    """The metrics as a rich table for the terminal: all spoof, then attack by attack, the other metrics, the notes."""
    attacks = Table(box=box.SIMPLE_HEAD, title=Text(f"{metrics['dataset']} {metrics['partition']}", style="bold"))
    attacks.add_column("attack")
    for heading in ATTACK_HEADINGS[1:]:
        attacks.add_column(heading, justify="right")
    whole = {"all": {**metrics, "n": metrics["n_spoof"]}}
    whole |= {f"{name} in training": entry for name, entry in metrics["by_training"].items()}
    for name, entry in {**whole, **metrics["by_attack"]}.items():
        attacks.add_row(Text(name), *_attack_cells(entry), end_section=name == list(whole)[-1])
    others = Table.grid(padding=(0, 2))
    others.add_row("bona fide", f"{metrics['n_bonafide']:,}")
    for key, name, form, _ in ROWS:
        if key not in ATTACK_COLUMNS and metrics[key] is not None:
            others.add_row(name, _number(metrics[key], form))
    view = Table.grid()
    view.add_row(attacks)
    view.add_row(Padding(others, (0, 2)))
    for note in metrics["notes"]:
        view.add_row(Padding(Text(note, style="yellow"), (0, 2)))
    return view


def _page(
    metrics: Mapping[str, Any],
    pictures: Mapping[str, tuple[bytes, str]],
    *,
    title: str,
    provenance: Mapping[str, Any],
) -> str:
    """The report as one HTML file without scripts and without anything to load."""
    source = SOURCES.get(metrics["threshold_source"])
    decided = [
        f"{_number(metrics[key], '%')} of the {what}"
        for key, what in (("fpr", "spoofed utterances pass as bona fide"), ("fnr", "bona fide ones are rejected"))
        if metrics[key] is not None
    ]
    sentence = f"At {source}, {' and '.join(decided)}." if source else "No threshold could be applied."
    results = "".join(
        f"<tr><th scope=row>{name}</th><td class=n>{_number(metrics[key], form)}</td><td>{what}</td></tr>\n"
        for key, name, form, what in ROWS
    )
    headings = "<th scope=col>" + "</th><th scope=col class=n>".join(ATTACK_HEADINGS) + "</th>"
    attacks = "".join(
        f"<tr><th scope=row>{escape(name)}</th>"
        + "".join(f"<td class=n>{cell}</td>" for cell in _attack_cells(entry))
        + "</tr>\n"
        for name, entry in {
            **{f"{group} in training": entry for group, entry in metrics["by_training"].items()},
            **metrics["by_attack"],
        }.items()
    )
    drawn = "".join(
        f'<figure><img alt="{name.replace("_", " ")}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
        for name, (png, caption) in pictures.items()
    )
    return TEMPLATE.format(
        title=escape(title),
        headline=f"{_number(metrics['eer'], '%')} EER" if metrics["eer"] is not None else "no EER",
        scored=escape(f"{metrics['dataset']}, {metrics['partition']}"),
        counts=f"{metrics['n_bonafide']:,} bona fide and {metrics['n_spoof']:,} spoofed utterances",
        sentence=escape(sentence),
        notes="".join(f"<p class=note>{escape(note)}</p>\n" for note in metrics["notes"]),
        results=results,
        attacks=f"<h2>Attack by attack</h2>\n<div class=wide><table><tr>{headings}</tr>\n{attacks}</table></div>"
        if attacks
        else "",
        figures=f"<h2>Figures</h2>\n{drawn}" if drawn else "",
        provenance="".join(
            f"<tr><th scope=row>{escape(str(key))}</th><td>{escape(str(value))}</td></tr>\n"
            for key, value in provenance.items()
        ),
    )


TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{
  font: 1rem/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 60rem; margin: 0 auto; padding: 1rem;
}}
h1 {{ font-size: 1.4rem; margin: 0; }}
h2 {{ font-size: 1.1rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ccc; }}
.headline {{ font-size: 2.4rem; font-weight: 700; color: #0072b2; margin: .5rem 0 0; }}
.note {{ border-left: 4px solid #e69f00; background: #fff8e8; padding: .4rem .8rem; margin: .5rem 0; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: .9rem; }}
th, td {{ text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #eee; }}
th {{ font-weight: 600; }}
td {{ overflow-wrap: anywhere; }}
.n {{ font-variant-numeric: tabular-nums; white-space: nowrap; text-align: right; }}
figure {{
  display: inline-block; vertical-align: top; width: 100%; max-width: 29rem; margin: .5rem 0; break-inside: avoid;
}}
img {{ width: 100%; height: auto; }}
figcaption {{ font-size: .85rem; color: #555; }}
@media print {{
  html {{ font-size: 11px; }}
  body {{ max-width: none; padding: 0; -webkit-print-color-adjust: exact; print-color-adjust: exact; }}
  h2 {{ break-after: avoid; }}
  tr {{ break-inside: avoid; }}
  figure {{ width: 48%; }}
}}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="headline">{headline}</p>
<p>Scored: <strong>{scored}</strong>, {counts}. {sentence}</p>
{notes}
<h2>Results</h2>
<div class="wide"><table>
{results}</table></div>
<p>Larger scores are more bona fide; an utterance passes as bona fide if its score is greater than the threshold.</p>
{attacks}
{figures}
<h2>Where the numbers come from</h2>
<div class="wide"><table>
{provenance}</table></div>
</body>
</html>
"""
