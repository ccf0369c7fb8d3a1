"""The `deepfake` command: what is done with detectors and run folders outside training."""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepfake.errors import InputError, sentence

SCRIPTS = {  # what `train.py`, `evaluate.py` and `explain.py` do, with Hydra's arguments
    "train": "train a detector, score dev, write a report",
    "evaluate": "score a corpus, or take a score file, and write a report",
    "explain": "explain the verdict on a recording",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 done, 1 an error, 2 wrong usage, 3 some inputs were passed over."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in SCRIPTS:
        from deepfake import run

        run.installed(argv[0], argv[1:])
    if argv[:1] == ["-sc"]:
        _complete(argv)
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("deepfake").setLevel(logging.INFO)
    try:
        return arguments.task(arguments)
    except BrokenPipeError:  # who read the output has seen enough; what is still buffered goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Exception, KeyboardInterrupt) as error:
        if (told := sentence(error)) is None:
            raise
        print(f"error: {told}", file=sys.stderr)
    return 1


def _complete(argv: Sequence[str]) -> None:
    """Let Hydra complete what is being typed after `deepfake train`, as its own shell functions ask for it."""
    from deepfake import run

    line = os.environ.get("COMP_LINE", "").split(maxsplit=2)
    if len(line) > 1 and line[1] in SCRIPTS:
        os.environ["COMP_LINE"] = " ".join([line[0], *line[2:]])
        os.environ["COMP_POINT"] = str(int(os.environ.get("COMP_POINT", "0")) - len(line[1]) - 1)
        run.installed(line[1], argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deepfake", description="Detectors of spoofed speech.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, what in SCRIPTS.items():
        commands.add_parser(name, help=what, add_help=False)

    command = commands.add_parser("fetch", help="bring published weights and make a run folder of them")
    command.add_argument("name", choices=("aasist", "aasist_l"))
    command.add_argument("--output", type=Path, help="run folder (outputs/published/NAME)")
    command.set_defaults(task=_fetch)

    command = commands.add_parser("import", help="make a run folder of the authors' AASIST or AASIST-L weights")
    command.add_argument("kind", choices=("aasist",))
    command.add_argument("--weights", type=Path, required=True, help="AASIST.pth or AASIST-L.pth")
    command.add_argument("--output", type=Path, required=True, help="run folder to make")
    command.set_defaults(task=_import)

    command = commands.add_parser("predict", help="is this file bona fide or spoofed?")
    command.add_argument("inputs", nargs="*", type=Path, metavar="FILE_OR_FOLDER")
    command.add_argument("--run", type=Path, help="run folder or detector.pt (the newest finished run below outputs/)")
    command.add_argument("--format", choices=("table", "json", "csv"), default="table")
    command.add_argument(
        "--clips",
        choices=("whole", "first"),
        default="whole",
        help="score a file from beginning to end (whole), or its first clip, as challenges do",
    )
    command.add_argument("--manifest", type=Path, help="score the files that a CSV (path,label,...) lists")
    command.add_argument("--random", action="store_true", help="score only one of the files, picked at random")
    command.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (auto)")
    command.set_defaults(task=_predict)

    command = commands.add_parser("make-corpus", help="spoofs of real speech, laid out as ASVspoof2019 LA is")
    command.add_argument("--bonafide", type=Path, required=True, metavar="DIR", help="DIR/SPEAKER/**, or LibriSpeech")
    command.add_argument("--output", type=Path, required=True, metavar="DIR", help="a half-made one is completed")
    command.add_argument("--seed", type=int, help="of everything drawn (0)")
    command.add_argument("--workers", type=int, help="processes (one a core)")
    command.add_argument("--shares", type=float, nargs=3, help="of the speakers in train, dev, eval (60 20 20)")
    command.add_argument("--spoofs", type=int, help="of each recording (3)")
    command.add_argument("--eval-only", nargs="*", metavar="SYSTEM", help="systems kept for eval (A06 A07 A08)")
    command.add_argument("--splices", type=float, help="share of the recordings for partially spoofed files (0.15)")
    command.add_argument("--min-seconds", type=float, help="shorter recordings are left out (1)")
    command.add_argument("--max-seconds", type=float, help="of longer recordings a part is taken (6)")
    command.add_argument("--per-speaker", type=int, metavar="N", help="recordings to take of each speaker (all)")
    command.add_argument("--texts", type=Path, metavar="FILE", help="sentences for TTS, one a line")
    command.set_defaults(task=_make_corpus)

    command = commands.add_parser("runs", help="run folders side by side: what differed, what came out")
    command.add_argument("folder", nargs="?", type=Path, default=Path("outputs"))
    command.set_defaults(task=_runs)

    command = commands.add_parser("bundle", help="pack the folder of an explained file into a ZIP file")
    command.add_argument("folder", type=Path, metavar="DIR", help="with its report.json")
    command.add_argument("--include-audio", action="store_true", help="pack the recording as well")
    command.set_defaults(task=_bundle)

    command = commands.add_parser("verify-report", help="does a report speak of this file, and is it still true?")
    command.add_argument("report", type=Path, metavar="report.json")
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--run", type=Path, help="run folder or detector.pt (that which the report names)")
    command.set_defaults(task=_verify_report)
    return parser


def _fetch(arguments: argparse.Namespace) -> int:
    from deepfake.runs.published import fetch

    output = arguments.output or Path("outputs/published") / arguments.name
    fetch(arguments.name, output)
    print(output)
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from deepfake.runs.published import import_aasist

    detector = import_aasist(arguments.weights, arguments.output)
    print(
        f"{detector.config['imported']['model']}: score is logit 1, as published; no threshold came with it",
        file=sys.stderr,
    )
    print(arguments.output)
    return 0


def _newest_run() -> Path:
    """The run that is meant where none is named."""
    from deepfake.runs.folder import RunFolder

    if (newest := RunFolder.newest(Path("outputs"))) is None:
        raise InputError(
            "there is no finished run below outputs/: give --run RUN, train one with `deepfake train`, or bring "
            "published weights with `deepfake fetch aasist`"
        )
    print(f"run: {newest.path}", file=sys.stderr)
    return newest.path


def _predict(arguments: argparse.Namespace) -> int:
    from deepfake.allocator import keep_freed_memory
    from deepfake.commands.predict import files, predict
    from deepfake.scores.compute import device_of

    paths = files(arguments.inputs, arguments.manifest)
    if arguments.random:
        paths = [random.choice(paths)]
    keep_freed_memory()
    device = device_of(arguments.device)
    detector, rows = predict(arguments.run or _newest_run(), paths, clips=arguments.clips, device=device)
    _FORMATS[arguments.format](rows, detector)
    return 3 if any("error" in row for row in rows) else 0


def _json(rows: list[dict[str, Any]], _: Any) -> None:
    print(json.dumps(rows, indent=2, ensure_ascii=False))


_COLUMNS = ["file", "score", "p_fake", "verdict", "calibrated", "log10_lr_spoof", "capped"]
_COLUMNS += ["seconds", "scored_seconds", "cautions", "error"]


def _csv(rows: list[dict[str, Any]], _: Any) -> None:
    writer = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        plain = {k: str(v).lower() if isinstance(v, bool) else v for k, v in row.items()}
        writer.writerow({**plain, "cautions": " ".join(row.get("cautions", []))})


def _table(rows: list[dict[str, Any]], detector: Any) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    caption = f"threshold {detector.threshold:.4g} ({detector.config['threshold']['source']})"
    columns = ["file", "score", "p_fake", "verdict", "seconds", "cautions"]
    if (n := detector.calibration) is None:
        caption = f"calibrated: false; {caption}"
    else:
        caption = (
            f"calibrated: true; {caption}. p_fake is the probability at even prior odds; log10 LR that of spoof "
            f"against bona fide, fitted on {detector.config['calibration']['source']} ({n.n_bonafide} bona fide, "
            f"{n.n_spoof} spoof). An asterisk: capped to what these support."
        )
        columns.insert(3, "log10 LR")
    table = Table(caption=escape(caption))
    for heading in columns:
        left = heading in ("file", "verdict", "cautions")
        wraps = heading in ("file", "cautions")
        table.add_column(heading, justify="left" if left else "right", overflow="fold", no_wrap=not wraps)
    for row in rows:
        if "error" in row:
            table.add_row(escape(row["file"]), *[""] * (len(columns) - 2), f"[red]error:[/] {escape(row['error'])}")
            continue
        cells = {key: f"{row[key]:.4f}" for key in ("score", "p_fake")} | {"verdict": row["verdict"]}
        if "log10_lr_spoof" in row:
            cells["log10 LR"] = f"{row['log10_lr_spoof']:.2f}{'*' if row['capped'] else ''}"
        some = row["scored_seconds"] < row["seconds"]
        cells["seconds"] = f"{row['scored_seconds']:.1f} of {row['seconds']:.1f}" if some else f"{row['seconds']:.1f}"
        cells["cautions"] = " ".join(
            name for name in row["cautions"] if name != "not_calibrated"
        )  # as the caption says
        table.add_row(escape(row["file"]), *(cells[name] for name in columns[1:]))
    Console().print(table)


_FORMATS = {"json": _json, "csv": _csv, "table": _table}


def _make_corpus(arguments: argparse.Namespace) -> int:
    from deepfake.synthesis.make import make_corpus
    from deepfake.synthesis.plan import Recipe

    given = {name: value for name, value in vars(arguments).items() if name != "task" and value is not None}
    done = make_corpus(Recipe(**given))
    for name, needs in done.absent.items():
        print(f"{name} is not in the corpus ({needs} is not installed)", file=sys.stderr)
    if done.left_out:
        first = next(iter(done.left_out.values()))
        print(f"{len(done.left_out)} files left out, see left_out.csv; the first: {first}", file=sys.stderr)
    for partition, counts in done.counts.items():
        print(f"{partition}: {', '.join(f'{name} {n}' for name, n in counts.items())}", file=sys.stderr)
    print("no ASV scores are made, so there is no t-DCF", file=sys.stderr)
    print(arguments.output)
    return 3 if done.left_out else 0


def _runs(arguments: argparse.Namespace) -> int:
    from deepfake.runs.compare import table
    from deepfake.terminal import show

    show(table(arguments.folder), stdout=True)
    return 0


def _bundle(arguments: argparse.Namespace) -> int:
    from deepfake.forensics.bundle import bundle

    print(bundle(arguments.folder, include_audio=arguments.include_audio))
    return 0


def _verify_report(arguments: argparse.Namespace) -> int:
    from deepfake.forensics.verify import TOLERANCE, verify

    mismatches = verify(arguments.report, arguments.file, detector=arguments.run)
    for mismatch in mismatches:
        print(f"mismatch: {mismatch}", file=sys.stderr)
    if not mismatches:
        print(f"{arguments.file}: hashes, detector, score (to {TOLERANCE:g}) and words are those of {arguments.report}")
    return 1 if mismatches else 0
