"""The measurement of a run on spliced noise, what is written, and the threshold that explanations take from it."""

from __future__ import annotations

import io
import itertools
import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console
from sklearn.metrics import roc_auc_score
from tiny import compose, write_lines

from deepfake import run
from deepfake.commands.explain import Settings, explain
from deepfake.commands.localise import localise_run, threshold_of
from deepfake.datasets import asvspoof2019_la, spliced
from deepfake.datasets.corpus import Corpus, Reader
from deepfake.datasets.mix import utterances as mixed
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.explain.saliency import Saliency
from deepfake.localisation.report import table
from deepfake.localisation.scan import curve as scanned_curve
from deepfake.localisation.scan import scan

pytestmark = pytest.mark.usefixtures("undrawn")

SCAN = {"window_seconds": 0.25, "overlap": 0.5}


def write_spliced(root, *partitions):
    """Per partition 3 files of noise and 4 in which a stretch buzzes."""
    lines = ["file,start_s,end_s,system"]
    for p, partition in enumerate(partitions):
        for i in range(7):
            rng = np.random.default_rng(10 * p + i)
            samples = 0.05 * rng.standard_normal(24_000)
            t = np.arange(24_000) / 16_000
            start, end = (0.3 + 0.1 * i, 0.9 + 0.1 * i) if i > 2 else (0.0, 0.0)
            samples += 0.2 * np.sign(np.sin(2 * np.pi * rng.uniform(100, 200) * t)) * ((t >= start) & (t < end))
            name = f"{partition}/S_{partition}_{i}.wav"
            (root / partition).mkdir(parents=True, exist_ok=True)
            soundfile.write(root / name, samples, 16_000)
            lines.append(f"{name},{start:.4f},{end:.4f},A01" if end else f"{name},,,-")
    write_lines(root / "labels.csv", *lines)
    return root


def corpus_of(root, segments=spliced.segments, **keywords):
    return Corpus("tiny", Reader(spliced.utterances, segments), {"root": str(root)}, **keywords)


def measure(run, root, *, output=None, segments=spliced.segments, n_bootstrap=50, scan=SCAN, **keywords):
    return localise_run(
        str(run),
        corpus_of(root, segments, **keywords),
        batch_size=8,
        output=None if output is None else str(output),
        device=torch.device("cpu"),
        n_bootstrap=n_bootstrap,
        **scan,
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_spliced(tmp_path_factory.mktemp("spliced"), "dev", "eval")


@pytest.fixture(scope="module")
def measured(root, run_folder, tmp_path_factory):
    """A copy of the run, measured: run, result, folder."""
    run = tmp_path_factory.mktemp("measured") / "run"
    shutil.copytree(run_folder, run)
    return run, *measure(run, root)[:2]


def test_what_is_written(measured):
    run, result, folder = measured
    assert folder == run / "localisation"
    assert json.loads((folder / "localisation.json").read_text()) == result
    for name in ("roc", "rates", "timelines"):
        assert (folder / "figures" / f"{name}.png").is_file()
    page = (folder / "report.html").read_text()
    for words in (
        "frame EER threshold of tiny, partition dev",
        "effective resolution 0.25 s",
        "bona fide files called",
    ):
        assert words in page
    assert result["kind"] == "trend" and result["window"] == {"seconds": 0.25, "overlap": 0.5}
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table(result))
    assert "range EER" in console.export_text()


