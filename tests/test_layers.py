"""The layers of the package, over its import statements."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest
from tiny import REPOSITORY

PACKAGE = REPOSITORY / "deepfake"
LAYERS = (  # from the top; a part imports what stands below it, and nothing of its own row
    ("cli",),
    ("run",),
    ("app", "serve"),
    ("commands", "training"),
    ("decoding",),
    ("evaluation", "faithfulness", "forensics", "audit", "sweep"),
    ("runs",),
    ("scores", "localisation", "explain", "export"),
    ("synthesis", "loading", "figures"),
    ("detector", "speakers"),
    ("augment", "detector_format"),
    ("detector_parts",),
    ("datasets", "features", "models", "losses", "audio", "metrics", "domain"),
    ("download",),
    ("terminal", "processes"),
    ("archive", "commandline"),
    ("address",),
    ("errors", "atomic", "allocator", "replay"),
)
LEVEL = {part: -row for row, parts in enumerate(LAYERS) for part in parts}
DOORS = {"detector.py": "deepfake.localisation.stream"}  # what a method opens when it is called, and nothing before
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    own = part(path)
    assert own in LEVEL, f"{own} stands in no layer"
    for name in imports(path):
        if (door := DOORS.get(str(path.relative_to(PACKAGE)))) and name.startswith(door):
            continue
        if name.startswith("deepfake.") and name != "deepfake.CONF":
            other = name.split(".")[1]
            assert LEVEL[other] < LEVEL[own] or other == own, f"{path.name} ({own}) imports {name}"
            assert "audio.decode" not in name or own == "audio", f"{path.name}: only audio/ decodes"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_wiring_imports_hydra_and_only_training_imports_lightning(path):
    packages = {name.split(".")[0] for name in imports(path)}
    assert "hydra" not in packages or path.name == "run.py"
    trains = part(path) in ("training", "sweep", "run") or path.name == "datamodule.py"
    assert not packages & {"lightning", "pytorch_lightning"} or trains


def test_what_serves_a_detector_needs_neither_lightning_nor_hydra():
    code = (
        "import sys, deepfake.detector, deepfake.cli, deepfake.runs.published, deepfake.scores.compute\n"
        "import deepfake.serve.server, deepfake.app.server\n"
        "sys.exit(bool({'lightning', 'hydra'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_what_judges_score_files_needs_no_torch():
    code = "import sys; sys.modules['torch'] = None; import deepfake.run, deepfake.commands.evaluate"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_what_is_opened_upwards_is_not_imported_before():
    for name, door in DOORS.items():
        code = f"import sys, deepfake.{name.removesuffix('.py')}; sys.exit('{door}' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_every_config_of_a_package_folder_names_a_file_there():
    for group in ("model", "features", "dataset", "loss", "augment", "explain"):
        folder = {"model": "models", "dataset": "datasets", "loss": "losses"}.get(group, group)
        yamls = sorted((REPOSITORY / "conf" / group).glob("*.yaml"))
        assert yamls
        named = {target for y in yamls for target in re.findall(rf"deepfake\.{folder}\.(\w+)", y.read_text())}
        files = {p.stem for p in (PACKAGE / folder).glob("*.py")} - {"__init__"}
        assert named <= files
        if group == "explain":  # most of its files are no method, but what methods stand on or what is made of maps
            assert {yaml.stem for yaml in yamls} == named
            continue
        without = {"utterance", "protocol", "layout", "split", "demo_voice", "frontend", "normalise", "spectrogram"}
        without |= {"corpus", "network", "spectral", "denoise", "augmentation", "fir"}
        without |= {"pretrained", "weights_file", "ssl_weights", "whisper_weights", "lora"}
        assert files - named <= without, f"{files - named - without} have no yaml"


def test_no_file_is_too_long():
    long = {str(p): n for p in FILES if (n := len(p.read_text().splitlines())) > 400}
    assert not long
