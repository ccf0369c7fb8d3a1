"""Does the project work on a GPU, and what is gained there: `python experiments/benchmarks/gpu.py [--output DIR]`.

First the checks, several at a time: each model and front end on the GPU against the CPU, one training step of each in
every precision, and the commands on the demo corpus, each in a process of its own. Then the timings, one at a time
(`gpu_networks.py`), for which at least a third of the budget is kept. `gpu.json` and `gpu.md` are written anew whenever
a process ends. What does not fit into the budget is named in `skipped`. The exit code is 1 where a check failed.

Without a GPU, or with `--tiny`, it runs on the CPU, small, without what only a GPU has: a rehearsal.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
CLI = [sys.executable, "-c", "import sys; from deepfake.cli import main; sys.exit(main())"]
TAIL = 40  # lines of stderr that are kept of what failed


@dataclass(frozen=True)
class Job:
    """One process.

    Args:
        command: With its arguments.
        needs: Names of jobs that must have ended well before.
        says: What must be in its output.
        kill_at: When this file appears, the process is killed, as is wanted.
        check: Whether the project is wrong where it fails; else a measurement is missing, no more.
    """

    command: list[str]
    needs: tuple[str, ...] = ()
    says: str = ""
    kill_at: Path | None = None
    check: bool = True


def script(name: str, *arguments: str) -> list[str]:
    """The command of one of the project's scripts."""
    return [sys.executable, str(REPOSITORY / f"{name}.py"), *arguments]


def networks(*arguments: str) -> list[str]:
    """The command of a section of `gpu_networks.py`."""
    return [sys.executable, str(HERE / "gpu_networks.py"), *arguments]


