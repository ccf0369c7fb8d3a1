"""The entry scripts as a user runs them."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from children import python
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from tiny import REPOSITORY, TINY, write_audio

from deepfake import cli, run
from deepfake.detector import Detector
from deepfake.scores.table import Scores, write_scores


def script(*arguments, code=0, cwd=REPOSITORY):
    done = python(*arguments, cwd=cwd)
    assert done.returncode == code, done.stderr[-3000:]
    return done


def started(*arguments):
    """As `script`, from its first import on."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def tiny(tiny_la):
    return ["train.py", "dataset=asvspoof2019_la", f"dataset.root={tiny_la}", *TINY, "trainer.max_epochs=1"]


@pytest.fixture
def in_process(monkeypatch):
    """A command of hydra's in this process, which leaves nothing of it behind."""
    root, terminated = logging.getLogger(), signal.getsignal(signal.SIGTERM)
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "argv", sys.argv[:])
    for name, value in run._state.items():
        monkeypatch.setitem(run._state, name, value)
    yield
    HydraConfig.instance().cfg = None
    GlobalHydra.instance().clear()
    signal.signal(signal.SIGTERM, terminated)
    root.handlers[:], root.level = handlers, level


def test_train_then_evaluate(tiny, tmp_path):
    folder = tmp_path / "my run, (1)"
    done = started(*tiny, f"hydra.run.dir={folder}")
    assert done.stdout.splitlines() == [str(folder)]
    assert "epoch 1 of 1" in done.stderr
    done = started("evaluate.py", f"run={folder}", f"output={tmp_path}/out=put", "num_workers=0")
    assert done.stdout.splitlines() == [f"{tmp_path}/out=put"]
    metrics = json.loads((tmp_path / "out=put" / "metrics.json").read_text())
    keys = "n_bonafide n_spoof eer eer_official eer_threshold auc accuracy f1 min_tdcf_legacy min_tdcf by_attack"
    assert set(keys.split()) <= metrics.keys()
    assert (tmp_path / "out=put" / "scores.csv").is_file() and (folder / "manifests" / "eval.csv").is_file()


