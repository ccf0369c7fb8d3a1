"""Anybody's score files, from the file to the folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from deepfake.commands.evaluate_scores import compare_files, evaluate_file, fuse_files
from deepfake.commands.settings import Settings
from deepfake.errors import InputError
from deepfake.evaluation import comparison, report, tensorboard
from deepfake.evaluation.metrics import Intervals
from deepfake.evaluation.output import short_names
from deepfake.metrics.eer import eer
from deepfake.scores.table import read_scores


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    for module in (report, comparison):
        monkeypatch.setattr(module, "pictures", lambda folder, drawn: {})
    monkeypatch.setattr(tensorboard, "summaries", lambda *_: ())


N = 60
LABELS = (np.arange(N) % 3 == 0).astype(int)


def values(seed, apart=2.0):
    return np.random.default_rng(seed).normal(size=N) + apart * LABELS


def write(path, scores, *, keys=True):
    """Lines `utt source key score`, or `utt score`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = [f" {'-' if y else 'A01'} {'bonafide' if y else 'spoof'}" if keys else "" for y in LABELS]
    path.write_text(
        "".join(f"u{i}{word} {s!r}\n" for i, (s, word) in enumerate(zip(scores.tolist(), words, strict=True)))
    )
    return str(path)


@pytest.fixture
def protocol(tmp_path):
    lines = [f"s{i % 7} u{i} - {'-' if y else 'A01'} {'bonafide' if y else 'spoof'}\n" for i, y in enumerate(LABELS)]
    (tmp_path / "protocol.txt").write_text("".join(lines))
    return str(tmp_path / "protocol.txt")


@pytest.fixture
def settings(tmp_path):
    return Settings(output=str(tmp_path / "out"), intervals=Intervals(n=50))


# ---------------------------------------------------------------- one


def test_a_file_is_evaluated_into_a_folder(tmp_path, settings, protocol):
    path = write(tmp_path / "A.txt", values(0), keys=False)
    done = evaluate_file(path, settings, threshold=1.0, protocol=protocol)
    assert done.folder == tmp_path / "out" and not done.skipped
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == done.metrics
    assert done.metrics["eer"] == eer(values(0), LABELS)[0]
    assert done.metrics["fpr"] == np.mean(values(0)[LABELS == 0] > 1)
    assert (done.metrics["threshold_source"], done.metrics["dataset"]) == ("carried", "A.txt")
    assert set(done.metrics["by_speaker"]) == {f"s{i}" for i in range(7)} and set(done.metrics["ci"]) >= {"eer", "fpr"}
    assert any("60 scores, 20 bona fide and 40 spoof" in sentence for sentence in done.metrics["read_as"])
    page = (tmp_path / "out/report.html").read_text()
    for file in (path, protocol):
        assert hashlib.sha256(Path(file).read_bytes()).hexdigest() in page
    assert (tmp_path / "out/environment.json").is_file() and (tmp_path / "out/tensorboard").is_dir()


def test_by_default_each_file_has_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings(intervals=Intervals(n=0))
    folders = {evaluate_file(write(tmp_path / f"{i}/scores.txt", values(i)), settings).folder for i in range(2)}
    assert len(folders) == 2 and {f.parent.as_posix() for f in folders} == {"outputs/evaluations"}


def test_a_file_without_keys_is_refused(tmp_path, settings):
    with pytest.raises(InputError, match=r"A\.txt: no score has a key; give protocol=FILE"):
        evaluate_file(write(tmp_path / "A.txt", values(0), keys=False), settings)
    assert not (tmp_path / "out").exists()


def test_the_asv_system_gives_the_tandem_cost(tmp_path, settings):
    (tmp_path / "c012.json").write_text('{"Pooled": {"Pooled": {"C0": 0.1, "C1": 0.8, "C2": 0.4}}}')
    with_asv = Settings(**{**vars(settings), "asv_scores": str(tmp_path / "c012.json")})
    found = evaluate_file(write(tmp_path / "A.txt", values(0)), with_asv)
    assert 0 < found.metrics["min_tdcf"] <= 1 and found.metrics["t_eer"] is None
    assert "c012.json" in (tmp_path / "out/report.html").read_text()


# ---------------------------------------------------------------- of a verifier


def test_three_kinds_of_trials_give_the_a_dcf(tmp_path, settings):
    lines = [f"s{i} u{i} {2 * (i % 3 == 0) + i % 7} {('target', 'nontarget', 'spoof')[i % 3]}" for i in range(60)]
    path = tmp_path / "sasv.txt"
    path.write_text("\n".join(lines) + "\n")
    done = evaluate_file(str(path), settings)
    assert 0 < done.metrics["a_dcf"] < 1 and set(done.metrics["ci"]) == {"sasv_eer", "sv_eer", "spf_eer"}
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == done.metrics
    assert hashlib.sha256(path.read_bytes()).hexdigest() in (tmp_path / "out/report.html").read_text()
    for options, words in (({"threshold": 0.0}, "threshold=0.0"), ({"subset": "eval"}, "subset=eval")):
        with pytest.raises(InputError, match=words):
            evaluate_file(str(path), settings, **options)
    for how in (Intervals(n=50, cluster="speaker"), Intervals(n=50, method="bca")):
        with pytest.raises(InputError, match=r"bootstrap\.(cluster=speaker|method=bca)"):
            evaluate_file(str(path), Settings(output=settings.output, intervals=how))