def test_the_numbers_are_those_of_the_scan(measured, root):
    run, result, _ = measured
    detector = Detector.load(run)
    p, spoof, largest, fakes = [], [], [], []
    known = spliced.segments("eval", root=str(root))
    for u in spliced.utterances("eval", root=str(root)):
        found = scan(detector, u.path, seconds=0.25, overlap=0.5, batch_size=8)
        edges, _, curve = scanned_curve(found, frame_seconds=0.02)
        p.extend(curve)
        largest.append(curve.max())
        fakes.append(bool(known[u.id]))
        for low, high in itertools.pairwise(edges):
            spoof.append(any(min(high, b) - max(low, a) > 1e-6 for a, b, _ in known[u.id]))
    found = result["partitions"]["eval"]
    assert found["measures"]["frame_auc_20ms"]["value"] == pytest.approx(roc_auc_score(spoof, p), abs=1e-6)
    assert found["measures"]["file_auc"]["value"] == pytest.approx(roc_auc_score(fakes, largest))
    assert (found["n_bonafide"], found["n_spoof"]) == (3, 4)
    assert found["seconds"] == pytest.approx({"bonafide": 7 * 1.5 - 4 * 0.6, "spoof": 4 * 0.6})
    at = found["at"]["dev"]
    assert at["threshold"] == result["threshold"]["value"]
    hit = np.sum((np.array(p) > at["threshold"]) & spoof)
    assert at["measures"]["frame_recall"]["value"] == pytest.approx(hit / np.sum(spoof), abs=0.02)


def test_a_mix_has_the_stretches_of_its_parts(run_folder, root, tiny_la, tmp_path):
    parts = {"cut": corpus_of(root), "la": Corpus("la", asvspoof2019_la.utterances, {"root": str(tiny_la)})}
    mix = Corpus("mix", mixed, {"parts": parts})
    options = {"batch_size": 8, "device": torch.device("cpu"), "n_bootstrap": 10, **SCAN}
    result, *_ = localise_run(str(run_folder), mix, output=str(tmp_path), **options)
    found = result["partitions"]["eval"]
    assert (found["n_bonafide"], found["n_spoof"]) == (3 + 6, 4 + 6)
    assert found["seconds"] == pytest.approx(
        {"bonafide": 7 * 1.5 - 4 * 0.6 + 6 * 0.6, "spoof": 4 * 0.6 + 6 * 0.6}, rel=1e-3
    )  # a spoofed file of the part that says no more is spoofed throughout


def test_without_dev_there_is_no_threshold(run_folder, tmp_path):
    write_spliced(tmp_path / "c", "eval")
    result, folder, *_ = measure(run_folder, tmp_path / "c", output=tmp_path / "out")
    assert result["threshold"] is None and result["partitions"]["dev"] is None
    assert result["partitions"]["eval"]["at"]["dev"] is None
    assert result["partitions"]["eval"]["at"]["default"]["threshold"] == 0.3
    assert "There is no threshold" in (folder / "report.html").read_text()


