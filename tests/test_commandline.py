"""Paths on the command line survive Hydra's grammar."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import compose

from deepfake import CONF, commandline
from deepfake.commandline import modify_run_dataset, names_a_path, quote_paths, run_folder

AWKWARD = [
    "/plain/path",
    "/with space/and, comma",
    "a=b",
    "c:\\dir\\",
    'it\'s "here"',
    "(x)[1]{2}",
    "#7",
    "Grüße/日本",
    "20240101",
    "end\\",
    "${HOME}/x",
    "'",
    "a'b\\'c",
]


@pytest.mark.parametrize("path", AWKWARD)
def test_a_path_arrives_as_it_was_typed(path):
    (argument,) = quote_paths([f"dataset.root={path}"])
    assert compose("dataset=folder", argument).dataset.root == path


@settings(deadline=None, max_examples=30)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=30))
def test_any_path_arrives(path):
    if path[0] in "'\"" or (path[0] == "[" and path[-1] == "]") or path == "null":
        return
    (argument,) = quote_paths([f"init_from={path}"])
    assert compose(argument).init_from == path


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=20), min_size=2))
def test_any_paths_arrive_in_a_list(paths):
    if any(p != p.strip() or p[0] in "'\"" or "," in p for p in paths):
        return
    (argument,) = quote_paths([f"scores=[{','.join(paths)}]"])
    assert compose(argument, config="evaluate").scores == paths
    assert quote_paths([argument]) == [argument]


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ("[/a b/A=1.csv,B.csv]", ["/a b/A=1.csv", "B.csv"]),
        ("[A, B]", ["A", "B"]),
        ("['/a, b/A.csv',\"C, D\"]", ["/a, b/A.csv", "C, D"]),
        ("['it\\'s, so', (x)[1]{2}]", ["it's, so", "(x)[1]{2}"]),
        ("[1,2024]", ["1", "2024"]),
        ("[it's,Anna's]", ["it's", "Anna's"]),
        ("[A]", ["A"]),
        ("[A,]", ["A"]),
    ],
)
def test_paths_in_a_list_arrive_one_by_one(given, paths):
    (argument,) = quote_paths([f"fuse={given}"])
    assert compose(argument, config="evaluate").fuse == paths
    assert quote_paths([argument]) == [argument]


def test_quoting_is_idempotent_and_spares_other_arguments():
    arguments = [
        "-m",
        "model=aasist,cnn",
        "run=[A,B]",
        "resume=/a b",
        "hydra.run.dir=/x, y",
        "optimizer.lr=1e-3",
        "output=null",
    ]
    once = quote_paths(arguments)
    assert once == [
        "-m",
        "model=aasist,cnn",
        "run=['A','B']",
        "resume='/a b'",
        "hydra.run.dir='/x, y'",
        "optimizer.lr=1e-3",
        "output=null",
    ]
    assert quote_paths(once) == once


def test_a_key_is_a_path_by_its_name():
    for key in ("root", "real_root", "keys", "list_file", "noise_folder"):
        assert names_a_path(key) and quote_paths([f"dataset.{key}=a, b"]) == [f"dataset.{key}='a, b'"]
    for key in ("name", "roots", "monkeys", "weights", "root_share"):
        assert not names_a_path(key) and quote_paths([f"dataset.{key}={{a: 1}}"]) == [f"dataset.{key}={{a: 1}}"]


def test_a_root_alone_changes_the_runs_own_dataset():
    assert modify_run_dataset(["run=R", "dataset.root=D"]) == ["run=R", "++dataset.root=D"]
    given = ["dataset=folder", "dataset.root=D", "dataset.per_class.eval=2"]
    assert modify_run_dataset(given) == ["dataset=folder", "dataset.root=D", "++dataset.per_class.eval=2"]


def test_a_plugin_that_is_not_installed_is_named(monkeypatch):
    given = ["model=cnn", "sweep=tpe"]
    monkeypatch.setattr("deepfake.commandline.find_spec", lambda name: object())
    assert commandline.refusal(given, CONF) is None
    for found in (lambda name: None, lambda name: __import__("no_such_package")):
        monkeypatch.setattr("deepfake.commandline.find_spec", found)
        assert commandline.refusal(given, CONF) == 'sweep=tpe needs hydra-optuna-sweeper: pip install -e ".[sweep]"'
    assert commandline.refusal(["model=cnn"], CONF) is None


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("logger=null", "logger=null: one of csv, mlflow, none, tensorboard, wandb was expected"),
        ("callbacks=null", "callbacks=null: one of best_averaging, default, snapshot_averaging, wgan_gp was expected"),
        ("logger=wandb", "logger=wandb needs the package wandb: pip install wandb"),
        ("logger=mlflow", "logger=mlflow needs the package mlflow: pip install mlflow"),
        ("resume=null", None),
        ("logger=csv", None),
    ],
)
def test_what_hydra_would_fail_on_is_refused(monkeypatch, argument, message):
    monkeypatch.setattr("deepfake.commandline.find_spec", lambda name: None)
    assert commandline.refusal(["model=cnn", argument], CONF) == message


@pytest.mark.parametrize("file", ["", "config.yaml", "detector.pt", "checkpoints/best.ckpt", "checkpoints/last.ckpt"])
def test_a_file_of_a_run_names_its_folder(tmp_path, file):
    assert run_folder(tmp_path / file) == tmp_path


def test_other_files_name_themselves(tmp_path):
    for name in ("critic.pt", "best.ckpt", "a/config.yml"):
        assert run_folder(tmp_path / name) == tmp_path / name
