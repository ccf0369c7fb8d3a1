"""What is installed from a wheel is whole: the configs are in it, and `deepfake train` trains."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml
from tiny import REPOSITORY, TINY

from deepfake import CONF


def run(*command, cwd, code=0, **more):
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, timeout=300, **more)
    assert done.returncode == code, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The `deepfake` command of an environment that has the wheel, and this one's other packages."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, REPOSITORY, cwd=folder)
    venv.create(folder / "env", symlinks=True)
    (packages,) = (folder / "env").glob("lib/python*/site-packages")
    run(*pip, "install", "-q", "--no-deps", "--no-index", "--target", packages, *folder.glob("*.whl"), cwd=folder)
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (command,) = packages.glob("bin/deepfake")
    text = command.read_text().splitlines()
    command.write_text("\n".join([f"#!{folder}/env/bin/python", *text[1:]]))
    return command


@pytest.fixture
def environment():
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}


def test_the_wheel_holds_one_package_every_config_and_every_page(installed):
    packages = installed.parent.parent
    assert not (packages / "conf").exists()
    there = {path.relative_to(packages / "deepfake/conf") for path in packages.glob("deepfake/conf/**/*.yaml")}
    assert there == {path.relative_to(CONF) for path in CONF.glob("**/*.yaml")}
    for kind in ("html", "json", "txt"):  # templates of pages, the verbal scale, sentences for TTS
        held = {path.relative_to(packages) for path in packages.glob(f"deepfake/**/*.{kind}")}
        assert held == {path.relative_to(REPOSITORY) for path in REPOSITORY.glob(f"deepfake/**/*.{kind}")} != set()


def test_training_from_a_wheel_ends_in_a_report(installed, environment, tiny_la, tmp_path):
    arguments = ["dataset=asvspoof2019_la", f"dataset.root={tiny_la}", *TINY, "trainer.max_epochs=1"]
    done = run(installed, "train", *arguments, "hydra.run.dir=my run", cwd=tmp_path, env=environment)
    folder = tmp_path / "my run"
    assert done.stdout.splitlines() == [str(folder)]
    assert (folder / "reports" / "report.html").is_file()
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["choices"]["model"] == "cnn" and config["choices"]["dataset"] == "asvspoof2019_la"
    done = run(installed, "train", f"resume={folder}", cwd=tmp_path, env=environment)
    assert "finished already" in done.stderr
    done = run(installed, "evaluate", f"run={folder}", "num_workers=0", "bootstrap.n=0", cwd=tmp_path, env=environment)
    assert Path(done.stdout.splitlines()[-1]) == folder / "evaluations" / "asvspoof2019_la-eval"
    done = run(installed, "runs", folder.parent, cwd=tmp_path, env=environment)
    assert "my run" in done.stdout and "dev " in done.stdout


def test_hydras_completion_knows_the_commands(installed, environment, tmp_path):
    line = "deepfake train model=aasist"
    typed = {**environment, "COMP_LINE": line, "COMP_POINT": str(len(line))}
    done = run(installed, "-sc", "query=bash", cwd=tmp_path, env=typed)
    assert done.stdout.split() == ["model=aasist", "model=aasist_l", "model=aasist_ssl"]
