"""What judging scores costs: `python experiments/benchmarks/judging.py EVALUATION [--cm FILE --asv FILE]`.

EVALUATION is the path of AASIST's `evaluation.py` (clovaai/aasist), which is not part of this repository. Both sides go
from the same two files to a file with the results, in turn in the same process. Without `--cm` and `--asv` the files
are made up: normal scores, as many of each kind as in the evaluation set of ASVspoof 2019 LA.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from deepfake.evaluation.metrics import evaluate
from deepfake.evaluation.tandem import read_tandem
from deepfake.metrics.bootstrap import intervals
from deepfake.metrics.eer import eer
from deepfake.metrics.tdcf import min_tdcf_of
from deepfake.metrics.teer import t_eer
from deepfake.metrics.trials import Trials
from deepfake.scores.formats import read_any
from deepfake.scores.table import read_asv_scores

ROUNDS = 7
MILLION = 1_000_000
TDCF = {"min_tdcf_legacy": (0.0, 0.916, 0.38), "min_tdcf": (0.0255, 0.915, 0.38)}  # about those of 2019 LA
ASV = {"target": (5370, 7.0), "nontarget": (33_327, -12.0), "spoof": (63_882, -1.0)}


def ours(cm: Path, asv: Path, output: Path) -> dict:
    """From the files to metrics.json: every metric, per attack, no intervals."""
    scores, _ = read_any(cm)
    metrics = evaluate(scores, threshold=None, tandem=read_tandem(asv), dataset=cm.name, partition="")
    output.write_text(json.dumps(metrics, indent=2))
    return metrics


def authors(path: Path) -> ModuleType:
    """AASIST's `evaluation.py`, whose `np.float` numpy no longer has."""
    np.float = float  # pyright: ignore[reportAttributeAccessIssue]
    spec = importlib.util.spec_from_file_location("evaluation", path)
    if spec is None or spec.loader is None:
        sys.exit(f"{path}: a Python file was expected")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_files(folder: Path) -> tuple[Path, Path]:
    """CM and ASV score files of made-up trials."""
    rng = np.random.default_rng(0)
    systems = ["-"] * 7355 + [f"A{attack:02d}" for attack in range(7, 20) for _ in range(4914)]
    rows = [(system, "bonafide" if system == "-" else "spoof") for system in systems]
    scores = rng.normal([2.0 if key == "bonafide" else -2.0 for _, key in rows], 1)
    lines = [
        f"LA_E_{1_000_000 + i} {system} {key} {score!r}\n"
        for i, ((system, key), score) in enumerate(zip(rows, scores.tolist(), strict=True))
    ]
    (cm := folder / "cm.txt").write_text("".join(lines))
    asv_lines = [
        f"{'A07' if kind == 'spoof' else 'bonafide'} {kind} {score:.6f}\n"
        for kind, (n, mean) in ASV.items()
        for score in rng.normal(mean, 5, n)
    ]
    (asv := folder / "asv.txt").write_text("".join(asv_lines))
    return cm, asv


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Standard output thrown away, that of child processes too: the authors' function prints with `cat`."""
    sys.stdout.flush()
    kept, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(null)


def seconds(run: Callable[[], object]) -> float:
    """CPU seconds of one call, which on a shared machine are steadier than those of the clock."""
    start = time.process_time()
    run()
    return time.process_time() - start


def report(name: str, values: list[float], unit: str) -> None:
    """One row: the median with the smallest and the largest."""
    print(f"{name:52} {statistics.median(values):7.2f}{unit}   ({min(values):.2f} to {max(values):.2f})")