def rows(path, *, seed, keys=True):
    """Sixty scores in a file: every third bona fide, of another system for each seed."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    words = [" - bonafide", " A01 spoof", " A02 spoof"]
    lines = [f"u{i}{words[i % 3] if keys else ''} {rng.normal() + 2 * (i % 3 == 0):.6f}\n" for i in range(60)]
    path.write_text("".join(lines))
    return path


def evaluated(*arguments, output, code=0):
    """What a command of evaluate.py wrote; the last line that it printed is where."""
    done = script("evaluate.py", *arguments, f"output={output}", "num_workers=0", "bootstrap.n=50", code=code)
    assert done.stdout.splitlines() == [str(output)]
    (file,) = (f for f in (output / f"{name}.json" for name in ("metrics", "comparison", "audit")) if f.is_file())
    assert (output / "report.html").is_file()
    return json.loads(file.read_text())


def test_a_score_file_of_any_system_is_evaluated(tiny_la, tmp_path):
    scores = rows(tmp_path / "their, scores/A=1.txt", seed=0, keys=False)
    trials = "".join(f"s u{i} - {f'A0{i % 3} spoof' if i % 3 else '- bonafide'}\n" for i in range(60))
    (tmp_path / "keys (1).txt").write_text(trials)
    asv = tiny_la / "ASVspoof2019_LA_asv_scores/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"
    arguments = (f"scores={scores}", f"protocol={tmp_path}/keys (1).txt", f"asv_scores={asv}")
    metrics = evaluated(*arguments, output=tmp_path / "out, put")
    assert (metrics["n_bonafide"], metrics["n_spoof"]) == (20, 40) and metrics["t_eer"] is not None
    assert set(metrics["by_attack"]) == {"A01", "A02"} and "eer" in metrics["ci"]


def test_score_files_side_by_side_and_fused(tmp_path):
    one, two = rows(tmp_path / "a b/A=1.txt", seed=1), rows(tmp_path / "c, d/A=1.txt", seed=2)
    found = evaluated(f"scores=[{one},'{two}']", output=tmp_path / "side")
    assert list(found["systems"]) == ["a b", "c, d"] and found["differences"]
    dev = rows(tmp_path / "dev1.txt", seed=3), rows(tmp_path / "dev2.txt", seed=4)
    metrics = evaluated(f"fuse=[{one},'{two}']", f"fit=[{dev[0]}, {dev[1]}]", output=tmp_path / "fused")
    assert metrics["calibrated"] and set(metrics["fusion"]["weights"]) == {"a b", "c, d"}
    assert all(weight > 0 for weight in metrics["fusion"]["weights"].values()) and metrics["eer"] < 0.3


def test_a_folder_of_audio_is_audited(tmp_path):
    for i in range(12):
        write_audio(tmp_path / "c" / ("fake" if i % 2 else "real") / f"{i}.wav", spoof=bool(i % 2), seed=i)
    arguments = ("audit=true", "dataset=folder", f"dataset.root={tmp_path}/c", "dataset.train_share=0")
    found = evaluated(*arguments, output=tmp_path / "out")
    assert "cues" in found


def test_a_detector_is_calibrated_and_seeds_are_averaged(run_folder, tmp_path):
    runs = [tmp_path / f"seed {i}, a" for i in range(2)]
    for i, folder in enumerate(runs):
        shutil.copytree(run_folder, folder)
        detector = Detector.load(folder)
        detector.set_threshold(float(i), "a test")
        detector.save(folder / "detector.pt")
    labels = np.arange(40) % 2
    scores = np.random.default_rng(0).normal(size=40) + 2 * labels
    write_scores(runs[0] / "scores/dev.csv", Scores([f"u{i}" for i in range(40)], labels, [""] * 40, scores))
    metrics = evaluated("calibrate=true", f"run={runs[0]}", output=tmp_path / "calibration")
    assert metrics["calibrated"] and Detector.load(runs[0]).calibration is not None
    found = evaluated(f"run=['{runs[0]}',\"{runs[1]}\"]", output=tmp_path / "seeds")
    assert [m["calibrated"] for m in found["systems"].values()] == [True, False] and found["mean"]["eer"]["ci"]


def test_a_file_is_explained_bundled_and_verified(run_folder, tmp_path):
    file = write_audio(tmp_path / "speech, (1)=a.wav", spoof=True, seed=1, seconds=1.0)
    done = started("explain.py", f"run={run_folder}", f"input={file}", f"output={tmp_path}/out", "explain=[saliency]")
    folder = tmp_path / "out" / "speech, (1)=a"
    assert done.stdout.splitlines() == [str(folder)] and (folder / "report.pdf").is_file()
    other = write_audio(tmp_path / "b.wav", spoof=True, seed=2)
    assert cli.main(["bundle", str(folder)]) == 0
    assert cli.main(["verify-report", str(folder / "report.json"), str(file)]) == 0
    assert cli.main(["verify-report", str(folder / "report.json"), str(other)]) == 1
    assert (tmp_path / "out" / "speech, (1)=a.zip").is_file()


def test_with_chdir_paths_are_still_the_callers(tiny, tiny_la, tmp_path):
    """As is the folder that cannot be made: the error is a sentence before Hydra's traceback."""
    (tmp_path / "LA").symlink_to(tiny_la)
    chdir = [REPOSITORY / "train.py", *tiny[1:], "dataset.root=LA", "hydra.job.chdir=true", "check=true"]
    done = script(*chdir, "hydra.run.dir=sub/run", cwd=tmp_path)
    assert "A01:" in done.stdout and (tmp_path / "sub/run").is_dir()
    (tmp_path / "file").touch()
    done = script(*chdir, "hydra.run.dir=file/run", cwd=tmp_path, code=1)
    assert done.stderr == "error: file/run: Not a directory\n"