# ---------------------------------------------------------------- several


def test_two_files_side_by_side(tmp_path, settings):
    paths = [write(tmp_path / "a/scores.txt", values(0)), write(tmp_path / "b/scores.txt", values(1, apart=0.5))]
    found, folder = compare_files(paths, settings)
    assert folder == tmp_path / "out" and list(found.systems) == ["a", "b"]
    assert found.systems["a"]["eer"] == eer(values(0), LABELS)[0]
    (difference,) = (d for d in found.differences if d["metric"] == "eer")
    assert difference["p"] < 0.1 and difference["difference"] < 0
    content = json.loads((folder / "comparison.json").read_text())
    assert content["differences"] == found.differences and content["mean"] is None
    assert all(path in (folder / "report.html").read_text() for path in paths)


def test_the_keys_of_one_are_the_keys_of_all(tmp_path, settings):
    paths = [write(tmp_path / "A.txt", values(0), keys=False), write(tmp_path / "B.txt", values(1))]
    found, _ = compare_files(paths, settings)
    assert [m["eer"] for m in found.systems.values()] == [eer(values(i), LABELS)[0] for i in range(2)]
    assert len({m["trials_sha256"] for m in found.systems.values()}) == 1
    with pytest.raises(InputError, match="no utterance has a label"):
        compare_files([paths[0], write(tmp_path / "C.txt", values(2), keys=False)], settings)


def test_other_trials_are_no_comparison(tmp_path, settings):
    paths = [write(tmp_path / f"{name}.txt", values(0)) for name in "AB"]
    (tmp_path / "B.txt").write_text("".join((tmp_path / "B.txt").read_text().splitlines(keepends=True)[2:]))
    with pytest.raises(InputError, match=r"B\.txt lacks 2 of the utterances that A\.txt has: u0, u1"):
        compare_files(paths, settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/x/A.csv", "/y/B.csv"], ["A.csv", "B.csv"]),
        (["/x/A.csv", "/y/A.csv"], ["x", "y"]),
        (["/x/scores/dev.csv", "/y/scores/dev.csv"], ["x", "y"]),
        (["/x/1/s.csv", "/y/1/s.csv", "/y/2/s.csv"], ["x/1", "y/1", "y/2"]),
        (["/A.csv", "/x/A.csv"], ["", "x"]),
    ],
)
def test_files_are_named_by_where_their_paths_differ(paths, names):
    assert short_names(paths)[1:] == names[1:] and len({*short_names(paths)}) == len(names)


def test_the_same_file_twice_is_refused(tmp_path, settings):
    path = write(tmp_path / "A.txt", values(0))
    with pytest.raises(InputError, match="the same one is given twice"):
        compare_files([path, path], settings)


# ---------------------------------------------------------------- fused


@pytest.mark.parametrize("fitted", [False, True])
def test_files_are_fused_and_evaluated(tmp_path, settings, fitted):
    paths = [write(tmp_path / f"{i}.txt", values(i, apart=1.5)) for i in range(2)]
    fit_on = [write(tmp_path / f"dev{i}.txt", values(10 + i, apart=1.5)) for i in range(2)] if fitted else []
    done = fuse_files(paths, fit_on, settings)
    assert done.metrics["eer"] < min(eer(values(i, apart=1.5), LABELS)[0] for i in range(2))
    assert done.metrics["calibrated"] and done.metrics["cllr"] < 1
    assert (done.metrics["threshold"], done.metrics["threshold_source"]) == (0.0, "carried")
    written = json.loads((tmp_path / "out/fusion.json").read_text())
    assert written == done.metrics["fusion"] and set(written["weights"]) == {"0.txt", "1.txt"}
    assert ("cross-validated" in written["how"]) != fitted and written["how"] in done.metrics["notes"]
    scores = read_scores(tmp_path / "out/scores.csv")
    assert scores.scores.tolist() == done.scores.scores.tolist() and "llr" in scores.extras
    if fitted:
        x = np.column_stack([values(i, apart=1.5) for i in range(2)])
        assert scores.scores == pytest.approx(x @ list(written["weights"].values()) + written["offset"])


def test_as_many_to_fit_as_to_fuse(tmp_path, settings):
    paths = [write(tmp_path / f"{i}.txt", values(i)) for i in range(3)]
    with pytest.raises(InputError, match="fit has 2 score files and fuse 3"):
        fuse_files(paths, paths[:2], settings)