class Plan:
    """The jobs: what runs, with what sizes, in which folder.

    Args:
        work: For the corpus and the runs.
        tiny: The rehearsal on a CPU.
    """

    def __init__(self, work: Path, tiny: bool) -> None:
        self.work, self.tiny = work, tiny
        self.device = "cpu" if tiny else "cuda"
        self.corpus = ["dataset=demo", f"dataset.root={work / 'demo'}", f"dataset.n_utterances={24 if tiny else 300}"]
        self.size = ["seconds=1", "batch_size=4", "num_workers=0", "trainer.accelerator=cpu"] if tiny else []
        self.epochs = 2 if tiny else 12

    def train(self, run: str, *overrides: str, epochs: int | None = None) -> list[str]:
        """A training with the run folder `run`."""
        epochs = min(self.epochs, epochs or self.epochs)
        given = [*self.corpus, *self.size, f"trainer.max_epochs={epochs}", f"hydra.run.dir={self.work / run}"]
        return script("train", *given, *overrides)

    def evaluate(self, run: str, device: str) -> list[str]:
        """Eval scores of a run, in `<run>-<device>`."""
        folder = f"output={self.work / f'{run}-{device}'}"
        return script("evaluate", f"run={self.work / run}", f"device={device}", folder, "num_workers=0")

    def checks(self) -> dict[str, Job]:
        """Name to job, what is needed before what needs it."""
        work, tiny = self.work, ["--tiny"] if self.tiny else []
        aasist = ["model=aasist"] + (["model.channels=[3,3,4,4,4,4]", "model.graph_dims=[4,4]"] if self.tiny else [])
        critic = ["model.channels=[8,8,8]", "task.generator_channels=[8,8,8]"] if self.tiny else []
        gmm = ["model=lfcc_gmm", f"model.n_components={4 if self.tiny else 64}"]
        shallow = ["features.weights=random", "features.n_layers=2", "features.freeze=none"]
        exact = "trainer.deterministic=true"
        jobs = {
            "corpus": Job(script("train", *self.corpus, "check=true")),
            "models and front ends": Job(networks("checks", *tiny)),
        }
        trainings = {
            "aasist": [*aasist],
            "aasist-bf16": [*aasist, "trainer.precision=bf16-mixed"],
            "cnn": ["model=cnn"],
            "cnn-bf16": ["model=cnn", "trainer.precision=bf16-mixed"],
            "xlsr-bf16": ["model=ssl_linear", *shallow, "trainer.precision=bf16-mixed"],
            "cnn-16": ["model=cnn", "trainer.precision=16-mixed"],
        }
        for run, overrides in trainings.items():
            jobs[f"train {run}"] = Job(self.train(run, *overrides), ("corpus",))
        for run in trainings:
            for device in dict.fromkeys([self.device, "cpu"]) if run in ("aasist", "cnn") else [self.device]:
                jobs[f"evaluate {run} on {device}"] = Job(self.evaluate(run, device), (f"train {run}",))
        last = work / "killed" / "checkpoints" / "last.ckpt"
        run, speech = f"run={work / 'cnn'}", str(eval_file(work / "demo"))
        explained = work / "explained" / Path(speech).stem / "report.json"
        resume = script("train", f"resume={work / 'cnn'}"), ("train cnn",), "finished already"
        return jobs | {
            "train deterministic": Job(self.train("exact", "model=cnn", exact, epochs=4), ("corpus",)),
            "train, killed": Job(self.train("killed", "model=cnn", exact, epochs=4), ("corpus",), kill_at=last),
            "resume the killed": Job(script("train", f"resume={work / 'killed'}"), ("train, killed",)),
            "resume what is finished": Job(*resume),
            "train localisation": Job(
                self.train("frames", "task=localisation", "model=frame_cnn", "monitor=frame_eer", epochs=2), ("corpus",)
            ),
            "train wgan_gp": Job(
                self.train("critic", "experiment=wgan_gp_pretrain", *critic, epochs=2), ("corpus",)
            ),
            "train lfcc_gmm": Job(self.train("gmm", *gmm), ("corpus",)),
            "train lfcc_gmm on the CPU": Job(self.train("gmm-cpu", *gmm, "trainer.accelerator=cpu"), ("corpus",)),
            "explain": Job(script("explain", run, f"input={speech}", f"output={work / 'explained'}"), ("train cnn",)),
            "verify-report on the CPU": Job([*CLI, "verify-report", str(explained), speech], ("explain",)),
            "predict": Job(
                [*CLI, "predict", speech, "--run", str(work / "aasist"), "--device", self.device, "--format", "csv"],
                ("train aasist",),
            ),
        }  # fmt: skip

    def timings(self) -> dict[str, Job]:
        """Name to job, in order of importance."""
        if self.tiny:
            sections = ("inference", "training", "compiled", "self_supervised")
            return {what: Job(networks(what, "--tiny"), check=False) for what in sections}
        jobs = {
            f"{what} {model}": Job(networks(what, "--model", model), check=False)
            for model, whats in {"aasist": ("training", "graph", "inference"), "cnn": ("training", "inference")}.items()
            for what in whats
        }
        jobs["self-supervised"] = Job(networks("self_supervised"), check=False)
        run = "aasist-4-workers"
        keys = f"_target_: lightning.pytorch.profilers.SimpleProfiler, filename: profile, dirpath: {self.work / run}"
        overrides = ["model=aasist", "num_workers=4", f"+trainer.profiler={{{keys}}}"]
        command = self.train(run, *overrides, "trainer.precision=bf16-mixed", epochs=4)
        jobs[f"loader {run}"] = Job(command, ("corpus",), check=False)
        return jobs | {"compiled aasist": Job(networks("compiled", "--model", "aasist"), check=False)}

    def compared(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """Checks over the runs of several jobs, by name."""
        work, device = self.work, self.device

        def on_cpu(run: str) -> dict[str, Any]:
            return difference(*(work / f"{run}-{d}" / "scores.csv" for d in (device, "cpu")), limit=1e-2)

        def dev(a: str, b: str, limit: float) -> dict[str, Any]:
            return difference(*(work / run / "scores" / "dev.csv" for run in (a, b)), limit=limit)

        def rates(run: str, mixed: str) -> dict[str, Any]:
            return overlap(*(work / f"{r}-{device}" / "metrics.json" for r in (run, mixed)))

        return {
            f"eval scores of aasist, {device} and CPU": lambda: on_cpu("aasist"),
            f"eval scores of cnn, {device} and CPU": lambda: on_cpu("cnn"),
            "eval EER of aasist, float32 and bf16-mixed": lambda: rates("aasist", "aasist-bf16"),
            "eval EER of cnn, float32 and bf16-mixed": lambda: rates("cnn", "cnn-bf16"),
            "eval EER of cnn, float32 and 16-mixed": lambda: rates("cnn", "cnn-16"),
            "dev scores, killed and resumed, and uninterrupted, deterministic": lambda: dev("killed", "exact", 0.0),
            "dev scores of lfcc_gmm, fitted on device and on CPU": lambda: dev("gmm", "gmm-cpu", 1e-2),
        }


def eval_file(root: Path) -> Path:
    """An eval file of the demo corpus, whether it is made already or not."""
    return root / "ASVspoof2019_LA_eval" / "flac" / "LA_E_1000001.flac"


def difference(a: Path, b: Path, *, limit: float) -> dict[str, Any]:
    """Greatest difference of two score files, also as a share of the spread of the second, which `limit` is of."""
    x, y = ({row["utterance"]: float(row["score"]) for row in csv.DictReader(p.open())} for p in (a, b))
    found = max(abs(x[name] - y[name]) for name in x.keys() | y.keys())
    share = found / (max(y.values()) - min(y.values()))
    return {"ok": share <= limit, "difference": found, "share_of_spread": share, "limit": limit}


def overlap(a: Path, b: Path) -> dict[str, Any]:
    """Two EERs, and whether their bootstrap intervals overlap."""
    x, y = (json.loads(path.read_text(encoding="utf-8")) for path in (a, b))
    (low, high), (from_, to) = x["ci"]["eer"], y["ci"]["eer"]
    return {"ok": from_ <= high and low <= to, "eers": [x["eer"], y["eer"]], "intervals": [[low, high], [from_, to]]}


def waiting(profile: Path) -> dict[str, Any]:
    """The share of a training's steps that was spent waiting for the loader, from Lightning's simple profiler."""
    rows = [[cell.strip() for cell in line.split("|")] for line in profile.read_text().splitlines() if "|" in line]
    totals = {row[1].rpartition(".")[2]: (int(row[3]), float(row[4])) for row in rows if row[2:3] and is_number(row[2])}
    (n, loading), (_, stepping) = totals["train_dataloader_next"], totals["run_training_batch"]
    return {"waiting_share": loading / (loading + stepping), "steps": n, "ms": 1000 * stepping / n}


def is_number(text: str) -> bool:
    """Whether it reads as one."""
    return text.replace(".", "", 1).isdigit()


@dataclass
class Bench:
    """Runs jobs and records their results.

    Attributes:
        output: Folder of `gpu.json` and `gpu.md`.
        work: For the output of processes.
        until: Time of the clock at which the budget ends.
        rows: One for each job and for each thing that was measured.
        skipped: Jobs for which there was no time, or whose needs failed.
    """

    output: Path
    work: Path
    until: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def run_all(self, jobs: Mapping[str, Job], workers: int) -> None:
        """So many jobs at a time, in order, each after those that it needs."""
        threads = max(1, (os.cpu_count() or 1) // workers)
        done = {row["name"]: row["ok"] for row in self.rows if row["section"] == "processes"}
        ended = {name: threading.Event() for name in jobs}

        def one(name: str, job: Job) -> None:
            for need in job.needs:
                if need in ended:
                    ended[need].wait()
            try:
                if time.monotonic() > self.until - 5 or not all(done.get(need) for need in job.needs):
                    self.skipped.append(name)
                    print(f"skipped: {name}", flush=True)
                else:
                    done[name] = self.run(name, job, threads)
            finally:
                ended[name].set()

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(one, jobs, jobs.values()))

    def run(self, name: str, job: Job, threads: int) -> bool:
        """Run one process; whether it ended as it should."""
        out, err = (self.work / f"{name.replace(' ', '_')}.{stream}" for stream in ("out", "err"))
        begun = time.monotonic()
        path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": path}
        with out.open("w") as o, err.open("w") as e:
            process = subprocess.Popen(job.command, cwd=REPOSITORY, stdout=o, stderr=e, env=environment)
            killed = ""
            while process.poll() is None:
                if time.monotonic() > self.until:
                    killed = "the budget ended"
                elif job.kill_at and job.kill_at.is_file():
                    killed = "as wanted"
                if killed:
                    process.kill()
                time.sleep(0.1)
        wanted = killed == "as wanted" if job.kill_at else process.returncode == 0
        said = out.read_text() + err.read_text()
        ok = wanted and job.says in said
        row = {"section": "processes", "name": name, "ok": ok, "seconds": time.monotonic() - begun}
        if not ok:
            row |= {"check": job.check and killed != "the budget ended", "code": process.returncode, "killed": killed}
            row |= {"command": job.command, "stderr": "\n".join(err.read_text().splitlines()[-TAIL:])}
        if killed == "the budget ended":
            self.skipped.append(f"{name} (cut off)")
        lines = out.read_text().splitlines() if str(HERE / "gpu_networks.py") in job.command else []
        self.add(row, *(json.loads(line) for line in lines if line.startswith("{")))
        return ok

    def compare(self, name: str, section: str, found: Callable[[], dict[str, Any]]) -> None:
        """One row from the outputs of several jobs."""
        try:
            row = found()
        except (OSError, KeyError, ValueError, ZeroDivisionError) as error:
            row = {"ok": None, "error": f"{type(error).__name__}: {error}"}
        self.add({"section": section, "name": name, **row})

    def add(self, *rows: dict[str, Any]) -> None:
        """Print rows, and write all that there are."""
        with self.lock:
            for row in rows:
                self.rows.append(row)
                print(
                    " ".join(f"{key}={shown(value)[-300:]}" for key, value in row.items() if key != "command"),
                    flush=True,
                )
            self.output.mkdir(parents=True, exist_ok=True)
            state = {"failed": self.failed(), "skipped": self.skipped, "rows": self.rows}
            (self.output / "gpu.json").write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
            (self.output / "gpu.md").write_text(self.markdown(), encoding="utf-8")

    def failed(self) -> list[str]:
        """Names of the checks that failed."""
        return [f"{r['section']}: {r['name']}" for r in self.rows if r.get("ok") is False and r.get("check", True)]

    def markdown(self) -> str:
        """A table for each section, after what failed and what was skipped."""
        text = f"failed: {'; '.join(self.failed()) or 'nothing'}\n\nskipped: {'; '.join(self.skipped) or 'nothing'}\n"
        for section, group in groupby(sorted(self.rows, key=lambda r: r["section"]), key=lambda r: r["section"]):
            rows = list(group)
            keys = [k for k in dict.fromkeys(k for r in rows for k in r) if k not in ("section", "command", "stderr")]
            text += f"\n## {section}\n\n| {' | '.join(keys)} |\n|{'---|' * len(keys)}\n"
            text += "".join(f"| {' | '.join(shown(r.get(k, '')) for k in keys)} |\n" for r in rows)
        return text


def shown(value: Any) -> str:
    """A value as a table has it."""
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("\n", " ").replace("|", "/")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--output", type=Path, default=REPOSITORY / "outputs" / "benchmarks" / "gpu")
    parser.add_argument("--budget-seconds", type=float, default=280)
    parser.add_argument("--tiny", action="store_true", default=not torch.cuda.is_available())
    arguments = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(Path(folder), arguments.tiny)
        bench = Bench(arguments.output, plan.work, begun + arguments.budget_seconds * 2 / 3)
        bench.run_all(plan.checks(), workers=2 if arguments.tiny else 10)
        for name, found in plan.compared().items():
            bench.compare(name, "comparisons", found)
        bench.until = begun + arguments.budget_seconds
        bench.run_all(plan.timings(), workers=1)
        for profile in sorted(plan.work.glob("*-workers/fit-profile.txt")):
            bench.compare(profile.parent.name, "loader", lambda profile=profile: waiting(profile))
    failed = bench.failed()
    print(f"{time.monotonic() - begun:.0f} s; failed: {failed or 'nothing'}; skipped: {bench.skipped or 'nothing'}")
    print(arguments.output)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
