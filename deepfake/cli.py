"""The `deepfake` command: everything that is done with detectors and run folders."""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from deepfake.commands.arguments import add_backend, add_judge_outside, add_predict_arguments
from deepfake.errors import InputError, printable, sentence
from deepfake.processes import end_on_signals
from deepfake.terminal import prepare

SCRIPTS = {  # what `train.py`, `evaluate.py` and `explain.py` do, with Hydra's arguments
    "train": "train a detector, score dev, write a report",
    "evaluate": "score a corpus, or take a score file, and write a report",
    "explain": "explain the verdict on a recording",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 done, 1 an error, 2 wrong usage, 3 some inputs were skipped."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in SCRIPTS:
        from deepfake import run

        run.installed(argv[0], argv[1:])
    if argv[:1] == ["-sc"]:
        _complete(argv)
    arguments = _parser().parse_args(argv)
    prepare()
    end_on_signals()
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("deepfake").setLevel(logging.INFO)
    try:
        return arguments.task(arguments)
    except BrokenPipeError:  # the reader has closed the pipe; what is still buffered is discarded
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Exception, KeyboardInterrupt) as error:
        if (message := sentence(error)) is None:
            raise
        print(f"error: {message}", file=sys.stderr)
    return 1


def _complete(argv: Sequence[str]) -> None:
    """Let Hydra complete the words after `deepfake train`, as its own shell functions ask for it."""
    from deepfake import run

    line = os.environ.get("COMP_LINE", "").split(maxsplit=2)
    if len(line) > 1 and line[1] in SCRIPTS:
        os.environ["COMP_LINE"] = " ".join([line[0], *line[2:]])
        os.environ["COMP_POINT"] = str(int(os.environ.get("COMP_POINT", "0")) - len(line[1]) - 1)
        run.installed(line[1], argv)


