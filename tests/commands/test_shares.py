"""A partition scored by several processes: each utterance once, whatever ends when."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tiny import REPOSITORY, compose

from deepfake import run
from deepfake.commands import shares
from deepfake.commands.shares import Shares
from deepfake.errors import InputError
from deepfake.processes import Process
from deepfake.runs.folder import RunFolder
from deepfake.scores.compute import Batch
from deepfake.scores.table import read_scores

fork = multiprocessing.get_context("fork")


def scorer(log, *, die_after=None, seconds=0.0):
    """Scores two utterances a batch, a tenth of its index each, and notes which; number 3 cannot be scored."""

    def scored(indices):
        for n, at in enumerate(range(0, len(indices), 2)):
            if n == die_after:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(seconds)
            some = indices[at : at + 2]
            with log.open("a") as file:
                file.write("".join(f"{i}\n" for i in some))
            good = [i for i in some if i != 3]
            yield Batch(good, [i / 10 for i in good], {i: "unreadable" for i in some if i == 3}, 2.0)

    return scored


def processes(folder, log, n_items, *each, n=2):
    """What each of n processes ends with: the sorted rows of the first, an error's sentence, an exit code."""
    answers = fork.Queue()

    def work(rank, settings):
        try:
            batches = Shares(folder, n_items, Process(rank, n)).run(scorer(log, **settings))
            answers.put((rank, batches and sorted(i for b in batches for i in (*b.index, *b.errors))))
        except InputError as error:
            answers.put((rank, str(error)))

    started = [fork.Process(target=work, args=(rank, settings)) for rank, settings in enumerate(each)]
    for one in started:
        one.start()
    for one in started:
        one.join(60)
    found = {rank: one.exitcode for rank, one in enumerate(started)}
    while not answers.empty():
        rank, answer = answers.get()
        found[rank] = answer
    return found


def scored_in(log):
    return sorted(map(int, log.read_text().split()))


@pytest.mark.parametrize(("n_items", "n"), [(11, 2), (12, 3), (1, 2), (5, 1)])
def test_every_utterance_is_scored_once_and_the_first_process_has_all(tmp_path, n_items, n):
    log = tmp_path / "log"
    found = processes(tmp_path / "shares", log, n_items, *[{}] * n, n=n)
    assert found[0] == scored_in(log) == [*range(n_items)]
    assert all(found[rank] is None for rank in range(1, n))


def test_a_killed_process_ends_the_others_and_what_was_scored_is_kept(tmp_path):
    log, folder = tmp_path / "log", tmp_path / "shares"
    found = processes(folder, log, 40, {"seconds": 0.4}, {"seconds": 0.2, "die_after": 3})
    so_far = len(scored_in(log))
    assert found[1] == -signal.SIGKILL and 6 < so_far < 26
    expected = f"the process of rank 1 (of 2) ended before its share was scored: {so_far} of 40 utterances are scored; "
    assert found[0] == expected + "the same command scores the others"
    found = processes(folder, log, 40, {}, {}, {}, n=3)  # another number of processes
    assert found == {0: [*range(40)], 1: None, 2: None} and scored_in(log) == [*range(40)]


def test_the_others_end_where_the_first_is_killed_and_one_of_them_says_so(tmp_path):
    each = {"die_after": 1, "seconds": 2.0}, {"seconds": 0.4}, {"seconds": 0.4}
    found = processes(tmp_path / "shares", tmp_path / "log", 60, *each, n=3)
    assert found[0] == -signal.SIGKILL
    said = [found[rank] for rank in (1, 2) if found[rank] != 1]
    assert any(sentence.startswith("the process of rank 0 (of 3) ended before") for sentence in said)
    assert all(re.match(r"the process of rank [012] \(of 3\) ended before", sentence) for sentence in said)


def test_the_first_waits_for_one_that_is_slower(tmp_path):
    found = processes(tmp_path / "shares", tmp_path / "log", 9, {}, {"seconds": 0.3})
    assert found == {0: [*range(9)], 1: None}


def test_one_that_never_begins_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shares, "START_SECONDS", 0.1)
    with pytest.raises(InputError, match=r"rank 1 \(of 2\) did not begin: 2 of 4 utterances are scored"):
        Shares(tmp_path / "shares", 4, Process(0, 2)).run(scorer(tmp_path / "log"))


