"""What is built from a run folder, which may be anybody's: what `conf/` names or the user trusts, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
import torch
import yaml
from children import python
from omegaconf import OmegaConf
from tiny import REPOSITORY, compose, tiny_run

from deepfake import run
from deepfake.commandline import quote_paths
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.runs.resume import config_of, refuse_unknown, relocated, resumed
from deepfake.training.detection import Detection

pytestmark = pytest.mark.usefixtures("undrawn")

PROGRAM = "torch.distributed.elastic.multiprocessing.subprocess_handler.SubprocessHandler"


def program(made, **more):
    """A part that, once built, has started a program and made a file."""
    keywords = {"entrypoint": "true", "args": [], "env": {}, "stderr": None, "local_rank_id": 0, "numa_options": None}
    return {"_target_": PROGRAM, **keywords, "stdout": str(made), **more}


def resolver(made):
    """The same as a text that OmegaConf would resolve to it."""
    return f"${{oc.create:{{{', '.join(f'{key}: {json.dumps(value)}' for key, value in program(made).items())}}}}}"


def test_the_hostile_part_of_these_tests_does_start_a_program(tmp_path):
    hydra.utils.instantiate(program(tmp_path / "made")).proc.wait()
    assert (tmp_path / "made").is_file()


@pytest.fixture
def foreign(run_folder, tmp_path):
    """Writes a run folder with a changed config, and makes it look unfinished where it is to be resumed."""

    def write(change, finished=False):
        folder = shutil.copytree(run_folder, tmp_path / "run")
        config = yaml.safe_load((folder / "config.yaml").read_text())
        change(config)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        if not finished:
            (folder / "detector.pt").unlink()
        return folder

    return write


def resume(folder, *overrides):
    return run.train(compose(f"resume='{folder}'", *overrides))


HIDDEN = {
    "callback": lambda c, evil: c["callbacks"].update(x=evil),
    "optimizer": lambda c, evil: c.update(optimizer=evil),
    "plugin": lambda c, evil: c["trainer"].update(plugins=[evil]),
    "logger": lambda c, evil: c.update(logger=evil),
    "below the logger": lambda c, evil: c["logger"].update(comment=[{"x": [evil]}]),
    "argument by position": lambda c, evil: c["loss"].update(_args_=[0, evil]),
    "augmentation": lambda c, evil: c.update(augment={"x": evil}),
    "task": lambda c, evil: c["task"].update(x=evil),
    "dataset": lambda c, evil: c.update(dataset={"name": "x", **evil}),
    "reader's argument": lambda c, evil: c["dataset"].update(x={"y": evil}),
    "part of a mix": lambda c, evil: c.update(dataset=mix(evil)),
    "part of a part": lambda c, evil: c.update(dataset=mix(mix(evil))),
}


def mix(part):
    return {**OmegaConf.load(REPOSITORY / "conf/dataset/mix.yaml"), "parts": {"a": part}}


@pytest.mark.parametrize("flags", [{}, {"_partial_": True, "_recursive_": False, "_convert_": "object"}], ids=str)
@pytest.mark.parametrize("where", HIDDEN)
def test_resume_starts_no_program(foreign, tmp_path, where, flags):
    folder = foreign(lambda config: HIDDEN[where](config, program(tmp_path / "made", **flags)))
    with pytest.raises(InputError, match=rf"_target_={PROGRAM}[,:].* only classes that conf/ names"):
        resume(folder)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("where", [key for key in HIDDEN if "reader" in key or "dataset" in key or "part" in key])
def test_evaluate_starts_no_program(foreign, tmp_path, where):
    folder = foreign(lambda config: HIDDEN[where](config, program(tmp_path / "made")), finished=True)
    for more in ([], ["calibrate=true", "partition=dev"], [f"++dataset.root='{tmp_path}'"]):
        with pytest.raises(InputError, match=rf"_target_={PROGRAM}[,:].* only classes that conf/ names"):
            run.evaluate(compose(f"run='{folder}'", *more, config="evaluate"))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("backslashes", range(4))
@pytest.mark.parametrize("where", ["root", "seed", "parts"])
def test_nothing_is_resolved(foreign, tmp_path, where, backslashes):
    text = "\\" * backslashes + resolver(tmp_path / "made")
    folder = foreign(lambda config: config["dataset"].update({where: text}), finished=True)
    with pytest.raises(InputError, match=r"is not a config: .* without"):
        run.evaluate(compose(f"run='{folder}'", config="evaluate"))
    (folder / "detector.pt").unlink()
    with pytest.raises(InputError, match=r"is not a config: .* without"):
        resume(folder)
    assert not (tmp_path / "made").exists()


def test_the_hostile_text_of_these_tests_would_start_a_program(tmp_path):
    hydra.utils.instantiate({"x": resolver(tmp_path / "made")})["x"].proc.wait()
    assert (tmp_path / "made").is_file()


OTHERS = ["os.system", "torch.hub.load", "deepfake.audio.waveform.os.system", "deepfake.cli.main", "antigravity.X"]
OTHERS += ["torch.optim.adam.Adam", "torch.optim.adam", "Torch.optim.Adam", " torch.optim.Adam", "torch.optim.RMSprop"]
OTHERS += [
    "deepfake.synthesis.tts.espeak",
    "deepfake.datasets.demo.asv_scores",
    "",
    None,
    True,
    3,
    ["torch.optim.Adam"],
]
OTHERS += [["torch.optim.Adam"], {"_target_": "torch.optim.Adam"}, {}, []]


@pytest.mark.parametrize("target", OTHERS, ids=repr)
def test_only_the_very_names_of_conf_are_permitted(target):
    with pytest.raises(InputError, match="only classes that conf/ names"):
        refuse_unknown({"a": [{"b": {"_target_": target}}]}, [], Path("config.yaml"))


ALL_CLASSES = """
import contextlib, importlib, json, pkgutil, sys, warnings
warnings.simplefilter("ignore")
names, todo = [], ["torch", "lightning"]
with contextlib.redirect_stderr(None):
    while todo:
        name = todo.pop()
        try:
            module = importlib.import_module(name)
        except BaseException:  # of a package that is not installed here
            continue
        names += [f"{name}.{key}" for key, value in vars(module).items() if isinstance(value, type) and key[0] != "_"]
        below = pkgutil.iter_modules(getattr(module, "__path__", []), name + ".")
        todo += [m.name for m in below if not m.name.rpartition(".")[2].startswith(("_", "testing", "hipify"))]