def _parser() -> argparse.ArgumentParser:
    from deepfake import CONF

    names = sorted(file.stem for file in (CONF / "published").glob("*.yaml"))
    parser = argparse.ArgumentParser(prog="deepfake", description="Detectors of spoofed speech.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, task: Callable[[argparse.Namespace], int], what: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=what)
        command.set_defaults(task=task)
        return command

    for name, what in SCRIPTS.items():
        commands.add_parser(name, help=what, add_help=False)
    command = add("fetch", _fetch, "download published weights, and make a run folder of them, or LibriSpeech")
    command.add_argument("name", choices=(*names, "librispeech"), metavar="NAME", help="of `models`, or librispeech")
    command.add_argument("--output", type=Path, help="folder to make (outputs/published/NAME, data)")
    command.add_argument("--accept-licence", action="store_true", help="that of the weights, which is shown without it")
    command.add_argument("--part", default="test-clean", help="of LibriSpeech (test-clean)")

    command = add("import", _import, "make a run folder of published weights, as their authors released them")
    command.add_argument("name", choices=names, metavar="NAME", help="of `models`; aasist takes AASIST-L too")
    command.add_argument("--weights", type=Path, required=True, metavar="FILE", help="of torch, or safetensors")
    command.add_argument("--output", type=Path, required=True, help="run folder to make")
    command.add_argument("--accept-licence", action="store_true", help="that of the weights, which is shown without it")

    add("models", _models, "the published detectors: size, licence, training data, EERs")

    add_predict_arguments(add("predict", _predict, "is this file bona fide or spoofed?"))
    _add_serve_arguments(add("serve", _serve, "answer over HTTP: a REST API on a detector"))
    command = add("app", _app, "a page for the browser: drop a recording, see the verdict and the reasons")
    command.add_argument("--run", type=Path, default=Path("outputs"), help="run folder or folder of them (outputs)")
    command.add_argument("--port", type=int, default=8501, help="at 127.0.0.1 (8501)")
    _add_corpus_arguments(add("make-corpus", _make_corpus, "spoofs of real speech, laid out as ASVspoof2019 LA is"))

    command = add("make-shards", _make_shards, "a corpus as tar archives of many recordings, for dataset=shards")
    command.add_argument("--manifest", type=Path, required=True, help="CSV (path,label,...) of the recordings")
    command.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the archives")
    command.add_argument("--megabytes", type=float, default=1000.0, help="of an archive (1000)")

    _add_speaker_commands(add)

    command = add("export", _export, "a detector as one file, from waveform to score, for other programs")
    command.add_argument("files", nargs="*", type=Path, metavar="FILE", help="recordings to compare the scores of")
    command.add_argument("--run", type=Path, help="run folder or detector.pt (the newest finished run below outputs/)")
    command.add_argument("--format", choices=("onnx", "torch_export"), default="onnx", help="(onnx)")
    command.add_argument("--output", type=Path, required=True, metavar="FILE", help="file to write")

    command = add("runs", _runs, "run folders side by side: their EERs, and the settings that differ")
    command.add_argument("folder", nargs="?", type=Path, default=Path("outputs"))

    command = add("bundle", _bundle, "pack the folder of an explained file into a ZIP file")
    command.add_argument("folder", type=Path, metavar="DIR", help="with its report.json")
    command.add_argument("--include-audio", action="store_true", help="pack the recording as well")

    command = add("verify-report", _verify_report, "is a report about this file, and is it still true?")
    command.add_argument("report", type=Path, metavar="report.json")
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--run", type=Path, help="run folder or detector.pt (that which the report names)")
    return parser


def _add_speaker_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    command = add("enroll", _enroll, "make an encrypted profile of a speaker from three to five samples")
    command.add_argument("--speaker", required=True, metavar="NAME")
    command.add_argument("--expires", type=float, metavar="DAYS", help="after which the profile is deleted (never)")
    command.add_argument("--purpose", default="", metavar="TEXT", help="what it is kept for, as `speakers list` shows")
    command.add_argument("files", nargs="+", type=Path, metavar="FILE")
    for name, what in (("identify", "which enrolled speaker is this?"), ("verify", "is this the speaker it claims?")):
        command = add(name, _compare, what)
        command.add_argument("file", type=Path, metavar="FILE")
        command.add_argument("--run", type=Path, help="run folder or detector.pt, to score spoofing beside the speaker")
        command.add_argument("--threshold", type=float, help="of the cosine, 0 to 1 (the one that was measured)")
        command.add_argument("--format", choices=("table", "json"), default="table")
        command.set_defaults(speaker=None)
    command.add_argument("--speaker", required=True, metavar="NAME", help="who it claims to be")
    command = add("speakers", _speakers, "list the enrolled speakers, or delete the profile of one")
    command.add_argument("what", choices=("list", "delete"))
    command.add_argument("speaker", nargs="?", metavar="NAME", help="whose profile to delete")


def _add_serve_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--run", type=Path, help="run folder or detector.pt (the newest finished run below outputs/)")
    command.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    command.add_argument("--port", type=int, default=5000, help="0 for a free one (5000)")
    command.add_argument("--tls", action="store_true", help="HTTPS, with a self-signed certificate that is kept")
    command.add_argument("--key-file", type=Path, metavar="FILE", help="API keys, plain or sha256:HEX, one a line")
    command.add_argument("--workers", type=int, default=1, help="processes, each with the detector (1)")
    command.add_argument("--insecure", action="store_true", help="let others in without a key or TLS")
    command.add_argument("--allow-origin", action="append", default=[], help="a page's origin that may ask (CORS)")
    command.add_argument("--max-minutes", type=float, default=120.0, help="longest recording (120)")
    add_judge_outside(command)
    command.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (auto)")
    add_backend(command)


def _add_corpus_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--bonafide", type=Path, required=True, metavar="DIR", help="DIR/SPEAKER/**, or LibriSpeech")
    command.add_argument("--output", type=Path, required=True, metavar="DIR", help="a half-made one is completed")
    command.add_argument("--seed", type=int, help="seed of all random draws (0)")
    command.add_argument("--workers", type=int, help="processes (one a core)")
    command.add_argument("--shares", type=float, nargs=3, help="of the speakers in train, dev, eval (60 20 20)")
    command.add_argument("--spoofs", type=int, help="of each recording (3)")
    command.add_argument("--eval-only", nargs="*", metavar="SYSTEM", help="systems kept for eval (A06 A07 A08)")
    command.add_argument("--splices", type=float, help="share of the recordings for partially spoofed files (0.15)")
    command.add_argument("--min-seconds", type=float, help="shorter recordings are skipped (1)")
    command.add_argument("--max-seconds", type=float, help="longer recordings are cut to this (6)")
    command.add_argument("--per-speaker", type=int, metavar="N", help="recordings to take of each speaker (all)")
    command.add_argument("--texts", type=Path, metavar="FILE", help="sentences for TTS, one a line")
    piper = "a Piper voice, VOICE.onnx.json beside it, for the program piper; can be given again"
    command.add_argument("--piper", action="append", metavar="VOICE.onnx", help=piper)
    vocoder = "a mel vocoder as ONNX, and what its spectrogram is (HiFi-GAN's); can be given again"
    command.add_argument(
        "--vocoder", action="append", dest="vocoders", metavar="FILE.onnx[:settings.json]", help=vocoder
    )


def _fetch(arguments: argparse.Namespace) -> int:
    if arguments.name == "librispeech":
        from deepfake.commands.fetch import fetch_librispeech

        output = arguments.output or Path("data")
        fetch_librispeech(arguments.part, output)
    else:
        from deepfake.runs.published import fetch

        output = arguments.output or Path("outputs/published") / arguments.name
        fetch(arguments.name, output, accepted=arguments.accept_licence)
    print(output)
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from deepfake.runs.published import import_published

    given = arguments.name, arguments.weights, arguments.output
    config = import_published(*given, accepted=arguments.accept_licence).config
    score = {"bonafide_logit": "logit 1, as published", "log_odds": "the log-odds of bona fide"}[config["score"]]
    print(f"{config['imported']['model']}: score is {score}; no threshold came with it", file=sys.stderr)
    print(arguments.output)
    return 0


def _models(arguments: argparse.Namespace) -> int:
    from deepfake.commands.models import published
    from deepfake.terminal import show

    show(published(), stdout=True)
    return 0


def _newest_run() -> Path:
    """The run to use where none is named."""
    from deepfake.runs.folder import RunFolder

    if (newest := RunFolder.newest(Path("outputs"))) is None:
        raise InputError(
            "there is no finished run below outputs/: give --run RUN, train one with `deepfake train`, or download "
            "published weights with `deepfake fetch aasist`"
        )
    print(f"run: {printable(str(newest.path))}", file=sys.stderr)
    return newest.path


def _predict(arguments: argparse.Namespace) -> int:
    from deepfake.allocator import keep_freed_memory
    from deepfake.commands.live import live_settings, predict_live
    from deepfake.commands.predict import audio_files, device_for, predict

    if (settings := live_settings(vars(arguments))) is not None:
        keep_freed_memory()
        device = device_for(arguments.backend, arguments.device)
        predict_live(arguments.run or _newest_run(), device=device, **settings)
        return 0
    paths = audio_files(arguments.inputs, arguments.manifest)
    if arguments.random:
        paths = [random.choice(paths)]
    keep_freed_memory()
    device = device_for(arguments.backend, arguments.device)
    how = {"clips": arguments.clips, "form": arguments.format, "output": arguments.output}
    how |= {"backend": arguments.backend, "judge_outside": arguments.judge_outside}
    bad = predict(arguments.run or _newest_run(), paths, device=device, **how)
    if arguments.output:
        print(arguments.output)
    return 3 if bad else 0


def _enroll(arguments: argparse.Namespace) -> int:
    from deepfake.commands.speakers import enroll
    from deepfake.speakers.profiles import Profiles

    print(enroll(arguments.speaker, arguments.files, Profiles(), days=arguments.expires, purpose=arguments.purpose))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from deepfake.commands.speakers import compare, show_comparison
    from deepfake.speakers.profiles import Profiles

    profiles = Profiles()
    known = list(profiles) if arguments.speaker is None else [profiles.get(arguments.speaker)]
    found = compare(arguments.file, known, threshold=arguments.threshold, run=arguments.run)
    show_comparison(found, arguments.format)
    return 0


def _speakers(arguments: argparse.Namespace) -> int:
    from deepfake.commands.speakers import show_speakers
    from deepfake.speakers.profiles import Profiles

    if (arguments.what == "delete") != (arguments.speaker is not None):
        raise InputError("speakers: `list`, or `delete NAME`, was expected")
    if arguments.what == "list":
        show_speakers(Profiles())
    else:
        Profiles().delete(arguments.speaker)
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from deepfake.allocator import keep_freed_memory

    try:
        from deepfake.serve.server import serve
        from deepfake.serve.service import Settings
    except ModuleNotFoundError as error:
        raise InputError(f'{error.name} is not installed: pip install "deepfake[serve]"') from error
    keep_freed_memory()
    settings = Settings(
        run=arguments.run or _newest_run(),
        device=arguments.device,
        max_minutes=arguments.max_minutes,
        key_file=arguments.key_file,
        allow_origins=tuple(arguments.allow_origin),
        backend=arguments.backend,
        judge_outside=arguments.judge_outside,
    )
    where = {"host": arguments.host, "port": arguments.port, "secure": arguments.tls}
    serve(settings, **where, workers=arguments.workers, insecure=arguments.insecure)
    return 0


def _app(arguments: argparse.Namespace) -> int:

    try:
        from deepfake.app.server import run
    except ModuleNotFoundError as error:
        raise InputError(f'{error.name} is not installed: pip install "deepfake[app]"') from error
    run(arguments.run, arguments.port)
    return 0


def _make_corpus(arguments: argparse.Namespace) -> int:
    from deepfake.synthesis.make import make_corpus
    from deepfake.synthesis.plan import Recipe

    given = {name: value for name, value in vars(arguments).items() if name != "task" and value is not None}
    done = make_corpus(Recipe(**given))
    for name, needs in done.absent.items():
        print(f"{name} is not in the corpus ({needs} is not installed)", file=sys.stderr)
    if done.left_out:
        first = next(iter(done.left_out.values()))
        print(f"{len(done.left_out)} files skipped, see left_out.csv; the first: {printable(first)}", file=sys.stderr)
    for partition, counts in done.counts.items():
        print(f"{partition}: {', '.join(f'{name} {n}' for name, n in counts.items())}", file=sys.stderr)
    print("no ASV scores are made, so there is no t-DCF", file=sys.stderr)
    print(arguments.output)
    return 3 if done.left_out else 0


def _export(arguments: argparse.Namespace) -> int:
    from deepfake.commands.export import export_run

    export_run(arguments.run or _newest_run(), arguments.format, arguments.output, arguments.files)
    print(arguments.output)
    return 0


def _runs(arguments: argparse.Namespace) -> int:
    from deepfake.runs.compare import table
    from deepfake.terminal import show

    show(table(arguments.folder), stdout=True)
    return 0


def _make_shards(arguments: argparse.Namespace) -> int:
    from deepfake.datasets.manifest import rows
    from deepfake.datasets.shards import write_shards
    from deepfake.datasets.utterance import disambiguated, unique

    if arguments.megabytes <= 0:
        raise InputError(f"--megabytes {arguments.megabytes:g}: a size above 0 was expected")
    utterances = unique(disambiguated(rows(arguments.manifest)), str(arguments.manifest))
    n_archives = write_shards(utterances, arguments.output, megabytes=arguments.megabytes)
    print(f"{len(utterances):,} recordings in {n_archives:,} archives", file=sys.stderr)
    print(arguments.output)
    return 0


def _bundle(arguments: argparse.Namespace) -> int:
    from deepfake.forensics.bundle import bundle

    print(bundle(arguments.folder, include_audio=arguments.include_audio))
    return 0


def _verify_report(arguments: argparse.Namespace) -> int:
    from deepfake.forensics.verify import TOLERANCE, verify

    mismatches = verify(arguments.report, arguments.file, detector=arguments.run)
    for mismatch in mismatches:
        print(f"mismatch: {printable(mismatch)}", file=sys.stderr)
    if not mismatches:
        agree = f"hashes, detector, score (to {TOLERANCE:g}) and words are those of"
        print(printable(f"{arguments.file}: {agree} {arguments.report}"))
    return 1 if mismatches else 0
