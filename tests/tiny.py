"""The project's configs and a corpus of seconds, for the tests."""

from __future__ import annotations

import functools
import pickle
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.sources_registry import SourcesRegistry
from omegaconf import DictConfig

from deepfake.datasets.asvspoof2019_la import PROTOCOLS

REPOSITORY = Path(__file__).resolve().parent.parent


def compose(*overrides: str, config: str = "train") -> DictConfig:
    """The project's own configs, composed as the entry scripts do; a copy where a test composed the same before."""
    return pickle.loads(_composed(config, overrides))


@functools.cache
def _composed(config: str, overrides: tuple[str, ...]) -> bytes:
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        files = SourcesRegistry.instance().resolve("file")
        parse = files.load_config

        def parsed(self: Any, config_path: str) -> Any:
            """What hydra makes of a file, which parsed anew for each config takes a third of the time."""
            if (key := (self.path, config_path)) not in _parsed:
                _parsed[key] = pickle.dumps(parse(self, config_path))
            return pickle.loads(_parsed[key])

        with mock.patch.object(files, "load_config", parsed):
            return pickle.dumps(hydra_compose(config, overrides=[*overrides]))


_parsed: dict[tuple[str, str], bytes] = {}


def write_audio(path: Path, *, spoof: bool, seed: int, seconds: float = 0.6, rate: int = 16000) -> Path:
    """A noise (bona fide) or a buzz in noise (spoof): a few epochs tell them apart."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    waveform = 0.05 * rng.standard_normal(n)
    if spoof:
        waveform += 0.2 * np.sign(np.sin(2 * np.pi * rng.uniform(100, 200) * np.arange(n) / rate))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate)
    return path


def touch(root: Path, *names: str) -> Path:
    """Empty files below a folder, for what reads a corpus's layout but not its audio."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write_lines(path: Path, *lines: str) -> Path:
    """A text file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_la(root: Path) -> Path:
    """A corpus in the ASVspoof2019 LA layout: per partition 6 bona fide and 6 spoofed files, and ASV scores."""
    rng = np.random.default_rng(0)
    for p, (partition, protocol) in enumerate(PROTOCOLS.items()):
        lines = []
        for i in range(12):
            spoof = i % 2 == 1
            name = f"LA_{partition[0].upper()}_{1000000 + i}"
            write_audio(root / f"ASVspoof2019_LA_{partition}/flac/{name}.flac", spoof=spoof, seed=100 * p + i)
            attack = ("A07" if partition == "eval" else f"A0{1 + i % 4 // 2}") if spoof else "-"
            lines.append(f"LA_{p}{i % 3:03d} {name} - {attack} {'spoof' if spoof else 'bonafide'}")
        path = root / "ASVspoof2019_LA_cm_protocols" / protocol
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
        if partition != "train":
            trials = [("bonafide target", 3.0), ("bonafide nontarget", -3.0), ("A01 spoof", 1.0)]
            scores = [f"{key} {mean + rng.normal():.6f}" for key, mean in trials for _ in range(40)]
            asv = root / "ASVspoof2019_LA_asv_scores" / f"ASVspoof2019.LA.asv.{partition}.gi.trl.scores.txt"
            asv.parent.mkdir(exist_ok=True)
            asv.write_text("\n".join(scores) + "\n")
    return root


TINY = ("seconds=0.5", "batch_size=4", "num_workers=0")
TINY += ("trainer.accelerator=cpu", "trainer.max_epochs=2", "trainer.log_every_n_steps=1")


def tiny_run(tiny_la: Path, run_dir: Path, *overrides: str) -> DictConfig:
    """The config of a run of seconds on the tiny corpus."""
    return compose("dataset=asvspoof2019_la", f"dataset.root={tiny_la}", f"run_dir={run_dir}", *TINY, *overrides)
