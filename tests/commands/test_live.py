"""Audio through standard input: lines while it comes, and at its end what is said of it as a file."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from small_detectors import small
from sounds import encode, speech
from tiny import REPOSITORY

from deepfake.audio.pcm import wav_header
from deepfake.cli import main
from deepfake.commands import live
from deepfake.detector import Detector
from deepfake.localisation.scan import scan

STREAMED = b"\xff\xff\xff\xff"
JUDGED = ["--device", "cpu", "--format", "json", "--run"]
MAIN = "import sys; from deepfake.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder that holds a small detector of clips of half a second, and nothing else."""
    folder = tmp_path_factory.mktemp("live")
    small("cnn", "mel").save(folder / "detector.pt")
    return folder


@contextmanager
def stdin_is(descriptor):
    kept = os.dup(0)
    os.dup2(descriptor, 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def judged(run, data, tmp_path, capsys, *arguments):
    """Exit code, standard output and standard error of `deepfake predict -` on these bytes."""
    (tmp_path / "input").write_bytes(data)
    with (tmp_path / "input").open("rb") as file, stdin_is(file.fileno()):
        code = main(["predict", "-", "--run", str(run), "--device", "cpu", *arguments])
    return code, *capsys.readouterr()


def of_file(run, data, tmp_path, capsys, *arguments):
    """What `deepfake predict FILE` says of the same bytes."""
    (tmp_path / "file.wav").write_bytes(data)
    command = ["predict", str(tmp_path / "file.wav"), *JUDGED, str(run), *arguments]
    assert main(command) == 0
    return {**json.loads(capsys.readouterr().out)[0], "file": "-"}


def streamed(data):
    """The WAV as a program writes it that does not know how long it will be."""
    return data[:4] + STREAMED + data[8:40] + STREAMED + data[44:]


@contextmanager
def living(run, *arguments):
    command = [sys.executable, "-c", MAIN, "predict", "-", *JUDGED, str(run), *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, bufsize=0, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process):
    """The next line of its standard output, read byte by byte so that nothing of the others is lost."""
    text = b""
    while not text.endswith(b"\n"):
        byte = os.read(process.stdout.fileno(), 1)
        assert byte, process.stderr.read()
        text += byte
    return json.loads(text)


def test_lines_come_before_the_input_ends_and_the_verdict_is_that_of_the_file(run, tmp_path, capsys):
    data = encode(speech(3.3), subtype="PCM_16")
    expected = of_file(run, data, tmp_path, capsys)
    with living(run) as process:
        sent = 44 + 2 * 8_001  # a clip and one sample more
        process.stdin.write(streamed(data)[:sent])
        rows = [line_of(process)]
        assert (rows[0]["start"], rows[0]["end"]) == (0.0, 0.5)
        process.stdin.write(data[sent : sent + 2 * 4_000])
        rows.append(line_of(process))
        assert (rows[1]["start"], rows[1]["end"]) == (0.25, 0.75)
        process.stdin.write(data[sent + 2 * 4_000 :])
        process.stdin.close()
        *more, final = map(json.loads, process.stdout.read().splitlines())
        assert process.wait() == 0
    assert final == expected
    rows += more
    found = scan(Detector.load(run), tmp_path / "file.wav")
    assert [row["start"] for row in rows] == found.starts.tolist()
    np.testing.assert_allclose([row["score"] for row in rows], found.scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_audio_and_what_came_is_judged(run, number, tmp_path, capsys, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    ours, theirs = os.pipe()
    data = encode(speech(1.0), subtype="PCM_16")
    os.write(theirs, data[: 44 + 2 * 12_000])  # the header promises more, and the pipe stays open

    def write_and_interrupt(*given):
        if len(signals) < 1:
            signals.append(number)
            os.kill(os.getpid(), number)
        write(*given)

    signals, write = [], live.write
    monkeypatch.setattr(live, "write", write_and_interrupt)
    with stdin_is(ours):
        assert main(["predict", "-", "--run", str(run), "--device", "cpu", "--format=json", "--hop", "0.5"]) == 0
    out, err = capsys.readouterr()
    first, last, final = map(json.loads, out.splitlines())
    assert (first["end"], last["start"], last["end"], final["seconds"]) == (0.5, 0.5, 0.75, 0.75)
    assert err == "" and signal.getsignal(signal.SIGINT) is before
    assert final == of_file(run, encode(speech(1.0)[:12_000], subtype="PCM_16"), tmp_path, capsys)
    os.close(ours)
    os.close(theirs)


def test_an_interruption_before_any_audio_is_one(run, capsys, monkeypatch):
    ours, theirs = os.pipe()
    monkeypatch.setattr(live, "wav_header", lambda *given: (os.kill(os.getpid(), signal.SIGINT), wav_header(*given)))
    with stdin_is(ours):
        assert main(["predict", "-", "--run", str(run), "--device", "cpu"]) == 1
    assert capsys.readouterr().err == "error: interrupted\n"
    os.close(ours)
    os.close(theirs)


def test_a_reader_that_leaves_ends_it_quietly(run, tmp_path, capsys, monkeypatch):
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as left, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", left)
        code, _, err = judged(run, encode(speech(0.7), subtype="PCM_16"), tmp_path, capsys)
    assert (code, err) == (1, "")


@pytest.mark.parametrize(
    ("samples", "rate", "subtype"),
    [
        (speech(2.2, 44_100), 44_100, "PCM_24"),
        (np.stack([speech(6.1, 8_000), speech(6.1, 8_000, 1)], 1), 8_000, "FLOAT"),
        (np.stack([speech(0.4), -speech(0.4)], 1) * [1, 0.9], 16_000, "PCM_16"),
        (np.round(speech(1.3) * 2**15), 16_000, "FLOAT"),
    ],
)
@pytest.mark.parametrize("clips", ["whole", "first"])
def test_the_verdict_is_that_of_the_file(run, samples, rate, subtype, clips, tmp_path, capsys):
    data = encode(samples, rate, subtype=subtype)
    code, out, err = judged(run, data, tmp_path, capsys, "--format=json", "--clips", clips, "--hop", "0.2")
    assert (code, err) == (0, "")
    *rows, final = map(json.loads, out.splitlines())
    assert final == of_file(run, data, tmp_path, capsys, "--clips", clips)
    found = scan(Detector.load(run), tmp_path / "file.wav", overlap=0.6, batch_size=1)
    assert [row["score"] for row in rows] == found.scores.tolist()
    assert list(rows[0]) == ["start", "end", "score", "spoof", "p_fake", "mean", "verdict"]


@pytest.mark.parametrize("form", ["s16le", "f32le"])
def test_raw_samples_are_those_of_a_wav(run, form, tmp_path, capsys):
    samples = np.stack([speech(0.9, 8_000), speech(0.9, 8_000, 1)], 1)
    samples = (samples * 2**15).astype("<i2") if form == "s16le" else samples.astype("<f4")
    data = encode(samples, 8_000, subtype="PCM_16" if form == "s16le" else "FLOAT")
    given = ("--raw-rate", "8000", "--raw-format", form, "--raw-channels", "2")
    code, out, _ = judged(run, samples.tobytes() + b"x", tmp_path, capsys, "--format=json", *given)
    assert code == 0
    assert json.loads(out.splitlines()[-1]) == of_file(run, data, tmp_path, capsys)


def test_lines_for_people_end_with_the_table(run, tmp_path, capsys):
    code, out, _ = judged(run, encode(speech(0.7), subtype="PCM_16"), tmp_path, capsys)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("0.00 to 0.50 s: score ") and lines[1].startswith("0.25 to 0.70 s: score ")
    assert "p_fake" in lines[0] and any(line.split()[:1] == ["-"] for line in lines[2:])


@pytest.mark.parametrize(
    ("data", "arguments", "words"),
    [
        (b"", (), "standard input: nothing came; send a WAV, or samples with --raw-rate"),
        (b"\x00garbage" * 99, (), "standard input: not a WAV; send PCM or floats, as `ffmpeg -i FILE -f wav"),
        (
            encode(speech(0.6), subtype="PCM_16")[:9_000],
            (),
            "0.28 s of audio where the header promises 0.60 s: truncated",
        ),
        (bytes(100), ("--raw-rate", "16000"), "50 samples of audio, 0.01 s is needed"),
        (b"", ("--raw-rate", "16000"), "standard input: no audio came"),
        (b"", ("--raw-rate", "100"), "standard input: 100 Hz, 4000 to 192000 are accepted"),
        (b"", ("--raw-rate", "16000", "--raw-channels", "0"), "0 channels, 1 to 8 are accepted"),
        (b"", ("--raw-rate", "16000", "--hop", "0"), "hop=0.0: 0.005 to 0.5 s"),
        (b"", ("--raw-channels", "2"), "--raw-channels without --raw-rate"),
        (b"", ("--format", "csv"), "--format csv with -: table or json was expected"),
        (b"", ("--output", "x.csv"), "--output with -: standard input alone was expected"),
        (b"", ("--random",), "--random with -"),
    ],
)
def test_what_cannot_be_judged_is_named_in_a_sentence(run, data, arguments, words, tmp_path, capsys):
    code, out, err = judged(run, data, tmp_path, capsys, *arguments)
    assert code == 1 and "file" not in out
    assert err.startswith("error: ") and words in err and err.count("\n") == 1


def test_standard_input_and_files_do_not_go_together(run, capsys):
    assert main(["predict", "-", "x.wav", "--run", str(run)]) == 1
    assert "- beside files: standard input alone was expected" in capsys.readouterr().err
    assert main(["predict", "x.wav", "--run", str(run), "--hop", "1"]) == 1
    assert "--hop without -: say `deepfake predict -`" in capsys.readouterr().err


def test_a_terminal_and_a_closed_input_are_no_audio(run, capsys):
    ours, theirs = pty.openpty()
    with stdin_is(theirs):
        assert main(["predict", "-", "--run", str(run)]) == 1
    assert "standard input is a terminal: a pipe was expected, as in `arecord" in capsys.readouterr().err
    kept = os.dup(0)
    os.close(0)
    try:
        assert main(["predict", "-", "--run", str(run)]) == 1
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert "standard input is closed: a pipe was expected" in capsys.readouterr().err
    os.close(ours)
    os.close(theirs)
