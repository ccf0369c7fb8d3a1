"""The arguments of `deepfake predict`, and those that `deepfake serve` shares with it."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_predict_arguments(command: argparse.ArgumentParser) -> None:
    """Those of `deepfake predict`."""
    inputs = "- reads audio from standard input, and prints a line for each hop while it comes"
    command.add_argument("inputs", nargs="*", type=Path, metavar="FILE_OR_FOLDER", help=inputs)
    command.add_argument("--run", type=Path, help="run folder or detector.pt (the newest finished run below outputs/)")
    command.add_argument("--format", choices=("table", "json", "csv"), default="table")
    command.add_argument("--hop", type=float, metavar="SECONDS", help="of standard input, between lines (half a clip)")
    command.add_argument("--raw-rate", type=int, metavar="HZ", help="standard input has samples, and no WAV header")
    command.add_argument("--raw-format", choices=("s16le", "f32le"), help="of these samples (s16le)")
    command.add_argument("--raw-channels", type=int, metavar="N", help="of these samples (1)")
    output = "write a row of each file into FILE as it comes, CSV or (*.json, --format json) JSON, and print FILE; the "
    output += "same command goes on with one that was interrupted; FILE.settings.json names the detector"
    command.add_argument("--output", type=Path, metavar="FILE", help=output)
    clips = "score a file from beginning to end (whole), or its first clip, as challenges do"
    command.add_argument("--clips", choices=("whole", "first"), default="whole", help=clips)
    command.add_argument("--manifest", type=Path, help="score the files that a CSV (path,label,...) lists")
    command.add_argument("--random", action="store_true", help="score only one of the files, drawn at random")
    command.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (auto)")
    add_judge_outside(command)
    add_backend(command)


def add_backend(command: argparse.ArgumentParser) -> None:
    """What computes the scores."""
    backend = "onnx: ONNX Runtime on the CPU, from RUN/detector.onnx, which is made on first use (torch)"
    command.add_argument("--backend", choices=("torch", "onnx"), default="torch", help=backend)


def add_judge_outside(command: argparse.ArgumentParser) -> None:
    """Whether there are verdicts outside the detector's domain."""
    judge = "a verdict on recordings outside the speech that the detector was made for too, with a caution"
    command.add_argument("--judge-outside", action="store_true", help=judge)