json.dump(names, sys.stdout)
"""


def test_no_other_class_of_torch_and_lightning_is_permitted(tmp_path):
    done = python("-c", ALL_CLASSES)
    assert done.returncode == 0, done.stderr[-3000:]
    names = set(json.loads(done.stdout[done.stdout.rindex("[") :]))
    assert len(names) > 5000 and {PROGRAM, "torch.jit.CompilationUnit", "torch.optim.Adam"} <= names
    assert any("lightning.pytorch.strategies.launchers" in name for name in names)
    config = {"run_dir": str(tmp_path), "callbacks": [{"_target_": name} for name in sorted(names)]}
    (tmp_path / "config.yaml").write_text(json.dumps(config))  # which is yaml
    with pytest.raises(InputError) as refused:
        resumed(str(tmp_path), [])
    listed = str(refused.value).partition("trusted=[")[2].partition("]")[0].split(",")
    permitted = {path.rpartition(".")[2] for path in names - set(listed)}
    assert permitted == {
        *("Adam", "AdamW", "ConstantLR", "CosineAnnealingLR", "ReduceLROnPlateau"),
        *("TensorBoardLogger", "WandbLogger"),
        *("Trainer", "EarlyStopping", "LearningRateMonitor", "ModelCheckpoint"),
    }
    assert len(names) - len(listed) == 11  # each by one of its paths


def test_the_check_imports_nothing(tmp_path):
    names = [PROGRAM, "antigravity.X", "torch.optim.Adam", "deepfake.models.cnn.CNN", "deepfake.no_such.X"]
    config = {"run_dir": str(tmp_path), "callbacks": [{"_target_": name} for name in names]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    code = (
        "import sys, deepfake.runs.resume as resume\n"
        "before = set(sys.modules)\n"
        f"try: resume.resumed({str(tmp_path)!r}, [])\n"
        "except resume.InputError as error: print(error)\n"
        "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before}), sep=',')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    sentence, loaded = done.stdout.splitlines()
    assert f"trusted=[{PROGRAM},antigravity.X,deepfake.no_such.X]" in sentence
    assert not {*loaded.split(",")} & {"torch", "lightning", "antigravity", "deepfake", "hydra"}


# ---------------------------------------------------------------- what is a run's own


GROUPS = sorted(path.name for path in (REPOSITORY / "conf").iterdir() if path.is_dir())
CHOICES = [(group, path.stem) for group in GROUPS for path in sorted((REPOSITORY / "conf" / group).glob("*.yaml"))]


@pytest.mark.parametrize("group", sorted({group for group, _ in CHOICES} - {"explain", "published"}))
def test_every_choice_of_conf_can_be_resumed(tmp_path, group):
    for _, name in (choice for choice in CHOICES if choice[0] == group):
        chosen = f"{group}=[{name}]" if group == "augment" else f"{group}={name}"
        cfg = compose(chosen, f"run_dir={tmp_path / 'old'}", *(["+dataset@dataset.parts.a=folder"] * (name == "mix")))
        config = OmegaConf.to_container(cfg, resolve=True)
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        found = resumed(str(tmp_path), [])
        assert {**found, "resume": None} == yaml.safe_load(
            yaml.safe_dump(config).replace(str(tmp_path / "old"), str(tmp_path))
        )


def test_a_run_with_an_optimizer_of_ones_own_is_resumed_when_it_is_trusted(tiny_la, tmp_path, monkeypatch):
    own = ("optimizer._target_=torch.optim.RMSprop", "~optimizer.betas", "trainer.max_epochs=1")
    with monkeypatch.context() as patch:
        patch.setattr(Detection, "on_train_batch_start", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run.train(tiny_run(tiny_la, tmp_path, *own, "trusted=[torch.optim.RMSprop]"))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["trusted"]  # which counts for nothing
    with pytest.raises(InputError, match=r"optimizer\._target_=torch\.optim\.RMSprop: .*'trusted=\[torch\.optim\.RMS"):
        resume(tmp_path)
    with pytest.raises(InputError, match="a list was expected"):
        resume(tmp_path, "trusted=torch.optim.RMSprop")
    resume(tmp_path, "trusted=[torch.optim.RMSprop]")
    run.evaluate(compose(f"run='{tmp_path}'", "num_workers=0", config="evaluate"))  # which builds no optimizer


def test_on_the_command_line_trusted_alone_goes_with_resume(foreign, tmp_path):
    folder = foreign(lambda config: config["optimizer"].update(_target_="torch.optim.RMSprop"))
    for more, message in (
        ([], "add 'trusted=[torch.optim.RMSprop]'"),
        (["seed=1", "trusted=[torch.optim.RMSprop]"], "leave out seed=1"),
        (["trusted=[torch.optim.RMSprop]"], "unexpected keyword argument 'betas'"),  # now it is built
    ):
        done = python("train.py", f"resume={folder}", *more)
        assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr


def test_a_reader_of_ones_own_is_built_for_evaluate_when_it_is_trusted(foreign):
    folder = foreign(lambda c: c["dataset"].update(_target_="deepfake.datasets.asvspoof2019_la.read"), finished=True)
    with pytest.raises(InputError, match=r"add 'trusted=\[deepfake\.datasets\.asvspoof2019_la\.read\]'"):
        run.evaluate(compose(f"run='{folder}'", config="evaluate"))
    trusted = "trusted=[deepfake.datasets.asvspoof2019_la.read]"
    with pytest.raises(InputError, match="missing a required argument"):
        run.evaluate(compose(f"run='{folder}'", trusted, config="evaluate"))


# ---------------------------------------------------------------- where it writes


OUTSIDE = {
    "dirpath": lambda c, out: c["callbacks"]["last"].update(dirpath=out),
    "relative": lambda c, out: c["callbacks"]["last"].update(dirpath=Path(out).name),
    "upwards": lambda c, out: c["callbacks"]["last"].update(dirpath=f"{c['run_dir']}/checkpoints/../../out"),
    "sibling": lambda c, out: c["callbacks"]["last"].update(dirpath=f"{c['run_dir']}-out"),
    "file": lambda c, out: c["callbacks"]["last"].update(filename=f"../../{Path(out).name}/x"),
    "home": lambda c, out: c["logger"].update(save_dir="~/out"),
    "variable": lambda c, out: c["logger"].update(version="$HOME/out"),
    "version": lambda c, out: c["logger"].update(version=out),
    "remote": lambda c, out: c["logger"].update(save_dir="memory://out"),
    "local protocol": lambda c, out: c["logger"].update(sub_dir=f"{c['run_dir']}/x::/out"),
    "position": lambda c, out: c["callbacks"]["last"].update(_args_=[Path(out).name]),
    "trainer": lambda c, out: c["trainer"].update(default_root_dir=out),
    "another callback": lambda c, out: c["callbacks"].update(
        x={"_target_": "deepfake.training.wgan.checkpoints.Networks", "folder": out}
    ),
}


@pytest.mark.parametrize("where", OUTSIDE)
def test_a_run_writes_below_its_folder_alone(foreign, tmp_path, where):
    folder = foreign(lambda config: OUTSIDE[where](config, str(tmp_path / "out")))
    with pytest.raises(InputError, match=r"only the folder is written to; if you trust this one, add 'trusted=\["):
        resume(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_is_trusted_is_written_to(foreign, tmp_path):
    out = str(tmp_path / "out, 1")
    folder = foreign(lambda config: config["logger"].update(save_dir=out))
    trusted = compose(*quote_paths([f"trusted=[torch.optim.SGD,'{out}']"])).trusted
    assert trusted == ["torch.optim.SGD", out] and resumed(str(folder), trusted)["logger"]["save_dir"] == out


@pytest.mark.parametrize("name", ["../out", "/out", "a/b", None, ["x"]], ids=str)
def test_an_evaluation_lands_below_the_run(foreign, name):
    folder = foreign(lambda config: config["dataset"].update(name=name), finished=True)
    with pytest.raises(InputError, match=r"dataset\.name: a name without / was expected"):
        run.evaluate(compose(f"run='{folder}'", config="evaluate"))


@pytest.mark.parametrize("path", ["local://{victim}", "{run}/checkpoints/../../victim"])
def test_what_a_checkpoint_remembers_is_deleted_inside_alone(tiny_la, tmp_path, monkeypatch, path):
    folder, victim = tmp_path / "run", tmp_path / "victim"
    start = Detection.on_train_batch_start

    def stop(self, batch, batch_idx):
        if self.current_epoch == 1:
            raise ZeroDivisionError
        start(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Detection, "on_train_batch_start", stop)
        with pytest.raises(ZeroDivisionError):
            run.train(tiny_run(tiny_la, folder))
    (victim / "dear").mkdir(parents=True)
    last = folder / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    for state in checkpoint["callbacks"].values():
        if "best_model_path" in state:
            state["best_model_path"] = path.format(victim=victim, run=folder)  # which the next one replaces
    torch.save(checkpoint, last)
    with pytest.raises(InputError, match=r"last\.ckpt: .*victim: paths without"):
        resume(folder)
    assert (victim / "dear").is_dir()


# ---------------------------------------------------------------- what is no config


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1]\nb: *a",
        "a: &a {b: *a}",
        "a: &a {_target_: os.system}\nb: {<<: *a}",
        "a: !!omap [{b: {_target_: os.system}}]",
        "a: !!pairs [{b: {_target_: os.system}}]",
        "a: !!set {b}",
        "a: !!binary aGk=",
        "a: 2024-01-01",
        "a: 2024-99-99",
        "a: !!python/object/apply:os.system [true]",
        "[" * 500,
        "- a",
        "a: [",
        "\x00",
    ],
    ids=lambda text: text[:20].encode("unicode_escape").decode(),
)
def test_a_config_holds_plain_values(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=r"config\.yaml is not a config"):
        config_of(tmp_path / "config.yaml")


def test_a_merge_hides_no_class(tmp_path):
    (tmp_path / "config.yaml").write_text(f"run_dir: {tmp_path}\nloss: {{<<: {{_target_: os.system}}}}\n")
    with pytest.raises(InputError, match=r"loss\._target_=os\.system"):
        resumed(str(tmp_path), [])


def test_a_folder_without_a_run_is_not_resumed(tmp_path):
    with pytest.raises(InputError, match="not a run folder"):
        resume(tmp_path / "nothing")
    (tmp_path / "config.yaml").write_text("name: x\n")
    with pytest.raises(InputError, match="its weights were imported"):
        resume(tmp_path)


# ---------------------------------------------------------------- detector.pt


@pytest.mark.parametrize("hide", [lambda evil: evil, lambda evil: {"a": [evil]}, lambda evil: [evil]])
def test_a_detector_file_builds_nothing_below_its_networks(run_folder, tmp_path, hide):
    content = torch.load(run_folder / "detector.pt", weights_only=True)
    del content["sha256"]
    content["config"]["model"]["dropout"] = hide(program(tmp_path / "made"))
    torch.save(content, tmp_path / "detector.pt")
    with pytest.raises(InputError, match="does not take these settings"):
        Detector.load(tmp_path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("target", [PROGRAM, "torch.nn.Linear", ["deepfake.models.cnn.CNN"], None, 3, {}], ids=str)
def test_a_detector_file_builds_no_other_class(run_folder, tmp_path, target):
    content = torch.load(run_folder / "detector.pt", weights_only=True)
    del content["sha256"]
    for part, what in {"model": "network", "features": "front end"}.items():
        torch.save({**content, "config": {**content["config"], part: {"_target_": target}}}, tmp_path / "detector.pt")
        with pytest.raises(InputError, match=f"is not a {what} of this package"):
            Detector.load(tmp_path)


def test_a_moved_run_still_reads_the_corpus_beside_it_whose_name_begins_with_its_name(foreign):
    folder = foreign(lambda c: c["dataset"].update(root=f"{c['run_dir']}2", noise_folder=c["run_dir"]))
    run_dir = yaml.safe_load((folder / "config.yaml").read_text())["run_dir"]
    config = resumed(str(folder), [])
    assert config["dataset"]["root"] == f"{run_dir}2" and config["dataset"]["noise_folder"] == str(folder)
    assert config["run_dir"] == str(folder)


@pytest.mark.parametrize("file", ["checkpoints/last.ckpt", "detector.pt", "config.yaml"])
def test_a_run_is_resumed_by_any_of_its_files(run_folder, file):
    assert resumed(str(run_folder / file), [])["run_dir"] == str(run_folder)
    assert run._run_folder("x", str(run_folder / file), False) == str(run_folder)


def test_the_best_checkpoint_is_not_taken_for_the_last(run_folder):
    with pytest.raises(InputError, match=r"best\.ckpt: last\.ckpt was expected"):
        resumed(str(run_folder / "checkpoints/best.ckpt"), [])


@pytest.mark.parametrize("file", ["checkpoints/best.ckpt", "checkpoints/last.ckpt", "config.yaml", "detector.pt"])
def test_a_detector_is_loaded_by_any_file_of_its_run(run_folder, file):
    assert Detector.load(run_folder / file).seconds == 0.5


def test_only_paths_below_the_old_folder_are_moved():
    paths = ["/a/run", "/a/run/x", "/a/run2", "/a/run2/x", "/b/a/run/x", "a/run/x", 3, None]
    moved = ["/n", "/n/x", "/a/run2", "/a/run2/x", "/b/a/run/x", "a/run/x", 3, None]
    assert relocated(paths, "/a/run", "/n") == moved
    nested = {"/a/run/k": {"list": [["/a/run/x"]], "/a/run2/k": "/a/run2/x"}}
    assert relocated(nested, "/a/run", "/n") == {"/n/k": {"list": [["/n/x"]], "/a/run2/k": "/a/run2/x"}}
