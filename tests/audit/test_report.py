"""The report of an audit: all of it is there, nothing in it is code."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from deepfake.audit import shortcuts as module
from deepfake.audit.report import by_eer, table, write_audit
from deepfake.audit.shortcuts import audit
from deepfake.datasets.utterance import Utterance

N = 80
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def measured():
    rng = np.random.default_rng(0)
    labels = np.arange(N) % 2
    cues = {"rms_dbfs": rng.normal(size=N), "top_hz": rng.normal(size=N) + 5 * labels, "coding": np.full(N, 2.0)}
    cues["rms_dbfs"][3] = np.nan
    attacks = ["" if label else (EVIL, "A$2")[i // 2 % 2] for i, label in enumerate(labels)]
    us = [Utterance(f"u{i}", f"u{i}.wav", int(labels[i]), attacks[i], f"s{i % 20}", "train") for i in range(N)]
    us[0] = Utterance("u0", "u0.wav", None)
    return cues, us


@pytest.fixture(scope="module")
def result(measured):
    cues, us = measured
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MODELS", {"logistic regression": module.MODELS["logistic regression"]})
        return audit(cues, us, n_bootstrap=100)


@pytest.fixture(scope="module")
def folder(measured, result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    write_audit(folder, result, *measured, title=f"Audit {EVIL}", provenance={"command": EVIL, "seconds": 1.5})
    return folder


def test_everything_is_written(folder):
    figures = {f"figures/{name}.{suffix}" for name in ("cues", "cue_attack") for suffix in ("png", "svg")}
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert found == {"audit.json", "cues.csv", "report.html"} | figures


def test_json_holds_the_audit(folder, result):
    content = json.loads((folder / "audit.json").read_text())
    assert content["cues"] == result["cues"]
    assert content["provenance"]["command"] == EVIL


def test_csv_has_a_row_per_utterance(folder, measured):
    cues, _ = measured
    rows = list(csv.DictReader((folder / "cues.csv").open()))
    assert list(rows[0]) == ["utterance", "label", "attack", "speaker", "partition", *cues]
    assert len(rows) == N
    assert (rows[0]["label"], rows[1]["label"], rows[3]["rms_dbfs"]) == ("", "1", "")
    assert rows[1]["coding"] == "PCM_16"
    assert float(rows[5]["top_hz"]) == pytest.approx(cues["top_hz"][5], rel=1e-5)


def test_page_is_self_contained_and_escaped(folder, result):
    html = (folder / "report.html").read_text()
    assert "<script" not in html and "&lt;script&gt;" in html
    assert not re.search(r'(src|href)="(?!data:)', html)
    for word in ("1 strong, 0 weak of 3 cues", "Constant over all files: coding.", *result["notes"]):
        assert word in html
    assert f"{100 * result['cues']['rms_dbfs']['eer']:.1f} %" in html


def test_lowest_eer_first_and_without_constants(result):
    assert list(by_eer(result["cues"])) == ["top_hz", "rms_dbfs"]


def test_table_for_the_terminal(result):
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(table(result))
    text = console.export_text()
    assert re.search(r"top_hz .* strong", text) and re.search(r"rms_dbfs .* near chance", text)
    assert "1 of 80 utterances have no label" in text
    assert EVIL in text  # shown as it stands


def test_no_named_attack_gives_no_heat_map(measured, tmp_path, folder):
    cues, us = measured
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "cue_attack.png").write_bytes(b"of an earlier audit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MODELS", {})
        bare = audit(cues, [replace(u, attack="") for u in us], n_bootstrap=100)
    write_audit(tmp_path, bare, cues, us, title="bare", provenance={})
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == ["cues.png", "cues.svg"]
