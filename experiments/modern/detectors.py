"""Every detector on the dev part of a modern corpus: error rates, each system, and what is called outside.

python evaluate.py run=RUN dataset=manifest dataset.root=manifest.csv partition=dev      # of each detector, first
python experiments/modern/detectors.py --modern manifest.csv "NAME=RUN" ...

Intervals are those of `evaluate.py`, 95 %. The share outside is of first clips, as the error rates are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from deepfake.datasets import manifest
from deepfake.detector import Detector
from deepfake.scores.domain import describe


def percent(value: float | None) -> str:
    """A rate in percent."""
    return "-" if value is None else f"{100 * value:.1f}"


def with_interval(metrics: dict[str, Any], name: str) -> str:
    """A rate in percent with its interval, where it has one."""
    ends = metrics["ci"].get(name)
    return percent(metrics[name]) + (f" ({percent(ends[0])} to {percent(ends[1])})" if ends else "")


def shares(run: Path, root: str) -> list[str]:
    """Shares of the bona fide and of the spoofed clips that lie outside a detector's domain, in percent."""
    detector = Detector.load(run)
    if detector.domain is None:
        return ["-", "-"]
    found = describe(detector, manifest.utterances("dev", root=root))
    embedding = detector.domain.embedding(torch.from_numpy(found.embedding))
    distances = torch.maximum(embedding, detector.domain.spectrum(torch.from_numpy(found.spectrum)))
    states = [detector.domain.place(distance).state for distance in distances.tolist()]
    outside = torch.tensor([state == "outside" for state in states]).double()
    return [percent(outside[torch.from_numpy(found.labels == label)].mean().item()) for label in (1, 0)]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modern", required=True, help="its manifest")
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    arguments = parser.parse_args()
    runs = {name: Path(run) for name, _, run in (pair.partition("=") for pair in arguments.runs)}
    found = {
        name: json.loads((run / "evaluations" / "manifest-dev" / "metrics.json").read_text())
        for name, run in runs.items()
    }
    columns = ["detector", "EER (%)", "AUC", "bona fide rejected (%)", "spoofs passed (%)"]
    columns += ["outside, bona fide (%)", "spoof (%)"]
    print("|", " | ".join(columns), "|")
    print("|", "---|" * len(columns), sep="")
    for name, metrics in found.items():
        rates = [with_interval(metrics, "eer"), f"{metrics['auc']:.3f}"]
        rates += [with_interval(metrics, "fnr"), with_interval(metrics, "fpr")]
        print(f"| {name} |", " | ".join([*rates, *shares(runs[name], arguments.modern)]), "|", flush=True)
    systems = next(iter(found.values()))["by_attack"]
    print("\n| EER (%) |", " | ".join(f"{system} ({facts['n']})" for system, facts in systems.items()), "|")
    print("|---|", "---|" * len(systems), sep="")
    for name, metrics in found.items():
        print(f"| {name} |", " | ".join(percent(metrics["by_attack"][system]["eer"]) for system in systems), "|")


if __name__ == "__main__":
    main()