def test_a_line_that_was_cut_off_is_scored_again(tmp_path):
    log, mine = tmp_path / "log", Shares(tmp_path / "shares", 5)
    mine.run(scorer(log))
    file = tmp_path / "shares/0.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    log.unlink()
    batches = mine.run(scorer(log))
    assert scored_in(log) == [4] and file.read_bytes() == whole
    assert [(b.index, b.scores, b.errors) for b in batches] == [
        ([0, 1], [0.0, 0.1], {}),
        ([2], [0.2], {3: "unreadable"}),
        ([4], [0.4], {}),
    ]


def test_scores_that_stand_there_twice_are_an_error(tmp_path):
    folder = tmp_path / "shares"
    Shares(folder, 2).run(scorer(tmp_path / "log"))
    shutil.copy(folder / "0.jsonl", folder / "1.jsonl")
    with pytest.raises(InputError, match=r"4 scores of 2 utterances: one of each was expected; delete this folder"):
        Shares(folder, 2).run(scorer(tmp_path / "log"))


def test_an_interrupted_process_says_how_far_it_came(tmp_path):
    def interrupted(indices):
        yield Batch([0, 1], [1.0, 2.0], {}, 1.0)
        raise KeyboardInterrupt

    with pytest.raises(InputError, match=r"^interrupted: 2 of 5 utterances are scored; the same"):
        Shares(tmp_path / "shares", 5).run(interrupted)


def test_a_second_command_is_refused(tmp_path):
    def second(indices):
        found = processes(tmp_path / "shares", tmp_path / "log", 4, {}, n=1)
        assert found[0] == f"{tmp_path} is being scored by another command: wait for it"
        yield Batch([*indices], [0.0] * 4, {}, 1.0)

    assert Shares(tmp_path / "shares", 4).run(second)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Process(0, 1, 0)),
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "1"}, Process(0, 1, 0)),  # of Lightning, which sets no RANK
        ({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, Process(5, 8, 1)),
        ({"RANK": "2", "WORLD_SIZE": "2"}, r"RANK=2 WORLD_SIZE=2 LOCAL_RANK=0: a rank from 0"),
        ({"RANK": "x"}, r"RANK=x .*whole numbers were expected"),
    ],
)
def test_torchruns_variables_say_which_process_this_is(monkeypatch, variables, expected):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if isinstance(expected, Process):
        assert Process.here() == expected
    else:
        with pytest.raises(InputError, match=expected):
            Process.here()


def test_two_processes_of_torchrun_give_the_scores_of_one(run_folder, tiny_la, tmp_path):
    files = sorted((tiny_la / "ASVspoof2019_LA_eval/flac").glob("*.flac"))[:11]
    listed = tmp_path / "eleven.csv"
    listed.write_text("path,label\n" + "".join(f"{file},{1 - i % 2}\n" for i, file in enumerate(files)))
    settings = [f"run={run_folder}", "dataset=manifest", f"dataset.root={listed}", "num_workers=0", "batch_size=2"]
    settings += ["bootstrap.n=0", "device=cpu"]
    run.evaluate(compose(*settings, f"output={tmp_path}/one", config="evaluate"))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "evaluate.py"]
    done = subprocess.run(
        [*torchrun, *settings, f"output={tmp_path}/two"], cwd=REPOSITORY, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [f"{tmp_path}/two"]
    one, two = (read_scores(tmp_path / name / "scores.csv") for name in ("one", "two"))
    assert one.ids == two.ids and len(two) == 11
    assert np.allclose(one.scores, two.scores, rtol=0, atol=1e-5)
    metrics = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two")]
    assert metrics[0]["trials_sha256"] == metrics[1]["trials_sha256"] and metrics[1]["eer"] == metrics[0]["eer"]
    assert not (tmp_path / "two" / "shares").exists()


def test_an_evaluation_that_was_killed_goes_on(run_folder, tmp_path, monkeypatch):
    shutil.copytree(run_folder, tmp_path / "run")
    arguments = (f"run={tmp_path}/run", "num_workers=0", "bootstrap.n=0", "device=cpu", "batch_size=5")
    folder = RunFolder(tmp_path / "run").evaluation("asvspoof2019_la", "eval")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("deepfake.commands.evaluate_runs.write_evaluation", interrupt)
        run.evaluate(compose(*arguments, config="evaluate"))
    before = read_scores(folder.scores).scores
    with monkeypatch.context() as patch:  # all is scored: nothing is again
        patch.setattr("deepfake.commands.scoring.scored", lambda *_, **__: pytest.fail("scored again"))
        run.evaluate(compose(*arguments, config="evaluate"))
    assert np.array_equal(read_scores(folder.scores).scores, before) and not folder.shares.exists()
    assert folder.metrics.is_file()


def interrupt(*_, **__):
    raise KeyboardInterrupt
