"""Which command `evaluate.py` takes a config for, and the sentences where it is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tiny import compose

from deepfake.commandline import modify_run_dataset, quote_paths
from deepfake.commands import audit, evaluate_runs, evaluate_scores
from deepfake.commands.evaluate import evaluate
from deepfake.commands.outcome import Outcome
from deepfake.datasets.corpus import Corpus
from deepfake.errors import InputError
from deepfake.evaluation import metrics as evaluation
from deepfake.evaluation.comparison import Comparison
from deepfake.evaluation.metrics import Intervals
from deepfake.evaluation.output import Evaluation
from deepfake.scores.table import Scores

SCORES = Scores(["a", "b"], [1, 0], ["", ""], [1.0, 0.0])


def config(*arguments):
    cfg = compose(*modify_run_dataset(quote_paths(arguments)), config="evaluate")
    return OmegaConf.to_container(cfg, resolve=True)


@pytest.fixture(autouse=True)
def unread(monkeypatch):
    """No corpus is read before the command line is understood."""
    monkeypatch.setattr(Corpus, "read", lambda self, partition: pytest.fail("a corpus was read"))


@pytest.fixture
def called(monkeypatch, tmp_path):
    """What the commands are called with, in place of the commands."""
    calls = {}
    metrics = evaluation.evaluate(SCORES, threshold=None, dataset="", partition="")

    def stand_in(module, name, answer):
        def command(*arguments, **keywords):
            calls[name] = arguments, keywords
            return answer

        monkeypatch.setattr(module, name, command)

    judged, compared = Evaluation(metrics, SCORES, tmp_path, True), (Comparison({"A": metrics}, [], None, {}), tmp_path)
    for name in ("evaluate_file", "fuse_files"):
        stand_in(evaluate_scores, name, judged)
    stand_in(evaluate_scores, "compare_files", compared)
    stand_in(evaluate_runs, "compare_runs", compared)
    stand_in(audit, "audit_corpus", Outcome({}, tmp_path))
    return calls


def test_one_score_file(called, tmp_path):
    done = evaluate(config("scores=/a, b/A=1.csv", "protocol=P", "threshold=0", "output=O", "polarity=-1"))
    (path, settings), reading = called["evaluate_file"]
    assert path == "/a, b/A=1.csv" and (settings.output, settings.asv_scores) == ("O", None)
    assert reading == {"threshold": 0, "protocol": "P", "subset": None, "score_column": None, "polarity": -1}
    assert (done.folder, done.skipped, done.content["n_spoof"]) == (tmp_path, True, 1)


def test_several_score_files(called):
    evaluate(config("scores=['/a, b/A=1.csv',C D.csv]", "asv_scores=S", "subset=all"))
    (paths, settings), reading = called["compare_files"]
    assert paths == ["/a, b/A=1.csv", "C D.csv"] and settings.asv_scores == "S" and reading["subset"] == "all"


def test_fusion(called):
    evaluate(config("fuse=[A,B]"))
    assert called["fuse_files"][0][:2] == (["A", "B"], [])
    evaluate(config("fuse=[A,B]", "fit=[C,D]", "score_column=2"))
    assert called["fuse_files"][0][:2] == (["A", "B"], ["C", "D"]) and called["fuse_files"][1]["score_column"] == 2


def test_audit(called):
    evaluate(config("audit=true", "dataset=folder", "dataset.root=D"))
    corpus, partitions, _ = called["audit_corpus"][0]
    assert (corpus.config["root"], partitions) == (str(Path("D").absolute()), None)
    evaluate(config("audit=true", "dataset=folder", "dataset.root=D", "partition=dev"))
    assert called["audit_corpus"][0][1] == ["dev"]


def test_how_intervals_are_made(called):
    evaluate(config("scores=A", "bootstrap.n=50", "bootstrap.metrics=[cllr,act_dcf]", "bootstrap.cluster=speaker"))
    made = called["evaluate_file"][0][1].intervals
    assert made == Intervals(n=50, cluster="speaker", metrics=("cllr", "act_dcf"))
    evaluate(config("scores=A"))
    assert called["evaluate_file"][0][1].intervals == Intervals()
    evaluate(config("scores=A", "bootstrap.n=0"))
    assert called["evaluate_file"][0][1].intervals.n == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "got nothing: one of run=RUN"),
        (["run=R", "scores=A"], "got run and scores: one of"),
        (["fuse=[A,B]", "audit=true"], "got fuse and audit: one of"),
        (["run=R", "protocol=P"], "protocol=P cannot be combined with run: it goes with scores or fuse"),
        (["run=R", "subset=eval"], "subset=eval cannot be combined with run"),
        (["run=R", "polarity=-1"], "polarity=-1 cannot be combined with run"),
        (["run=R", "threshold=0"], "threshold=0 cannot be combined with run: it goes with scores"),
        (["run=R", "threshold=0.0"], "threshold=0.0 cannot be combined with run"),
        (["fuse=[A,B]", "threshold=1"], "threshold=1 cannot be combined with fuse"),
        (["scores=A", "fit=[B,C]"], r"fit=\['B', 'C'\] cannot be combined with scores: it goes with fuse"),
        (["scores=A", "calibrate=true"], "calibrate=True cannot be combined with scores: it goes with run"),
        (["scores=A", "partition=dev"], "partition=dev cannot be combined with scores: it goes with run or audit"),
        (["scores=A", "dataset=folder", "dataset.root=D"], "dataset cannot be combined with scores"),
        (["audit=true", "asv_scores=S"], "asv_scores=S cannot be combined with audit"),
        (["audit=true"], "audit=true needs the corpus: say dataset="),
        (["audit=true", "dataset=folder", "dataset.root=D", "bootstrap.n=0"], "the verdicts of an audit rest on its"),
        (["scores=[A]"], r"scores=\['A'\]: a list of two or more was expected"),
        (["fuse=A"], r"fuse=A: a list of two or more was expected, 'fuse=\[A,B\]'"),
        (["fuse=[A,B]", "fit=C"], "fit=C: a list of two or more"),
        (["scores=[A,B,A]"], "A, B, A: the same one is given twice"),
        (["run=[A,A]"], "A, A: the same one is given twice"),
        (["scores=[A,B]", "threshold=0"], "threshold=0 goes with one score file at a time"),
        (["run=[A,B]", "calibrate=true"], "calibrate=true takes one run at a time"),
        (["scores=A", "threshold=high"], "threshold=high: a finite number was expected"),
        (["scores=A", "threshold=nan"], "threshold=nan: a finite number was expected"),
        (["scores=A", "bootstrap.n=many"], "bootstrap.n=many: a whole number from 0"),
        (["scores=A", "bootstrap.n=-1"], "bootstrap.n=-1: a whole number from 0"),
        (["scores=A", "bootstrap.n=9"], "9 replicates are too few"),
        (["scores=A", "bootstrap.seed=x"], "bootstrap.seed=x: a whole number from 0"),
        (["scores=A", "bootstrap.confidence=95"], "bootstrap.confidence=95: a share between 0 and 1"),
        (["scores=A", "bootstrap.confidence=95.0"], "confidence is 95.0: a share between 0 and 1"),
        (["scores=A", "bootstrap.method=best"], "bootstrap.method=best: percentile or bca"),
        (["scores=A", "bootstrap.metrics=cllr"], "bootstrap.metrics=cllr: a list of some of eer_official"),
        (["scores=A", "bootstrap.metrics=[t_eer]"], r"bootstrap.metrics=\['t_eer'\]: a list of some of"),
        (["run=/nowhere"], "/nowhere does not exist: give a run folder"),
        (["run=/nowhere", "calibrate=true"], "/nowhere does not exist: give a run folder"),
        (["run=[/nowhere,/there]"], "/nowhere does not exist: give a run folder"),
        (["scores=/nowhere"], "/nowhere: cannot be read"),
        (["scores=[/nowhere,/there]"], "/nowhere: cannot be read"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_what_does_not_go_together_ends_in_a_sentence(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        evaluate(config(*arguments))
    assert not list(tmp_path.iterdir())