def test_files_that_cannot_be_used(run_folder, tmp_path):
    root = write_spliced(tmp_path / "c", "dev", "eval")
    (root / "eval" / "S_eval_1.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"S_eval_1\.wav"):
        measure(run_folder, root, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    result, *_ = measure(run_folder, root, output=tmp_path / "out", on_bad_audio="skip")
    assert result["passed_over"] == 1 and "S_eval_1.wav" in result["notes"][0]
    assert result["partitions"]["eval"]["n_bonafide"] == 2


@pytest.mark.parametrize(
    ("segments", "words"),
    [
        (lambda partition, root: None, "does not say where speech is spoofed"),
        (lambda partition, root: {}, r"labels\.csv, line 2: it is not said where S_dev_0 is spoofed"),
        (
            lambda partition, root: {f"S_{partition}_{i}": [] for i in range(7)},
            "it is not said where S_dev_3 is spoofed",
        ),
    ],
)
def test_unknown_stretches_are_refused(run_folder, root, tmp_path, segments, words):
    with pytest.raises(InputError, match=words):
        measure(run_folder, root, output=tmp_path / "out", segments=segments)


def test_a_corpus_without_eval_or_without_spoof(run_folder, tmp_path):
    with pytest.raises(InputError, match="no eval files"):
        measure(run_folder, write_spliced(tmp_path / "c", "dev"), output=tmp_path / "out")
    root = write_spliced(tmp_path / "d", "dev", "eval")
    lines = (root / "labels.csv").read_text().splitlines()
    write_lines(root / "labels.csv", *(line for line in lines if not (line.startswith("dev") and "A01" in line)))
    with pytest.raises(InputError, match=r"tiny.*0 spoof trials"):
        measure(run_folder, root, output=tmp_path / "out")


def test_the_threshold_is_found_for_the_same_scan_alone(measured, tmp_path):
    run, result, _ = measured
    detector = Detector.load(run)
    source = "frame EER threshold of tiny, partition dev"
    assert threshold_of(str(run), detector, **SCAN) == (result["threshold"]["value"], source)
    command = rf"`python explain\.py run={run} localisation=true .* window\.seconds=0\.5 window\.overlap=0\.5`"
    with pytest.raises(InputError, match=rf"{command}.*is of window\.seconds=0\.25 window\.overlap=0\.5"):
        threshold_of(str(run), detector, window_seconds=None, overlap=0.5)
    other = tmp_path / "run"
    shutil.copytree(run, other)
    file = other / "localisation" / "localisation.json"
    text = file.read_text()
    for content, words in (
        (json.dumps(json.loads(text) | {"threshold": None}), "is of tiny, which has no dev partition"),
        ("[]", "is no such measurement"),
        (text.replace('"sha256"', '"sha"'), "is no such measurement"),
    ):
        file.write_text(content)
        with pytest.raises(InputError, match=words):
            threshold_of(str(other), detector, **SCAN)
    file.write_text(text)
    detector.set_threshold(3.0, "test")
    detector.save(other / "detector.pt")
    with pytest.raises(InputError, match="of another detector"):
        threshold_of(str(other), detector, **SCAN)
    shutil.rmtree(file.parent)
    with pytest.raises(InputError, match=r"there is no .*localisation\.json"):
        threshold_of(str(other), detector, **SCAN)


def explained(run, file, output, **settings):
    done = explain(
        str(run),
        str(file),
        {"saliency": Saliency()},
        Settings(**settings),
        output=str(output),
        device=torch.device("cpu"),
    )
    return json.loads((done.folder / "segments.json").read_text())


def test_explanations_take_the_threshold_and_the_rule(measured, root, tmp_path):
    run, result, _ = measured
    file = root / "eval" / "S_eval_5.wav"  # 0.6 of 1.5 s are spoofed
    found = explained(run, file, tmp_path, threshold="dev", recording=True, **SCAN)
    assert found["threshold"] == result["threshold"]
    assert found["kind"] == "trend" and found["segments"] and found["share"] < 0.95
    expected = "FAKE" if found["share"] > 0.5 else "REAL"  # of a file it would be suspicious
    assert (found["rule"], found["verdict"]) == ("recording", expected)


@pytest.mark.parametrize("threshold", ["eval", "0.3", 1.5, -0.1, float("nan")])
def test_a_threshold_that_is_no_share_is_refused(run_folder, root, tmp_path, threshold):
    with pytest.raises(InputError, match=r"window\.threshold=.* a number from 0 to 1, or dev"):
        explained(run_folder, root / "eval" / "S_eval_5.wav", tmp_path, threshold=threshold)
    assert not list(tmp_path.iterdir())


def test_the_command_prints_its_folder_last(run_folder, root, tmp_path, capsys):
    scan = ("window.seconds=0.25", f"output={tmp_path}", "device=cpu")
    given = (f"run={run_folder}", "localisation=true", "dataset=spliced", f"dataset.root={root}")
    result = run.explain(compose(*given, *scan, config="explain"))
    assert result["partitions"]["eval"]["n_spoof"] == 4 and (tmp_path / "report.html").is_file()
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path)
    with pytest.raises(InputError, match="localisation=true needs a corpus"):
        run.explain(compose(f"run={run_folder}", "localisation=true", config="explain"))
