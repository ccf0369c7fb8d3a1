"""The notebook for Colab: it runs as it stands, with the cells switched off that need a drive or a network."""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import REPOSITORY, write_la

NOTEBOOK = REPOSITORY / "experiments" / "notebooks" / "train_on_colab.ipynb"
CELLS = {cell["id"]: cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]}


def source(name: str) -> str:
    return "".join(CELLS[name]["source"])


def test_it_is_clean():
    text = NOTEBOOK.read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert len(text) < 60_000 and not re.search(r"/(work|home|root|tmp|Users)/", text)
    assert set(notebook["metadata"]) == {"accelerator", "colab", "kernelspec", "language_info"}
    for cell in notebook["cells"]:
        assert set(cell["metadata"]) <= {"tags"}
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.parametrize("name", [name for name, cell in CELLS.items() if cell["cell_type"] == "code"])
def test_a_cell_is_python(name):
    lines = source(name).splitlines()
    assert ast.parse("\n".join(line for line in lines if not line.startswith(("%", "!")))) is not None
    elsewhere = re.search(r"^%|\bgoogle\.colab|\bdrive\.\w+\(|\bpip\b", source(name), re.MULTILINE)
    assert not elsewhere or "cloud" in CELLS[name]["metadata"]["tags"]


def cells_run(*names: str, **given: Any) -> tuple[dict[str, Any], list[tuple[str, ...]]]:
    """The variables after these cells, and the commands that they would have run."""
    pytest.importorskip("IPython", reason="needs ipykernel, of the extra `test`")
    commands: list[tuple[str, ...]] = []
    space: dict[str, Any] = {}
    for name in ("parameters", "commands", *names):
        exec(source(name), space)
        space |= given if name == "parameters" else {}
        if name == "commands" and names:
            space["command"] = lambda *words, **_: commands.append(words)
    return space, commands


def test_a_run_that_was_begun_is_resumed(tmp_path):
    given = {"DRIVE": str(tmp_path), "ROOT": "/a, b", "OVERRIDES": "seed=1 'augment=[gain, noise]'", "EXPERIMENT": ""}
    run = tmp_path / "runs" / "first"
    _, commands = cells_run("train", **given)
    words = ("train.py", "dataset=demo", "dataset.root=/a, b", "seed=1", "augment=[gain, noise]")
    assert commands == [("python", *words, f"hydra.run.dir={run}")]
    run.mkdir(parents=True)
    (run / "config.yaml").touch()
    _, commands = cells_run("train", **given)
    assert commands == [("python", "train.py", f"resume={run}")]


def test_the_corpus_is_unpacked_once(tmp_path, monkeypatch):
    write_la(tmp_path / "packed" / "LA")
    shutil.make_archive(str(tmp_path / "drive" / "LA"), "zip", tmp_path / "packed")
    local = tmp_path / "content"
    local.mkdir()
    monkeypatch.setitem(CELLS, "unpack", {"source": [source("unpack").replace("/content", str(local))]})
    given = {"DRIVE": str(tmp_path / "drive"), "CORPUS": "LA.zip", "DATASET": "asvspoof2019_la", "ROOT": "x"}
    for _ in range(2):
        _, commands = cells_run("unpack", **given)
        assert commands == [("python", "train.py", "dataset=asvspoof2019_la", "dataset.root=x", "check=true")]
        assert [path.name for path in local.iterdir()] == ["corpus"]
        assert len(list(local.glob("corpus/LA/ASVspoof2019_LA_train/flac/*.flac"))) == 12


def test_a_command_that_fails_stops_the_notebook(capsys):
    space, _ = cells_run(CHECKOUT=str(REPOSITORY))
    space["command"]("python", "-c", "print('three'); raise SystemExit(3)")
    assert capsys.readouterr().out.splitlines()[-1] == "three"
    with pytest.raises(RuntimeError, match="exit code 1"):
        space["command"]("python", "-c", "raise SystemExit('no')")
    assert "no" in capsys.readouterr().out


def test_it_runs_on_the_demo_corpus(tmp_path, monkeypatch):
    reason = "needs nbclient and ipykernel, of the extra `test`"
    nbformat, nbclient = (pytest.importorskip(name, reason=reason) for name in ("nbformat", "nbclient"))
    pytest.importorskip("ipykernel", reason=reason)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    notebook.cells = [cell for cell in notebook.cells if "cloud" not in cell.metadata.get("tags", ())]
    small = f"debug=quick trainer.accelerator=cpu dataset.root={tmp_path}/demo dataset.n_utterances=64"
    given = {"DRIVE": f"{tmp_path}/My Drive", "OVERRIDES": small, "CHECKOUT": str(REPOSITORY)}
    here = next(i for i, cell in enumerate(notebook.cells) if cell.id == "parameters")
    values = "\n".join(f"{name} = {value!r}" for name, value in given.items())
    notebook.cells.insert(here + 1, nbformat.v4.new_code_cell(values))
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()

    run = Path(given["DRIVE"]) / "runs" / "first"
    assert (run / "detector.pt").is_file() and (run / "evaluations" / "demo-eval" / "metrics.json").is_file()
    shown = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    assert "epoch 1 of 1" in said(shown["train"]) and "EER" in said(shown["evaluate"])
    assert "srcdoc" in "".join(output.data.get("text/html", "") for output in shown["evaluate"] if "data" in output)
    pictures = [output for output in shown["explain"] if "image/png" in output.get("data", ())]
    assert len(pictures) == len(list(run.glob("explanations/*/viz/*.png"))) > 3
    assert "<audio" in "".join(output.data.get("text/html", "") for output in shown["explain"] if "data" in output)


def said(outputs: list[Any]) -> str:
    return "".join(output.get("text", "") for output in outputs)