def files(evaluation: Path, cm: Path, asv: Path, folder: Path) -> None:
    """The authors' script against ours, and the t-EER of the same trials."""
    script = authors(evaluation)
    with silence():
        theirs = script.calculate_tDCF_EER(str(cm), str(asv), str(folder / "theirs.txt"))
    found = ours(cm, asv, folder / "metrics.json")
    np.testing.assert_allclose((100 * found["eer_official"], found["min_tdcf_legacy"]), theirs, atol=1e-9)
    scores, groups = read_any(cm)[0], read_asv_scores(asv)
    slow, quick, tandem_eer = [], [], []
    for _ in range(ROUNDS):
        with silence():
            slow.append(seconds(lambda: script.calculate_tDCF_EER(str(cm), str(asv), str(folder / "theirs.txt"))))
        quick.append(seconds(lambda: ours(cm, asv, folder / "metrics.json")))
        tandem_eer.append(seconds(lambda: t_eer(scores.scores, scores.labels, *groups)))
    trials = f"{len(scores):,} CM and {sum(map(len, groups)):,} ASV scores"
    print(f"{trials}: the same EER {theirs[0]:.4f} % and min t-DCF {theirs[1]:.6f} from both")
    report("authors' evaluation.py / ours, files to results", [a / b for a, b in zip(slow, quick, strict=True)], "x")
    report("authors' evaluation.py", slow, " s")
    report("ours", quick, " s")
    report("t-EER of these trials", [1000 * s for s in tandem_eer], " ms")


def million() -> None:
    """EER, two t-DCFs and 1,000-fold intervals of a million scores, in a process of its own for the peak of memory."""
    rng = np.random.default_rng(0)
    labels = np.arange(MILLION) < MILLION // 10
    scores = rng.normal(np.where(labels, 1.0, -1.0), 1)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    start = pages * resource.getpagesize()

    def run() -> None:
        trials = Trials(scores, labels)
        eer(trials)
        for c0, c1, c2 in TDCF.values():
            min_tdcf_of(trials, c0=c0, c1=c1, c2=c2)
        intervals(trials, tdcf=TDCF, threshold=0.0, n=1000)

    took = seconds(run)
    print(took, (1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) / 2**20)


def whole() -> None:
    """`evaluate.py` on a file of a million scores with 13 attacks: intervals of each, report and figures."""
    from hydra import compose, initialize_config_dir

    from deepfake import CONF
    from deepfake.run import evaluate as command

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        bonafide = np.arange(MILLION) < MILLION // 10
        scores = rng.normal(np.where(bonafide, 1.0, -1.0), 1).tolist()
        (file := Path(name) / "scores.txt").write_text(
            "".join(
                f"LA_E_{1_000_000 + i} {'- bonafide' if real else f'A{7 + i % 13:02d} spoof'} {score!r}\n"
                for i, (real, score) in enumerate(zip(bonafide.tolist(), scores, strict=True))
            )
        )
        del scores
        made = time.process_time()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("evaluate", [f"scores={file}", f"output={name}/out"])
        with silence():
            command(config)
        print(time.process_time() - made, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def page() -> None:
    """The report of as many made-up scores as 2019 LA has for evaluation: 14 figures as PNG and SVG, the page."""
    from deepfake.evaluation.report import write_report
    from deepfake.runs.folder import ReportFolder

    with tempfile.TemporaryDirectory() as name:
        cm, asv = write_files(Path(name))
        scores, _ = read_any(cm)
        metrics = evaluate(scores, threshold=None, tandem=read_tandem(asv), dataset="made up", partition="")
        folder = ReportFolder(Path(name) / "report")
        took = [seconds(lambda: write_report(folder, metrics, scores, title="x", provenance={})) for _ in range(3)]
        print(statistics.median(took), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "evaluation", type=Path, help="AASIST's evaluation.py, or `million`, `whole` or `page` for a part alone"
    )
    parser.add_argument("--cm", type=Path, help="CM scores: utterance source key score")
    parser.add_argument("--asv", type=Path, help="ASV scores: source key score")
    options = parser.parse_args()
    for part in (million, whole, page):
        if options.evaluation == Path(part.__name__):
            part()
            return
    with tempfile.TemporaryDirectory() as name:
        cm, asv = (options.cm, options.asv) if options.cm and options.asv else write_files(Path(name))
        files(options.evaluation, cm, asv, Path(name))
    command = [sys.executable, __file__, "million"]
    lines = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(ROUNDS)]
    took, peak = zip(*(map(float, line.split()) for line in lines), strict=True)
    report("1,000,000 scores, 1,000-fold intervals", list(took), " s")
    report("  their memory above the start", list(peak), " MiB")


if __name__ == "__main__":
    main()