def test_check_lists_the_corpus_and_writes_nothing(tiny, tmp_path):
    done = script(*tiny, "check=true", f"hydra.run.dir={tmp_path}/none")
    assert "A01:" in done.stdout and "speakers" in done.stdout
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train.py", "dataset=asvspoof2019_la", "dataset.root=/nowhere"],
            "error: dataset.root=/nowhere is not a folder",
        ),
        (["train.py", "dataset=asvspoof2019_la"], "error: dataset.root is needed"),
        (["train.py", "monitor.metric=dev/loss"], "error: monitor.metric=dev/loss: one of dev/eer"),
        (["train.py", "batch_size=0", "TINY"], "error: batch_size=0: a whole number above zero"),
        (["train.py", "logger=null"], "error: logger=null: one of csv, mlflow, none,"),
        (["train.py", "optimizer.lr=abc", "TINY"], "error: the optimiser cannot be made"),
        (["train.py", "trainer.precision=foo", "TINY"], "error: Precision 'foo' is invalid"),
        (["train.py", "dataset.per_class.train=-1", "TINY"], "error: dataset.per_class asks for -1"),
        (["train.py", "model=no_such_model"], "Could not find 'model/no_such_model'"),
        (["train.py", "model.no_such_key=1"], "Key 'no_such_key' is not in struct"),
        (["train.py", "resume=/nowhere", "seed=3"], "leave out seed=3"),
        (["train.py", "init_from=/nowhere", "TINY"], "error: /nowhere does not exist"),
        (["train.py", "loss.no_such_key=1"], "Key 'no_such_key' is not in struct"),
        (["train.py", "trainer.accelerator=abacus", "TINY"], "error: You selected an invalid accelerator name"),
        (["train.py", "+loss.no_such_key=1", "TINY"], "unexpected keyword argument 'no_such_key'"),
        (["evaluate.py", "run=/nowhere"], "error: /nowhere does not exist"),
        (["evaluate.py", "run=[a,b]"], "error: a does not exist: give a run folder"),
        (["explain.py", "run=a", "faithfulness=true"], "error: faithfulness=true needs a corpus"),
        (["explain.py", "run=/nowhere", "input=a.wav"], "error: /nowhere"),
        (["evaluate.py", "run=[a]"], "a list of two or more was expected"),
        (["evaluate.py", "run=a", "scores=b"], "error: got run and scores: one of"),
        (["evaluate.py", "run=a", "protocol=p"], "protocol=p cannot be combined with run"),
        (["train.py", "-m", "trainer.devices=2", "seed=1,2"], "trainer.devices=2 in a multirun"),
    ],
    ids=lambda x: "-".join(x[1:]) if isinstance(x, list) else "",
)
def test_bad_input_ends_in_a_sentence(arguments, message, tmp_path, tiny, in_process, capsys):
    """By what the scripts call, without a process for each, which would be most of the time."""
    if "TINY" in arguments:
        arguments = [arguments[0], *tiny[1:], *arguments[1:-1]]
    where = f"hydra.{'sweep' if '-m' in arguments else 'run'}.dir={tmp_path}"
    given = [*arguments, where] if arguments[0] == "train.py" and "resume=/nowhere" not in arguments else arguments
    with pytest.raises(SystemExit) as end:
        run.installed(given[0].removesuffix(".py"), given[1:])
    out, err = capsys.readouterr()
    assert end.value.code == 1 or message in str(end.value.code)
    assert message in f"{out}{err}{end.value.code}" and "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.py", "resume=/nowhere"], "error: resume=/nowhere: there is no config.yaml in it"),
        (["evaluate.py"], "error: got nothing: one of run=RUN, scores=FILE"),
        (["explain.py", "run=a"], "error: input is needed and was not given"),
    ],
    ids=["train", "evaluate", "explain"],
)
def test_each_script_ends_in_a_sentence_too(arguments, message):
    done = script(*arguments, code=1)
    assert message in done.stderr and "Traceback" not in done.stderr
