"""`deepfake predict` against a plain loop over the authors' code: `python experiments/benchmarks/predict.py AASIST`.

AASIST is a checkout of https://github.com/clovaai/aasist, with its weights; nothing of it is shipped here. Both sides
are whole processes on one thread that score the same FLAC files of 4 s with AASIST-L, started in turn; the loop is
that of their `produce_evaluation_file`, with their `Dataset` and network, one clip a step. Printed are the medians of
CPU seconds and of wall time with the ratio, for all files, for one (what it takes to start), and for the difference.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

SECONDS = 4.0
SIDES = "authors", "ours"


def write_files(folder: Path, n_files: int) -> list[Path]:
    """Recordings of 4 s: buzzes in noise that come and go."""
    folder.mkdir()
    t = np.arange(round(SECONDS * 16_000)) / 16_000
    for i in range(n_files):
        rng = np.random.default_rng(i)
        buzz = np.sign(np.sin(2 * np.pi * rng.uniform(80, 250) * t)) * np.abs(np.sin(2 * np.pi * rng.uniform(1, 3) * t))
        soundfile.write(folder / f"{i:05}.flac", 0.2 * buzz + 0.02 * rng.normal(size=len(t)), 16_000)
    return sorted(folder.iterdir())


def authors(checkout: Path, folder: Path, names: list[str]) -> None:
    """In a process of its own: scores of the files in `folder/flac`, by the authors' code."""
    sys.path.insert(0, str(checkout))
    import torch
    from data_utils import Dataset_ASVspoof2019_devNeval  # type: ignore[import-not-found]
    from models.AASIST import Model  # type: ignore[import-not-found]
    from torch.utils.data import DataLoader

    config = json.loads((checkout / "config/AASIST-L.conf").read_text())
    model = Model(config["model_config"])
    model.load_state_dict(torch.load(checkout / "models/weights/AASIST-L.pth", map_location="cpu", weights_only=True))
    model.eval()
    loader = DataLoader(Dataset_ASVspoof2019_devNeval(names, folder), batch_size=1, shuffle=False)
    for clip, name in loader:
        with torch.no_grad():
            _, out = model(clip)
        print(f"{name[0]},{out[:, 1].item()}")


def timed(command: list[str]) -> tuple[float, float, str]:
    """CPU seconds, wall seconds and output of a process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall, done.stdout


def scores(side: str, out: str) -> list[float]:
    """The scores of an output, in the order of the files."""
    rows = [line.split(",") for line in out.splitlines()]
    column = 1 if side == "authors" else rows[0].index("score")
    return [float(row[column]) for row in rows[side == "ours" :]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--names", nargs="*", help=argparse.SUPPRESS)  # of the process of the authors' side
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.names:
        authors(given.checkout, given.folder, given.names)
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        compare(given.checkout.absolute(), Path(name), given.files, given.rounds)


def compare(checkout: Path, folder: Path, n_files: int, n_rounds: int) -> None:
    """Run both sides in turn, and print the table."""
    files, run = write_files(folder / "flac", n_files), folder / "run"
    weights = checkout / "models/weights/AASIST-L.pth"
    deepfake = [sys.executable, "-c", "import sys; from deepfake.cli import main; sys.exit(main())"]
    subprocess.run(
        [*deepfake, "import", "aasist_l", "--weights", str(weights), "--output", str(run)], stdout=-3, check=True
    )
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(n_rounds):
        for n in (1, n_files):
            values = []
            for side in SIDES:
                names = [file.stem for file in files[:n]]
                loop = [sys.executable, __file__, str(checkout), "--folder", str(folder), "--names", *names]
                ours = [*deepfake, "predict", "--run", str(run), "--device", "cpu", "--format", "csv"]
                cpu, wall, out = timed(loop if side == "authors" else [*ours, *map(str, files[:n])])
                found.setdefault((side, n), []).append((cpu, wall))
                values.append(scores(side, out))
            if not np.allclose(*values, rtol=0, atol=1e-4):
                sys.exit("the two sides' scores differ by more than 1e-4")
    report(found, n_files)


def report(found: dict[tuple[str, int], list[tuple[float, float]]], n_files: int) -> None:
    """The table: medians of CPU and wall seconds, and the ratio of those of CPU."""
    print("| what | authors, CPU (wall) | ours, CPU (wall) | ratio of CPU |\n|---|---|---|---|")
    middle = {key: [statistics.median(values) for values in zip(*rows, strict=True)] for key, rows in found.items()}
    rows = {f"{n} files" if n > 1 else "one file": [middle[side, n] for side in SIDES] for n in (1, n_files)}
    steps = [[(a - b) / (n_files - 1) for a, b in zip(middle[s, n_files], middle[s, 1], strict=True)] for s in SIDES]
    for what, (theirs, ours) in {**rows, "each further file": steps}.items():
        cells = [f"{cpu:.3g} s ({wall:.3g} s)" for cpu, wall in (theirs, ours)]
        print(f"| {what} | {cells[0]} | {cells[1]} | {theirs[0] / ours[0]:.2f} |")


if __name__ == "__main__":
    main()
