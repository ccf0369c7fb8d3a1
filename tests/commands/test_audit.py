"""A corpus audited: which partitions, what is said of files and folders that cannot be read."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from tiny import compose, write_audio

from deepfake import run
from deepfake.audit import report as audit_report
from deepfake.errors import InputError


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    monkeypatch.setattr(audit_report, "pictures", lambda folder, drawn: {})


@pytest.fixture
def corpus(tmp_path):
    """A folder with a train and an eval partition of twelve files each, and no dev."""
    for partition in ("train", "eval"):
        for i in range(12):
            kind = "fake" if i % 2 else "real"
            write_audio(tmp_path / "c" / partition / kind / f"{partition}{i}.wav", spoof=bool(i % 2), seed=i)
    return tmp_path / "c"


def audited(corpus, *overrides):
    arguments = ("audit=true", "dataset=folder", f"dataset.root={corpus}", f"output={corpus.parent}/out")
    return run.evaluate(compose(*arguments, "bootstrap.n=50", *overrides, config="evaluate"))


def test_all_partitions_that_there_are(corpus, capsys, caplog):
    caplog.set_level("INFO")
    found = audited(corpus)
    assert capsys.readouterr().out.splitlines() == [f"{corpus.parent}/out"]
    written = json.loads((corpus.parent / "out/audit.json").read_text())
    assert written.pop("provenance")["utterances"] == 24
    assert written == found and (found["n_bonafide"], found["n_spoof"]) == (12, 12)
    assert "partition dev is skipped" in caplog.text
    assert (corpus.parent / "out/report.html").is_file()


def test_one_partition_alone(corpus):
    assert audited(corpus, "partition=eval")["n_spoof"] == 6
    with pytest.raises(InputError, match="dev"):
        audited(corpus, "partition=dev")


def test_a_corpus_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"none of its partitions can be read: dataset\.root=.*/nowhere is not a folder"
    ):
        audited(tmp_path / "nowhere")


def test_a_bad_file_stops_the_audit_or_is_skipped(corpus, monkeypatch):
    soundfile.write(corpus / "eval/real/eval0.wav", np.zeros(0), 16000)
    with pytest.raises(InputError, match=r"1 of 24 files cannot be read: .*eval0\.wav.*dataset\.on_bad_audio=skip"):
        audited(corpus)
    monkeypatch.setitem(run._state, "skipped", False)
    audited(corpus, "++dataset.on_bad_audio=skip")
    assert run.exit_code() == 3 and (corpus.parent / "out/audit.json").is_file()
