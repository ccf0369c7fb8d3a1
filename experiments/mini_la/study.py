"""Which detector for a few hundred utterances, and does augmentation help: `study.py --root DIR`.

Every recipe of `ROWS`, plain and augmented, is trained with each seed by train.py and judged on eval by evaluate.py,
each in a process of its own on one thread. Finished runs are skipped, interrupted ones resumed, failed ones named.
From what there is come `results.md`, `results.csv`, `differences.csv` and the heat map `attacks.png`.

Intervals of 95 % are over the utterances: in each of 1,000 resamples every run of every recipe is judged on the same
trials. What is compared is the mean EER over seeds, so that a difference is that of two numbers in the table.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from study_tables import scores_of, write_tables

from deepfake.datasets import asvspoof2019_la
from deepfake.runs.folder import RunFolder
from deepfake.synthesis.make import make_corpus
from deepfake.synthesis.plan import Recipe

REPOSITORY = Path(__file__).resolve().parents[2]
AUGMENT = "augment=[mixup]"  # selected on dev attacks that were held out of train, see README.md


@dataclass(frozen=True)
class Row:
    """A recipe: what it adds to `experiment=mini_la`.

    Args:
        overrides: Of train.py.
        augmented: Whether it is trained with augmentation too.
        stage_1: Overrides of a training whose critic it starts from.
        made: Whether spoofs made of the bona fide training utterances are added to the training partition.
        against: The row that it is compared with.
    """

    overrides: tuple[str, ...] = ()
    augmented: bool = True
    stage_1: tuple[str, ...] = ()
    made: bool = False
    against: str | None = None


DEV_SELDOM = "trainer.check_val_every_n_epoch=4"
SHORT = ("trainer.max_epochs=20", DEV_SELDOM)  # so that a run costs about as much as one of the CNN
CRITIC = ("model=wgan_gp_critic", "features=mel", "model.channels=[16,32,48,64]")
FROM_SCRATCH = (*CRITIC, "optimizer.lr=1e-3", "trainer.max_epochs=80", DEV_SELDOM)
GAME = ("experiment=wgan_gp_pretrain", "dataset=asvspoof2019_la", *CRITIC, "train_seconds=1", "trainer.max_epochs=40")
GAME += ("task.critic_lr=5e-4", "task.generator_lr=5e-4", "callbacks.generated=null")

ROWS = {  # in the order in which they are trained
    "cnn linear": Row(),
    "cnn linear 100 epochs": Row(("trainer.max_epochs=100", DEV_SELDOM), against="cnn linear"),
    "cnn linear, made spoofs": Row(  # twice the utterances an epoch
        ("trainer.max_epochs=20", DEV_SELDOM), augmented=False, made=True, against="cnn linear"
    ),
    "cnn linear 100 epochs, made spoofs": Row(
        ("trainer.max_epochs=50", DEV_SELDOM), augmented=False, made=True, against="cnn linear 100 epochs"
    ),
    "cnn mel": Row(("features=mel", DEV_SELDOM), against="cnn linear"),
    "cnn lfcc": Row(("features=lfcc", DEV_SELDOM), against="cnn linear"),
    "lcnn lfcc": Row(("model=lcnn", "features=lfcc", *SHORT), against="cnn linear"),
    "bimodal mel_lfcc": Row(("model=bimodal", "features=mel_lfcc", *SHORT), against="cnn linear"),
    "cnn_bilstm mel": Row(("model=cnn_bilstm", "features=mel", *SHORT), against="cnn linear"),
    "lfcc_gmm": Row(
        ("model=lfcc_gmm", "features=lfcc", "features.normalise=none", "model.n_components=64"),
        augmented=False,
        against="cnn linear",
    ),
    "critic mel": Row(FROM_SCRATCH, augmented=False),
    "critic mel, pre-trained": Row(FROM_SCRATCH, augmented=False, stage_1=GAME, against="critic mel"),
    "rawnet2": Row(("model=rawnet2", "features=raw", *SHORT), augmented=False),
}


def cells() -> dict[str, tuple[Row, tuple[str, ...]]]:
    """Rows plain and augmented, `NAME` and `NAME, augmented`, with the overrides of each."""
    found = {}
    for name, row in ROWS.items():
        found[name] = (row, row.overrides)
        if row.augmented:
            found[f"{name}, augmented"] = (row, (*row.overrides, AUGMENT))
    return found


def pairs() -> dict[str, str]:
    """What is compared with what."""
    augmented = {f"{name}, augmented": name for name, row in ROWS.items() if row.augmented}
    return augmented | {name: row.against for name, row in ROWS.items() if row.against}


@dataclass
class Runner:
    """Trains and judges, several processes at a time.

    Args:
        root: Of the corpus.
        output: Of everything.
        jobs: Processes.
        seeds: Of each row.
    """

    root: Path
    output: Path
    jobs: int
    seeds: Sequence[int]
    failed: list[str] = field(default_factory=list)
    making: threading.Lock = field(default_factory=threading.Lock)

    def folder(self, cell: str, seed: int) -> Path:
        """The run folder of one training."""
        return self.output / "runs" / cell.replace(", ", "-").replace(" ", "-") / f"seed{seed}"

    def study(self, chosen: Iterable[str]) -> None:
        """Train and judge whatever is not done yet, in order."""
        pool = ThreadPoolExecutor(self.jobs)
        try:
            futures = {(cell, seed): pool.submit(self._one, cell, seed) for cell in chosen for seed in self.seeds}
            for (cell, seed), future in futures.items():
                if error := future.exception():
                    self.failed.append(f"{cell}, seed {seed}: {error}")
        finally:
            pool.shutdown(cancel_futures=True)

    def done(self, cell: str) -> list[Path]:
        """The runs of a cell that are judged, whatever their seeds."""
        runs = self.folder(cell, 0).parent.glob("seed*")
        return sorted(run for run in runs if scores_of(run).is_file() and RunFolder(run).finished() is not None)

    def _one(self, cell: str, seed: int) -> None:
        folder = self.folder(cell, seed)
        row, overrides = cells()[cell]
        added = [*overrides, *(self._made() if row.made else ())]
        if row.stage_1:
            first = folder.with_name(f"{folder.name}-stage1")
            if not self._trained(first, [*row.stage_1, f"dataset.root={self.root}", f"seed={seed}"]):
                return
            added.append(f"init_from={first}")
        where = () if row.made else (f"dataset.root={self.root}",)
        if not self._trained(folder, ["experiment=mini_la", *added, *where, f"seed={seed}"]):
            return
        if not scores_of(folder).is_file():
            corpus = ("dataset=asvspoof2019_la", f"dataset.root={self.root}")
            self._call(
                ["evaluate.py", f"run={folder}", *corpus, "num_workers=0", "bootstrap.n=0"], folder / "evaluate.log"
            )

    def _trained(self, folder: Path, overrides: Sequence[str]) -> bool:
        if RunFolder(folder).finished() is not None:
            return True
        begun = (folder / "config.yaml").is_file()
        told = [f"resume={folder}"] if begun else [*overrides, "num_workers=0", f"hydra.run.dir={folder}"]
        seconds = self._call(["train.py", *told], folder / "study.log")
        if seconds is not None:
            with (folder / "seconds.txt").open("a") as file:
                file.write(f"{seconds:.1f}\n")
        return seconds is not None

    def _made(self) -> list[str]:
        """The overrides that add a corpus made of the bona fide training utterances, which is made if need be."""
        real, made = self.output / "train_bonafide", self.output / "made"
        with self.making:
            for u in asvspoof2019_la.utterances("train", root=str(self.root)):
                link = real / u.speaker / Path(u.path).name
                if u.label == 1 and not link.is_symlink():
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(Path(u.path).absolute())
            make_corpus(Recipe(real, made, shares=(98, 1, 1), splices=0.0, eval_only=(), workers=self.jobs))
        parts = {"la": self.root, "made": made}
        return [
            "dataset=mix",
            *(f"+dataset@dataset.parts.{name}=asvspoof2019_la" for name in parts),
            *(f"dataset.parts.{name}.root={root}" for name, root in parts.items()),
            "dataset.partitions={made: [train]}",
        ]

    def _call(self, command: Sequence[str], log: Path) -> float | None:
        """CPU seconds of a command, None where it failed."""
        log.parent.mkdir(parents=True, exist_ok=True)
        print(" ".join(command), flush=True)
        with log.open("a") as file:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            process = subprocess.Popen(
                [sys.executable, *command], cwd=REPOSITORY, stdout=file, stderr=subprocess.STDOUT, env=environment
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            self.failed.append(f"{' '.join(command)}: see {log}")
            return None
        return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description="Train, judge and compare the recipes of experiments/mini_la.")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="corpus in the ASVspoof2019 LA layout")
    parser.add_argument("--output", type=Path, default=Path("outputs/study"), help="folder of runs and tables")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, each on one thread")
    parser.add_argument("--only", nargs="*", default=[], metavar="ROW", choices=cells(), help="rows to train")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3], help="none: only tables and picture")
    arguments = parser.parse_args()
    runner = Runner(arguments.root.absolute(), arguments.output.absolute(), arguments.jobs, arguments.seeds)
    runner.study([cell for cell in cells() if cell in (arguments.only or cells())])
    print(write_tables(runner.output, {cell: runner.done(cell) for cell in cells()}, pairs()))
    for one in runner.failed:
        print(f"failed: {one}", file=sys.stderr)
    sys.exit(bool(runner.failed))


if __name__ == "__main__":
    main()
