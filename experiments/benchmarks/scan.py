"""Where the time of a scan goes, and what computing features once could save: `python experiments/benchmarks/scan.py`.

A recording of two minutes (FLAC) in windows of 5 s with 50 % overlap. With features computed once for both windows that
share them, a scan would at best be faster by 1 / (1 - share of the features / 2): that bound is the last column.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn

from deepfake.allocator import keep_freed_memory
from deepfake.audio import stream
from deepfake.detector import Detector
from deepfake.localisation.scan import scan

PAIRS = (("cnn", "mel"), ("cnn", "linear"), ("cnn", "lfcc"), ("lcnn", "lfcc"), ("cnn_bilstm", "mel"))
RECORDING_SECONDS, WINDOW_SECONDS, ROUNDS = 120, 5.0, 3


def detector(model: str, features: str) -> Detector:
    """One of the real configs, with random weights, on clips of 5 s."""
    with initialize_config_dir(str(Path(__file__).resolve().parents[2] / "conf"), version_base="1.3"):
        composed = compose(
            "train", [f"model={model}", f"features={features}", f"seconds={WINDOW_SECONDS}", "run_dir=."]
        )
    keys = ("features", "model", "sample_rate", "seconds", "score")
    parts = {key: composed[key] for key in keys}
    config: Any = {
        k: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for k, v in parts.items()
    }
    torch.manual_seed(0)
    return Detector(config).eval()


def seconds(run: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def timed(part: nn.Module, times: list[float]) -> None:
    """Add the CPU time of each call of a part to a list."""
    starts: list[float] = []
    part.register_forward_pre_hook(lambda *_: starts.append(time.process_time()))
    part.register_forward_hook(lambda *_: times.append(time.process_time() - starts.pop()))


def main() -> None:
    keep_freed_memory()
    torch.set_num_threads(1)
    print("| model | front end | windows a step | decoding | features | network | rest | at best |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "two_minutes.flac")
        samples = 0.1 * np.random.default_rng(0).normal(size=RECORDING_SECONDS * 16_000)
        soundfile.write(file, samples.clip(-1, 1), 16_000)
        for model, features in PAIRS:
            scanned = detector(model, features)
            for batch_size in (1, 8):
                print(row(scanned, file, batch_size, f"| `{model}` | `{features}` | {batch_size} |"), flush=True)


def row(scanned: Detector, file: Path, batch_size: int, begin: str) -> str:
    """Shares of the time of a scan, medians."""
    shares = []
    for _ in range(ROUNDS):
        of_features: list[float] = []
        of_network: list[float] = []
        hooked = [(scanned.features, of_features), (scanned.model, of_network)]
        for part, times in hooked:
            timed(part, times)
        total = seconds(lambda: scan(scanned, file, batch_size=batch_size))
        for part, _ in hooked:
            part._forward_hooks.clear()
            part._forward_pre_hooks.clear()
        decoding = seconds(lambda: list(stream(file, block_seconds=10.0)))
        found = [decoding, sum(of_features), sum(of_network)]
        shares.append([*(one / total for one in found), 1 - sum(found) / total])
    medians = [statistics.median(values) for values in zip(*shares, strict=True)]
    cells = " | ".join(f"{100 * share:.0f} %" for share in medians)
    return f"{begin} {cells} | {1 / (1 - medians[1] / 2):.2f}x |"


if __name__ == "__main__":
    main()
